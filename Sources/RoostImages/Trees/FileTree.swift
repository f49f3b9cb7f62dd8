package import RoostModel

/// A file system in memory: names, metadata, and where contents lie. No content itself.
///
/// Hard links are several names for one node. Every refusal is `archiveInvalid` with the path.
package struct FileTree {
    /// A node's place in ``nodes``.
    package typealias NodeID = Int

    /// One inode.
    package struct Node {
        /// What it is.
        package var kind: FileKind
        /// Owners, mode, time, extended attributes.
        package var metadata: FileMetadata
        /// The names inside it; empty unless it is a directory.
        package var children: [FileName: NodeID] = [:]
        /// How many names it has; 0 once the last is removed.
        package var names = 1
        /// The layer that last wrote it.
        var layer = 0

        /// Whether it is a directory.
        package var isDirectory: Bool { kind == .directory }
    }

    /// All nodes ever made; the root is the first. Those with no names are gone.
    package private(set) var nodes: [Node]
    /// Blocks of contents that lost their last name. Whoever owns the blocks empties this.
    package var released: [BlockRun] = []
    private var layer = 0

    /// The root directory's node.
    package static let root: NodeID = 0

    /// Makes a tree with an empty root, mode 0755, owned by root.
    package init() {
        nodes = [Node(kind: .directory, metadata: FileMetadata(mode: 0o755))]
    }

    /// The node at `path`; symbolic links are not followed.
    package func find(_ path: ArchivePath) -> NodeID? {
        var id = Self.root
        for name in path.names {
            guard let child = nodes[id].children[name] else { return nil }
            id = child
        }
        return id
    }

    /// Puts a file at `path`, making missing parents (0755, root). What stood there is replaced,
    /// as when an archive is extracted; a directory over a directory keeps what is in it.
    ///
    /// - Throws: `archiveInvalid` if the path leads through something that is no directory, or
    ///   if it would replace a directory of the same layer that is not empty.
    @discardableResult
    package mutating func insert(
        _ kind: FileKind,
        _ metadata: FileMetadata,
        at path: ArchivePath
    ) throws(Fault) -> NodeID {
        guard let name = path.names.last else {
            guard kind == .directory else { throw refusal(path, "the root must be a directory") }
            nodes[Self.root].metadata = metadata
            return Self.root
        }
        let parent = try makeParents(of: path)
        if let old = nodes[parent].children[name] {
            if nodes[old].isDirectory {
                if kind == .directory {
                    nodes[old].metadata = metadata
                    nodes[old].layer = layer
                    return old
                }
                guard nodes[old].layer < layer || nodes[old].children.isEmpty else {
                    throw refusal(path, "it replaces a directory that is not empty")
                }
            }
            unlink(name, from: parent)
        }
        nodes.append(Node(kind: kind, metadata: metadata, layer: layer))
        nodes[parent].children[name] = nodes.count - 1
        return nodes.count - 1
    }

    /// Gives the file at `target` the further name `path`.
    ///
    /// - Throws: `archiveInvalid` if `target` is missing or a directory, or as for ``insert``.
    package mutating func link(_ path: ArchivePath, to target: ArchivePath) throws(Fault) {
        guard let id = find(target) else {
            throw refusal(path, "a hard link to \"\(target)\", which is not in the archive")
        }
        guard !nodes[id].isDirectory else {
            throw refusal(path, "a hard link to the directory \"\(target)\"")
        }
        guard let name = path.names.last else { throw refusal(path, "the root is no hard link") }
        let parent = try makeParents(of: path)
        if let old = nodes[parent].children[name] {
            if old == id { return }
            guard !nodes[old].isDirectory else {
                throw refusal(path, "a hard link replaces a directory")
            }
            unlink(name, from: parent)
        }
        nodes[id].names += 1
        nodes[parent].children[name] = id
    }

    /// Removes whatever is at `path`, with all inside. Says whether there was anything.
    @discardableResult
    package mutating func remove(_ path: ArchivePath) -> Bool {
        guard let name = path.names.last, let parentPath = path.parent,
            let parent = find(parentPath), nodes[parent].children[name] != nil
        else { return false }
        unlink(name, from: parent)
        return true
    }

    /// Says where the content of the regular file `id` lies.
    mutating func setContent(_ content: FileContent, of id: NodeID) {
        nodes[id].kind = .file(content)
    }

    // MARK: Layers

    /// Says that what is inserted from now on belongs to a further layer.
    package mutating func beginLayer() { layer += 1 }

    /// Removes what an earlier layer has at `path` (OCI's whiteout).
    package mutating func hide(_ path: ArchivePath) {
        guard let id = find(path) else { return }
        guard nodes[id].layer < layer else {
            // Made anew before its whiteout came: only what is new in it stays.
            return makeOpaque(path)
        }
        remove(path)
    }

    /// Hides what earlier layers put into the directory at `path` (OCI's opaque whiteout).
    package mutating func makeOpaque(_ path: ArchivePath) {
        guard let top = find(path), nodes[top].isDirectory else { return }
        var pending = [top]
        while let id = pending.popLast() {
            for (name, child) in nodes[id].children.sorted(by: { $0.key < $1.key }) {
                if nodes[child].layer < layer {
                    unlink(name, from: id)
                } else if nodes[child].isDirectory {
                    pending.append(child)
                }
            }
        }
    }

    // MARK: Inside

    private mutating func makeParents(of path: ArchivePath) throws(Fault) -> NodeID {
        var id = Self.root
        for (depth, name) in path.names.dropLast().enumerated() {
            if let child = nodes[id].children[name] {
                guard nodes[child].isDirectory else {
                    let through = ArchivePath(names: Array(path.names[...depth]))
                    throw refusal(path, "it leads through \"\(through)\", which is no directory")
                }
                id = child
            } else {
                let made = Node(
                    kind: .directory,
                    metadata: FileMetadata(mode: 0o755),
                    layer: layer
                )
                nodes.append(made)
                nodes[id].children[name] = nodes.count - 1
                id = nodes.count - 1
            }
            nodes[id].layer = layer
        }
        return id
    }

    private mutating func unlink(_ name: FileName, from parent: NodeID) {
        guard let first = nodes[parent].children.removeValue(forKey: name) else { return }
        var pending = [first]
        while let id = pending.popLast() {
            nodes[id].names -= 1
            guard nodes[id].names == 0 else { continue }
            pending.append(contentsOf: nodes[id].children.values)
            nodes[id].children = [:]
            if case .file(let content) = nodes[id].kind {
                released.append(contentsOf: content.runs)
            }
            nodes[id].kind = .fifo
        }
    }

    private func refusal(_ path: ArchivePath, _ problem: String) -> Fault {
        Fault(.archiveInvalid, "entry \"\(path)\": \(problem)")
    }
}
