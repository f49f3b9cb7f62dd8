import RoostModel

/// A bootable x86 kernel file (Documentation/arch/x86/boot.rst).
struct KernelImage {
    /// The release, such as `6.1.0-44-cloud-amd64`.
    let release: String

    /// Looks at the file's first bytes.
    ///
    /// - Throws: `kernelInvalid` if it is no bzImage or names no usable release.
    init(_ bytes: [UInt8], name: String) throws(Fault) {
        guard bytes.little(UInt16.self, at: 0x1FE) == 0xAA55, bytes.count > 0x400,
            bytes[0x202..<0x206].elementsEqual("HdrS".utf8)
        else { throw Fault(.kernelInvalid, "\(printable(name)) is no bzImage") }
        let place = Int(bytes.little(UInt16.self, at: 0x20E) ?? 0) + 0x200
        guard place > 0x200, place < bytes.count else {
            throw Fault(.kernelInvalid, "\(printable(name)) does not say its release")
        }
        let text = bytes[place...].prefix(256).prefix { $0 != 0 && $0 != 0x20 }
        release = String(decoding: text, as: UTF8.self)
        guard Self.isRelease(release) else {
            throw Fault(.kernelInvalid, "\(printable(name)) has release \"\(printable(text))\"")
        }
    }

    /// Whether the text may be a directory below `lib/modules`.
    static func isRelease(_ text: String) -> Bool {
        let allowed = text.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte)
                || (0x61...0x7A).contains(byte) || [0x2B, 0x2D, 0x2E, 0x5F, 0x7E].contains(byte)
        }
        return allowed && (1...100).contains(text.utf8.count) && !text.hasPrefix(".")
    }
}
