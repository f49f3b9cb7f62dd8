package import RoostModel

extension Ext4Builder {
    /// Adds every member of an archive.
    ///
    /// - Parameters:
    ///   - archive: What is read, to its end mark.
    ///   - asLayer: Whether this is a further OCI layer over what is there: names that begin
    ///     with `.wh.` then hide files of earlier layers.
    /// - Throws: What the reader throws; `archiveInvalid` if a member leads through something
    ///   that is no directory, or is a hard link to nothing.
    package func add(_ archive: TarReader, asLayer: Bool = false) throws(Fault) {
        if asLayer { tree.beginLayer() }
        while let entry = try archive.next() {
            if asLayer, try applyWhiteout(entry.path) { continue }
            switch entry.kind {
            case .file(let size):
                let reader = ContentReader(
                    nextData: { $0 },
                    fill: { buffer, _ throws(Fault) in _ = try archive.readContent(into: buffer) }
                )
                try add(size: size, reader, entry.metadata, at: entry.path)
            case .hardLink(let target):
                try tree.link(entry.path, to: target)
                try giveBackReleased()
            case .directory: try add(.directory, entry.metadata, at: entry.path)
            case .symbolicLink(let target):
                try add(.symbolicLink(target), entry.metadata, at: entry.path)
            case .characterDevice(let major, let minor):
                let kind = FileKind.characterDevice(major: major, minor: minor)
                try add(kind, entry.metadata, at: entry.path)
            case .blockDevice(let major, let minor):
                let kind = FileKind.blockDevice(major: major, minor: minor)
                try add(kind, entry.metadata, at: entry.path)
            case .fifo: try add(.fifo, entry.metadata, at: entry.path)
            }
        }
    }

    /// Whether the path was a whiteout (OCI image-spec, layer.md), which then is done.
    private func applyWhiteout(_ path: ArchivePath) throws(Fault) -> Bool {
        let mark = Array(".wh.".utf8)
        guard let name = path.names.last, name.bytes.starts(with: mark),
            let parent = path.parent
        else { return false }
        if name.bytes.elementsEqual(".wh..wh..opq".utf8) {
            tree.makeOpaque(parent)
        } else if let hidden = FileName(name.bytes.dropFirst(mark.count)) {
            tree.hide(parent.appending(hidden))
        }
        try giveBackReleased()
        return true
    }
}
