package import RoostModel

/// One name in a directory: 1 to 255 bytes, none of them NUL or a slash, and not `.` or `..`.
///
/// Bytes and not a `String`: Linux names need not be UTF-8, and an image must keep them.
package struct FileName: Hashable, Comparable, Sendable {
    /// The bytes of the name.
    package let bytes: [UInt8]

    /// Wraps bytes that were checked.
    init(checked bytes: [UInt8]) { self.bytes = bytes }

    /// Makes a name of `bytes`; nil if no file can be called that.
    package init?(_ bytes: some Collection<UInt8>) {
        guard (1...255).contains(bytes.count), !bytes.contains(0), !bytes.contains(0x2F),
            !bytes.elementsEqual([0x2E]), !bytes.elementsEqual([0x2E, 0x2E])
        else { return nil }
        self.bytes = [UInt8](bytes)
    }

    /// Orders by the bytes, as `LC_ALL=C` does.
    package static func < (left: FileName, right: FileName) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }
}

/// A path inside an image: names from the root down. Never absolute, never with `..`.
package struct ArchivePath: Hashable, Sendable, CustomStringConvertible {
    /// The names from the root; empty for the root itself.
    package let names: [FileName]

    /// The root.
    package static let root = ArchivePath(names: [])

    /// The longest path that is taken, in bytes, as Linux has it.
    package static let lengthLimit = 4096

    init(names: [FileName]) { self.names = names }

    /// Reads a path as an archive writes it: `./a//b/` is `a/b`.
    ///
    /// - Throws: `archiveInvalid` for an empty or absolute path, `..`, a NUL, a name over 255
    ///   bytes, a path over 4096.
    package init(archived bytes: [UInt8]) throws(Fault) {
        if let problem = Self.problem(bytes) {
            throw Fault(.archiveInvalid, "entry \"\(printable(bytes))\": \(problem)")
        }
        var names: [FileName] = []
        for part in bytes.split(separator: 0x2F) where !part.elementsEqual([0x2E]) {
            guard let name = FileName(part) else {
                let problem = part.count > 255 ? "a name over 255 bytes" : "\"..\" in the path"
                throw Fault(.archiveInvalid, "entry \"\(printable(bytes))\": \(problem)")
            }
            names.append(name)
        }
        self.names = names
    }

    /// Reads a path that stands in source code, such as `etc/passwd`.
    package init(_ text: StaticString) {
        let parts = text.description.utf8.split(separator: 0x2F)
        self.names = parts.compactMap { FileName($0) }
        precondition(names.count == parts.count, "not a path inside an image: \(text)")
    }

    private static func problem(_ bytes: [UInt8]) -> String? {
        if bytes.isEmpty { return "an empty path" }
        if bytes.count > lengthLimit { return "a path of \(bytes.count) bytes" }
        if bytes.contains(0) { return "a NUL in the path" }
        if bytes.first == 0x2F { return "an absolute path" }
        return nil
    }

    /// The path of `name` inside this directory.
    package func appending(_ name: FileName) -> ArchivePath { ArchivePath(names: names + [name]) }

    /// The directory that holds it; nil for the root.
    package var parent: ArchivePath? {
        names.isEmpty ? nil : ArchivePath(names: Array(names.dropLast()))
    }

    /// The path for messages: `a/b`, or `.` for the root.
    package var description: String {
        names.isEmpty ? "." : printable(Array(names.map(\.bytes).joined(separator: [0x2F])))
    }
}
