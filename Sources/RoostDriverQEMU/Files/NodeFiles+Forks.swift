internal import Glibc
internal import RoostHost
internal import RoostLinux
package import RoostModel

/// Directories of copies of a machine that went on.
///
/// A copy has a link of its own to each layer of the disk, so the file system counts who needs
/// them: nothing that a copy needs goes with the fork's folder, its source or another copy, and what
/// nobody has a name for any more is freed.
extension NodeFiles {
    package func prepareFork(
        _ id: VMID,
        from folder: String,
        spec: VMSpec
    ) async throws(Fault) {
        if isDirectory(live(id)) { return }
        let layers = try await onItsOwnThread { () throws(Fault) in
            names(in: folder).filter(isLayer).sorted()
        }
        let top = "\(folder)/root.qcow2"
        guard let base = layers.first(where: { isSameFile("\(folder)/\($0)", top) }) else {
            throw Fault(
                .savedStateDamaged,
                "'\(folder)' has no disk to stand on",
                metadata: ["path": folder, "vm": "\(id)"]
            )
        }
        // Named relatively, as all layers do: the directory may come to lie in the trash and back.
        try await stage(
            id,
            over: base,
            .qcow2,
            spec: spec,
            marks: [Self.unrenewed: ""],
            links: layers.map { "\(folder)/\($0)" }
        )
    }

    package func prepareWhole(
        _ id: VMID,
        from folder: String,
        spec: VMSpec
    ) async throws(Fault) {
        if isDirectory(live(id)) { return }
        let flatten = tools.flattenDisk
        try await stage(id, marks: [Self.unrenewed: ""]) { path throws(Fault) in
            try await flatten("\(folder)/root.qcow2", path)
        }
    }

    package func forkFolder(_ fork: OperationID) -> String { "\(root)/forks/\(fork)" }

    package func forks() async throws(Fault) -> [OperationID] {
        let path = "\(root)/forks"
        return try await onItsOwnThread { () throws(Fault) in
            names(in: path).filter { isDirectory("\(path)/\($0)") }
                .compactMap { OperationID($0) }.sorted()
        }
    }
}
