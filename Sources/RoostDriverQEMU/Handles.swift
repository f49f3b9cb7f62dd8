internal import Foundation
internal import RoostLinux
internal import RoostModel

/// `handles.json`: what was true of a VMM when it was started. A hint for people and for finding
/// the process again; the process itself is asked first and believed.
struct Handles: Codable, Sendable, Hashable {
    var vm: VMID
    var process: ProcessIdentity
    /// The host's boot that `process` belongs to.
    var bootID: String
    var generation: Int?
    var controlSocket = MachineFolder.controlSocket
    var agentSocket = MachineFolder.agentSocket
    var memoryPath: String

    /// Writes it whole or not at all. Not synced: after a power cut it means nothing.
    func write(to path: String) throws(Fault) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(self) else {
            throw Fault(.bug, "handles of VM \(vm.short) cannot be encoded")
        }
        try DurableFile.write(path, Array(data) + [10], sync: false)
    }

    /// Reads it; `nil` when there is none. One that cannot be understood is set aside, not deleted.
    static func read(_ path: String) throws(Fault) -> Handles? {
        do throws(Fault) {
            guard let bytes = try DurableFile.read(path, limit: 64 << 10) else { return nil }
            if let handles = try? JSONDecoder().decode(Handles.self, from: Data(bytes)) {
                return handles
            }
        } catch  where error.reason != .stateUnreadable {
            throw error
        } catch {
            // Too large to be ours: set aside below.
        }
        _ = try DurableFile.quarantine(path)
        return nil
    }
}

extension Machine {
    /// Writes down what is true of it. Blocks. A full disk must not kill a guest: the process is found
    /// without the file.
    func writeHandles() {
        let handles = Handles(
            vm: id,
            process: identity,
            bootID: HostFacts.bootID,
            generation: generation,
            memoryPath: isPrivate ? folder.presentBase ?? folder.basePath : folder.memoryPath
        )
        do throws(Fault) {
            try handles.write(to: folder.handlesPath)
        } catch {
            folder.note("handles.json could not be written: \(error.message)")
        }
    }
}
