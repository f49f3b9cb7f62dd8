import Foundation
import RoostModel
import Testing

@testable import RoostImages

/// A folder that goes away with its owner.
final class TemporaryFolder {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory
            .appendingPathComponent("roost-images-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }
}

/// What a program of the host said.
struct Ran {
    let status: Int32
    let output: String
}

/// Runs a program that a test needs; a missing one is a failure that says so.
func run(_ name: String, _ arguments: [String]) throws -> Ran {
    let tool = try #require(Tool.find(name), "\(name) is not installed")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: tool.path)
    process.arguments = arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Ran(status: process.terminationStatus, output: String(decoding: data, as: UTF8.self))
}

/// A tar archive put together by hand, so that it can be as wrong as a test wants.
struct Archive {
    var bytes: [UInt8] = []

    /// Appends a member with its content.
    mutating func add(
        _ path: String,
        type: Character = "0",
        mode: UInt32 = 0o644,
        owner: UInt32 = 0,
        time: Int64 = 1_700_000_000,
        link: String = "",
        size: UInt64? = nil,
        device: (UInt32, UInt32) = (0, 0),
        content: [UInt8] = []
    ) {
        bytes += Self.header(
            Array(path.utf8),
            type: type,
            mode: mode,
            owner: owner,
            time: time,
            link: link,
            size: size ?? UInt64(content.count),
            device: device
        )
        bytes += content + Array(repeating: 0, count: (512 - content.count % 512) % 512)
    }

    /// Appends a pax header for the next member.
    mutating func pax(_ records: [(String, [UInt8])]) {
        var body: [UInt8] = []
        for (key, value) in records {
            let rest = key.utf8.count + value.count + 3
            var length = rest + 1
            while String(length).utf8.count + rest != length { length += 1 }
            body += Array("\(length) \(key)=".utf8) + value + [0x0A]
        }
        add("pax", type: "x", content: body)
    }

    /// The archive with its end mark.
    var finished: [UInt8] { bytes + Array(repeating: 0, count: 1024) }

    static func header(
        _ path: [UInt8],
        type: Character,
        mode: UInt32,
        owner: UInt32,
        time: Int64,
        link: String,
        size: UInt64,
        device: (UInt32, UInt32)
    ) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func octal(_ value: UInt64, _ offset: Int, _ length: Int) {
            let text = String(value, radix: 8)
            if text.utf8.count < length {
                let padding = String(repeating: "0", count: length - 1 - text.utf8.count)
                block.put(Array((padding + text).utf8), at: offset)
            } else {
                block.putBig(value, at: offset + length - 8)
                block[offset] |= 0x80
            }
        }
        block.put(path.prefix(100), at: 0)
        octal(UInt64(mode), 100, 8)
        octal(UInt64(owner), 108, 8)
        octal(UInt64(owner), 116, 8)
        octal(size, 124, 12)
        octal(UInt64(bitPattern: time), 136, 12)
        block[156] = type.asciiValue ?? 0
        block.put(Array(link.utf8.prefix(100)), at: 157)
        block.put(Array("ustar\u{0}00".utf8), at: 257)
        octal(UInt64(device.0), 329, 8)
        octal(UInt64(device.1), 337, 8)
        block.put(Array("        ".utf8), at: 148)
        let sum = block.reduce(UInt64(0)) { $0 + UInt64($1) }
        octal(sum, 148, 7)
        return block
    }
}

/// The fault that reading the whole archive into an image ends with; nil if it does not.
func faultOfImporting(_ bytes: [UInt8], limits: TarLimits = TarLimits()) throws -> Fault? {
    let folder = try TemporaryFolder()
    let file = try DiskFile.creating(folder.file("image"))
    let builder = try Ext4Builder(file: file, size: .mebibytes(16), journal: false)
    do throws(Fault) {
        try builder.add(TarReader(.bytes(bytes, chunk: 700), limits: limits))
        return nil
    } catch {
        return error
    }
}
