import RoostModel

/// Extended attributes as ext4 keeps them: behind the inode if they fit, else in one block.
struct Ext4Attributes {
    /// What goes behind the inode's fields, at most 96 bytes; empty without attributes.
    let inodeBytes: [UInt8]
    /// The attribute block; empty if there is none.
    let blockBytes: [UInt8]

    private static let magic: UInt32 = 0xEA02_0000
    private static let inodeRoom = Ext4Geometry.inodeSize - 160

    /// Encodes `attributes` of the file at `path` (for messages).
    ///
    /// - Throws: `unsupported` if they take more than a block or have a namespace that Linux
    ///   does not know.
    init(_ attributes: [ExtendedAttribute], path: @autoclosure () -> String) throws(Fault) {
        guard !attributes.isEmpty else {
            inodeBytes = []
            blockBytes = []
            return
        }
        var entries: [Entry] = []
        for attribute in attributes {
            guard let entry = Entry(attribute) else {
                throw Fault(
                    .unsupported,
                    "\(path()): extended attribute \"\(printable(attribute.name))\""
                )
            }
            entries.append(entry)
        }
        // The kernel finds attributes in a block by this order.
        entries.sort {
            ($0.index, $0.name.count) != ($1.index, $1.name.count)
                ? ($0.index, $0.name.count) < ($1.index, $1.name.count)
                : $0.name.lexicographicallyPrecedes($1.name)
        }
        let size = entries.reduce(4) { $0 + $1.headerSize + $1.valueSize }
        if size + 4 <= Self.inodeRoom {
            var bytes: [UInt8] = []
            bytes.append(little: Self.magic)
            inodeBytes = bytes + Self.encode(entries, room: Self.inodeRoom - 4, valueBase: 0)
            blockBytes = []
        } else if size + 32 <= Ext4Geometry.blockSize {
            inodeBytes = []
            blockBytes = Self.block(entries)
        } else {
            throw Fault(
                .unsupported,
                "\(path()): extended attributes of \(size) bytes; ext4 has room for 4064"
            )
        }
    }

    private static func block(_ entries: [Entry]) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: 32)
        header.put(magic, at: 0)
        header.put(UInt32(1), at: 4)
        header.put(UInt32(1), at: 8)
        var hash: UInt32 = 0
        for entry in entries { hash = (hash << 16) ^ (hash >> 16) ^ entry.hash }
        header.put(hash, at: 12)
        return header + encode(entries, room: Ext4Geometry.blockSize - 32, valueBase: 32)
    }

    /// Headers grow from the front, values from the back; `valueBase` is where offsets count from.
    private static func encode(_ entries: [Entry], room: Int, valueBase: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: room)
        var header = 0
        var value = room
        for entry in entries {
            value -= entry.valueSize
            bytes.put(UInt8(entry.name.count), at: header)
            bytes.put(entry.index, at: header + 1)
            bytes.put(UInt16(entry.value.isEmpty ? 0 : value + valueBase), at: header + 2)
            bytes.put(UInt32(entry.value.count), at: header + 8)
            bytes.put(entry.hash, at: header + 12)
            bytes.put(entry.name, at: header + 16)
            bytes.put(entry.value, at: value)
            header += entry.headerSize
        }
        return bytes
    }

    private struct Entry {
        let index: UInt8
        let name: [UInt8]
        let value: [UInt8]

        var headerSize: Int { 16 + (name.count + 3) / 4 * 4 }
        var valueSize: Int { (value.count + 3) / 4 * 4 }

        /// `ext4_xattr_hash_entry`.
        var hash: UInt32 {
            var hash: UInt32 = 0
            for byte in name { hash = (hash << 5) ^ (hash >> 27) ^ UInt32(byte) }
            let padded = value + Array(repeating: 0, count: valueSize - value.count)
            for offset in stride(from: 0, to: padded.count, by: 4) {
                let word = padded.little(UInt32.self, at: offset) ?? 0
                hash = (hash << 16) ^ (hash >> 16) ^ word
            }
            return hash
        }

        init?(_ attribute: ExtendedAttribute) {
            let name = attribute.name
            let spaces: [(prefix: String, index: UInt8)] = [
                ("user.", 1), ("trusted.", 4), ("security.", 6),
            ]
            if let space = spaces.first(where: { name.hasPrefix($0.prefix) }) {
                self.index = space.index
                self.name = Array(name.dropFirst(space.prefix.count).utf8)
                self.value = attribute.value
                guard (1...255).contains(self.name.count), !self.name.contains(0) else {
                    return nil
                }
            } else {
                guard name.hasPrefix("system.posix_acl_"),
                    let value = Self.accessList(attribute.value)
                else { return nil }
                switch name {
                case "system.posix_acl_access": self.index = 2
                case "system.posix_acl_default": self.index = 3
                default: return nil
                }
                self.name = []
                self.value = value
            }
        }

        /// An access list as `getxattr` hands it out, in ext4's own shorter form.
        private static func accessList(_ value: [UInt8]) -> [UInt8]? {
            guard value.count % 8 == 4, value.little(UInt32.self, at: 0) == 2 else { return nil }
            var result: [UInt8] = []
            result.append(little: UInt32(1))
            for offset in stride(from: 4, to: value.count, by: 8) {
                result += value[offset..<offset + 4]
                // Only named users and groups (tags 2 and 8) carry a number.
                let tag = value.little(UInt16.self, at: offset)
                if tag == 2 || tag == 8 { result += value[offset + 4..<offset + 8] }
            }
            return result
        }
    }
}
