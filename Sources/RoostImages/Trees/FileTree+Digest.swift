import Crypto

extension FileTree {
    /// One name in a tree.
    struct Visit {
        let parent: NodeID
        let name: FileName
        let node: NodeID
        /// Whether this is the first of the node's names.
        let isFirst: Bool
    }

    /// Every name but the root's, parents before children, siblings in the order of their bytes.
    func visits() -> [Visit] {
        var result: [Visit] = []
        var seen = Array(repeating: false, count: nodes.count)
        var pending: [(NodeID, FileName, NodeID)] = []
        func push(_ id: NodeID) {
            let children = nodes[id].children.sorted { $1.key < $0.key }
            for (name, child) in children { pending.append((id, name, child)) }
        }
        push(Self.root)
        while let (parent, name, id) = pending.popLast() {
            result.append(Visit(parent: parent, name: name, node: id, isFirst: !seen[id]))
            seen[id] = true
            push(id)
        }
        return result
    }

    /// SHA-256 of everything a person can see in the tree: names, links, metadata, contents.
    /// Two trees have the same digest whatever the order in which they were put together.
    func digest(_ visits: [Visit]) -> [UInt8] {
        var hash = SHA256()
        hash.update(data: Array("roost tree 1".utf8))
        hash.update(data: Self.record(nodes[Self.root]))
        var ordinals = Array(repeating: UInt32(0), count: nodes.count)
        var next: UInt32 = 1
        for visit in visits {
            var record: [UInt8] = []
            record.append(little: ordinals[visit.parent])
            record.append(UInt8(visit.name.bytes.count))
            record += visit.name.bytes
            if visit.isFirst {
                ordinals[visit.node] = next
                next += 1
                record += Self.record(nodes[visit.node])
            } else {
                record.append(0xFF)
                record.append(little: ordinals[visit.node])
            }
            hash.update(data: record)
        }
        return Array(hash.finalize())
    }

    private static func record(_ node: Node) -> [UInt8] {
        var bytes = [node.kind.directoryType]
        bytes.append(little: node.metadata.mode)
        bytes.append(little: node.metadata.user)
        bytes.append(little: node.metadata.group)
        bytes.append(little: node.metadata.modified.seconds)
        bytes.append(little: node.metadata.modified.nanoseconds)
        let attributes = node.metadata.attributes.sorted {
            $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
        }
        bytes.append(little: UInt32(attributes.count))
        for attribute in attributes {
            bytes.append(little: UInt32(attribute.name.utf8.count))
            bytes += attribute.name.utf8
            bytes.append(little: UInt32(attribute.value.count))
            bytes += attribute.value
        }
        switch node.kind {
        case .directory, .fifo, .socket: break
        case .file(let content):
            bytes.append(little: content.size)
            bytes += content.digest
        case .symbolicLink(let target):
            bytes.append(little: UInt32(target.count))
            bytes += target
        case .characterDevice(let major, let minor), .blockDevice(let major, let minor):
            bytes.append(little: major)
            bytes.append(little: minor)
        }
        return bytes
    }
}

/// SHA-256 of a file's content, piece by piece, in which a hole and as many zeros are the same.
struct ContentDigest {
    /// A piece that is all zero is left out; the others count with their place.
    static let pieceSize = 1 << 16

    private var hash = SHA256()

    /// Adds the piece at `offset`, a multiple of the piece size.
    mutating func update(_ piece: UnsafeRawBufferPointer, at offset: UInt64) {
        var place: [UInt8] = []
        place.append(little: offset)
        hash.update(data: place)
        hash.update(bufferPointer: piece)
    }

    /// The digest of a content of `size` bytes.
    func finalize(size: UInt64) -> [UInt8] {
        var copy = hash
        var length: [UInt8] = []
        length.append(little: size)
        copy.update(data: length)
        return Array(copy.finalize())
    }
}
