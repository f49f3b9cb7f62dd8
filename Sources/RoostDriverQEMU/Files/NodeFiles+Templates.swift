internal import Glibc
internal import RoostHost
internal import RoostLinux
package import RoostModel

/// Templates' folders, and the VMs that are copies of them.
///
/// A copy has two marks in its directory: `template` names what its disk lies over, for as long as
/// it lives; `unrenewed` is there until its guest has an identity of its own.
extension NodeFiles {
    private static var template: String { "template" }
    static var unrenewed: String { "unrenewed" }

    package func savedFolder(_ id: VMID, _ place: DisksPlace) -> String {
        "\(place == .trashed ? trash(id) : live(id))/saved"
    }

    /// The directory in a VM's that has a folder for each of its checkpoints.
    static var checkpoints: String { "checkpoints" }

    package func checkpointsFolder(_ id: VMID, _ place: DisksPlace) -> String {
        "\(place == .trashed ? trash(id) : live(id))/\(Self.checkpoints)"
    }

    package func prepareCopy(
        _ id: VMID,
        of template: String,
        disk: String,
        spec: VMSpec
    ) async throws(Fault) {
        if isDirectory(live(id)) { return }
        let marks = [Self.template: template, Self.unrenewed: ""]
        // Copies are disposable: after a power cut nobody wants them.
        try await stage(id, over: disk, .qcow2, spec: spec, marks: marks, isDurable: false)
    }

    package func makeLasting(_ id: VMID) async throws(Fault) {
        let folder = live(id)
        let disk = try checkedDisk(id)
        let marks = [Self.template, Self.unrenewed].map { "\(folder)/\($0)" }
        try await onItsOwnThread { () throws(Fault) in
            try syncFile(disk)
            for mark in marks where access(mark, F_OK) == 0 { try syncFile(mark) }
            try DurableFile.syncDirectory(folder)
            try DurableFile.syncDirectory("\(root)/vms")
        }
    }

    package func isUnrenewed(_ id: VMID) async throws(Fault) -> Bool {
        [live(id), trash(id)].contains { access("\($0)/\(Self.unrenewed)", F_OK) == 0 }
    }

    package func markRenewed(_ id: VMID) async throws(Fault) {
        let path = "\(live(id))/\(Self.unrenewed)"
        // Not synced: a mark that comes back after a power cut costs one more renewal.
        guard unlink(path) == 0 || errno == ENOENT else {
            throw systemFault("remove", path, errno)
        }
    }

    package func templateFolder(_ template: String) -> String { "\(root)/templates/\(template)" }

    package func templates() async throws(Fault) -> [String] {
        let path = "\(root)/templates"
        return try await onItsOwnThread { () throws(Fault) in
            names(in: path).filter { isDirectory("\(path)/\($0)") }
        }
    }

    package func templatesInUse() async throws(Fault) -> Set<String> {
        let folders = ["\(root)/vms", "\(root)/trash"]
        return try await onItsOwnThread { () throws(Fault) in
            var found: Set<String> = []
            for folder in folders {
                for name in names(in: folder) {
                    let mark = "\(folder)/\(name)/\(Self.template)"
                    if let text = try DurableFile.read(mark, limit: 255) {
                        found.insert(String(decoding: text, as: UTF8.self))
                    }
                }
            }
            return found
        }
    }
}
