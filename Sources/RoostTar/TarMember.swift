/// One member of an archive, as its headers describe it.
package struct TarMember: Hashable, Sendable {
    /// The kinds of member.
    package enum Kind: Hashable, Sendable {
        case file
        /// Another name of an earlier member.
        case hardLink
        case symbolicLink
        case characterDevice
        case blockDevice
        case directory
        case fifo
        /// A kind that POSIX does not know, by its letter. It may have content.
        case other(UInt8)
    }

    /// An extended attribute, such as `user.comment`.
    package struct Attribute: Hashable, Sendable {
        package var name: String
        package var value: [UInt8]

        package init(name: String, value: [UInt8]) {
            self.name = name
            self.value = value
        }
    }

    package var kind: Kind
    /// Its name as it was written, perhaps absolute, with `..`, or empty.
    package var path: [UInt8]
    /// What a link leads to.
    package var link: [UInt8] = []
    /// Permission bits, at most 0o7777.
    package var mode: UInt32 = 0
    package var user: UInt32 = 0
    package var group: UInt32 = 0
    /// The bytes of content after the headers, below 2^62; 0 where there is none.
    package var size: UInt64 = 0
    /// Seconds since 1970 of the last change of content, below 2^40 in either direction.
    package var modified: Int64 = 0
    /// Nanoseconds to add to ``modified``.
    package var nanoseconds: UInt32 = 0
    package var major: UInt32 = 0
    package var minor: UInt32 = 0
    package var attributes: [Attribute] = []

    /// A member without content, owned by root.
    package init(_ kind: Kind, path: [UInt8]) {
        self.kind = kind
        self.path = path
    }
}

// MARK: Writing

extension TarMember {
    /// The header's blocks, with a pax header before it for what ustar cannot say. Extended
    /// attributes and nanoseconds are left out; content and its padding are the caller's.
    package func encoded() -> [UInt8] {
        var records: [UInt8] = []
        if path.count > 100 { records += Self.record("path", path) }
        if link.count > 100 { records += Self.record("linkpath", link) }
        if size > Self.octalLimit(11) { records += Self.record("size", Array("\(size)".utf8)) }
        if user > Self.octalLimit(7) { records += Self.record("uid", Array("\(user)".utf8)) }
        if group > Self.octalLimit(7) { records += Self.record("gid", Array("\(group)".utf8)) }
        if modified < 0 || modified > Self.octalLimit(11) {
            records += Self.record("mtime", Array("\(modified)".utf8))
        }
        guard !records.isEmpty else { return ustar() }
        var prefix = TarMember(.other(UInt8(ascii: "x")), path: Array("pax".utf8))
        prefix.size = UInt64(records.count)
        prefix.mode = 0o644
        let padding = [UInt8](repeating: 0, count: TarHeaders.padding(after: prefix.size))
        return prefix.ustar() + records + padding + ustar()
    }

    /// The largest number of `digits` octal digits.
    private static func octalLimit(_ digits: UInt64) -> UInt64 { 1 << (3 * digits) - 1 }

    private var letter: UInt8 {
        switch kind {
        case .file: UInt8(ascii: "0")
        case .hardLink: UInt8(ascii: "1")
        case .symbolicLink: UInt8(ascii: "2")
        case .characterDevice: UInt8(ascii: "3")
        case .blockDevice: UInt8(ascii: "4")
        case .directory: UInt8(ascii: "5")
        case .fifo: UInt8(ascii: "6")
        case .other(let letter): letter
        }
    }

    private func ustar() -> [UInt8] {
        var header = [UInt8](repeating: 0, count: HeaderBlock.size)
        func put(_ bytes: some Collection<UInt8>, at offset: Int) {
            header.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        }
        /// What does not fit stands in a pax record.
        func octal(_ number: UInt64, at offset: Int, digits: Int) {
            let fits = number <= Self.octalLimit(UInt64(digits)) ? number : 0
            let text = Array(String(fits, radix: 8).utf8)
            put(Array(repeating: 0x30, count: digits - text.count) + text, at: offset)
        }
        put(path.prefix(100), at: 0)
        octal(UInt64(mode & 0o7777), at: 100, digits: 7)
        octal(UInt64(user), at: 108, digits: 7)
        octal(UInt64(group), at: 116, digits: 7)
        octal(size, at: 124, digits: 11)
        octal(UInt64(clamping: modified), at: 136, digits: 11)
        put(Array(repeating: 0x20, count: 8), at: 148)
        header[156] = letter
        put(link.prefix(100), at: 157)
        put("ustar\u{0}00".utf8, at: 257)
        octal(UInt64(major), at: 329, digits: 7)
        octal(UInt64(minor), at: 337, digits: 7)
        octal(header.reduce(0) { $0 + UInt64($1) }, at: 148, digits: 6)
        header[154] = 0
        return header
    }

    /// `LENGTH KEY=VALUE\n`, where the length counts itself.
    private static func record(_ key: String, _ value: [UInt8]) -> [UInt8] {
        let body = Array(" \(key)=".utf8) + value + [0x0A]
        var length = body.count + 1
        while String(length).utf8.count + body.count != length {
            length = String(length).utf8.count + body.count
        }
        return Array(String(length).utf8) + body
    }
}
