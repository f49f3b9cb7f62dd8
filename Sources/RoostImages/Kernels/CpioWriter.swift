import RoostModel

/// Writes a `newc` cpio archive, the format of an initramfs (Documentation/driver-api/
/// early-userspace/buffer-format.rst). Deterministic: every time is 0 and every owner root.
struct CpioWriter {
    private let file: DiskFile
    private var offset: UInt64
    private var inode: UInt32 = 1

    /// Writes from `offset` on, a multiple of 4.
    init(file: DiskFile, at offset: UInt64 = 0) {
        self.file = file
        self.offset = offset
    }

    /// Adds a member. `mode` has the type bits; `path` is relative to the root.
    mutating func add(
        _ path: String,
        mode: UInt32,
        content: [UInt8] = [],
        device: (major: UInt32, minor: UInt32) = (0, 0)
    ) throws(Fault) {
        let name = Array(path.utf8) + [0]
        let fields: [UInt32] = [
            inode, mode, 0, 0, 1, 0, UInt32(content.count), 0, 0, device.major, device.minor,
            UInt32(name.count), 0,
        ]
        var header = Array("070701".utf8)
        for field in fields {
            let digits = String(field, radix: 16, uppercase: true)
            header += Array(String(repeating: "0", count: 8 - digits.count).utf8)
            header += Array(digits.utf8)
        }
        try write(Self.padded(header + name))
        try write(Self.padded(content))
        inode += 1
    }

    /// Ends the archive; returns its size.
    mutating func finish() throws(Fault) -> ByteCount {
        inode = 0
        try add("TRAILER!!!", mode: 0)
        return ByteCount(bytes: offset)
    }

    private mutating func write(_ bytes: [UInt8]) throws(Fault) {
        try file.write(bytes, at: offset)
        offset += UInt64(bytes.count)
    }

    private static func padded(_ bytes: [UInt8]) -> [UInt8] {
        bytes + Array(repeating: 0, count: (4 - bytes.count % 4) % 4)
    }
}
