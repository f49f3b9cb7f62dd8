internal import Glibc
internal import RoostLinux
package import RoostModel

/// Something on this host that belongs to a VM.
package struct HostTrace: Sendable, Hashable {
    package enum Kind: String, Sendable, CaseIterable {
        case process
        case memoryFile
        case socket
        case directory
        case trash
    }

    package var vm: VMID
    package var kind: Kind
    /// The pid or path.
    package var what: String

    package init(vm: VMID, kind: Kind, what: String) {
        self.vm = vm
        self.kind = kind
        self.what = what
    }
}

extension QEMUDriver {
    /// Everything on this host that belongs to VMs of this state directory, by looking at the host
    /// only. Whoever knows which VMs should be there subtracts them; a process without a directory
    /// of its own is listed whatever state directory it came from. Sorted by VM, kind and path.
    package func leaks() async throws(Fault) -> [HostTrace] {
        let settings = settings
        return try await onItsOwnThread { () throws(Fault) in hostTraces(settings) }
    }
}

/// As ``QEMUDriver/leaks()``; blocks.
private func hostTraces(_ settings: QEMUSettings) -> [HostTrace] {
    let root = settings.stateDirectory
    var found: [HostTrace] = []
    let ours = Set(findMachines(stateDirectory: root))
    for machine in findMachines(stateDirectory: nil) {
        let inside = machine.directory.hasPrefix(resolved(root) + "/")
        // Another state directory's VMMs are that daemon's business, as long as it is there.
        guard ours.contains(machine) || inside || machine.directory.hasSuffix(" (deleted)") else {
            continue
        }
        found.append(HostTrace(vm: machine.id, kind: .process, what: "\(machine.identity.pid)"))
    }
    for folder in names(in: "\(root)/vms") {
        guard let id = VMID(folder) else { continue }
        let path = "\(root)/vms/\(folder)"
        found.append(HostTrace(vm: id, kind: .directory, what: path))
        for name in [MachineFolder.controlSocket, MachineFolder.agentSocket]
        where access("\(path)/\(name)", F_OK) == 0 {
            found.append(HostTrace(vm: id, kind: .socket, what: "\(path)/\(name)"))
        }
    }
    for folder in names(in: "\(root)/trash") {
        guard let id = VMID(folder) else { continue }
        found.append(HostTrace(vm: id, kind: .trash, what: "\(root)/trash/\(folder)"))
    }
    found += memoryTraces(settings, of: Set(found.map(\.vm)))
    return found.sorted { left, right in
        (left.vm, left.kind.rawValue, left.what) < (right.vm, right.kind.rawValue, right.what)
    }
}

/// Memory files of the VMs in `known`, and those that no living VMM of this host has.
private func memoryTraces(_ settings: QEMUSettings, of known: Set<VMID>) -> [HostTrace] {
    let alive = Set(findMachines(stateDirectory: nil).map(\.id))
    let directory = settings.memoryDirectory
    return (MachineFolder.memoryFiles(in: directory) + MachineFolder.baseFiles(in: directory))
        .filter { known.contains($0.id) || !alive.contains($0.id) }
        .map { HostTrace(vm: $0.id, kind: .memoryFile, what: $0.path) }
}

private func resolved(_ path: String) -> String {
    guard let pointer = realpath(path, nil) else { return path }
    defer { free(pointer) }
    return String(cString: pointer)
}
