internal import Glibc
internal import RoostDriver
internal import RoostLinux
internal import RoostModel

extension QEMUDriver {
    /// Takes over every VMM of this state directory that runs already, and cleans up after those
    /// that ended while nobody looked. The process table is believed first, handles.json second.
    func adoptEarlierMachines() async {
        let found = try? await onItsOwnThread { [settings] () throws(Fault) in
            findMachines(stateDirectory: settings.stateDirectory)
        }
        // Side by side: a VMM that hangs must not keep the others from being listed.
        await withTaskGroup { group in
            for process in found ?? [] { group.addTask { await self.adopt(process) } }
        }
        let alive = Set((found ?? []).map(\.id))
        let vms = "\(settings.stateDirectory)/vms"
        let dead = (try? await onItsOwnThread { () throws(Fault) in names(in: vms) }) ?? []
        for id in dead.compactMap({ VMID($0) }) where !alive.contains(id) {
            await folder(id).clean()
        }
    }

    private func adopt(_ found: FoundMachine) async {
        let folder = folder(found.id)
        let process = try? await onItsOwnThread { () throws(Fault) in
            // Unreadable is set aside; what it said is known from the process.
            let handles = try? Handles.read(folder.handlesPath)
            let current = Handles(
                vm: found.id,
                process: found.identity,
                bootID: HostFacts.bootID,
                generation: found.generation,
                memoryPath: folder.memoryPath
            )
            if handles != current { try? current.write(to: folder.handlesPath) }
            return PidDescriptor(found.identity)
        }
        // Gone in between: its directory is cleaned like any dead VM's.
        guard let process = process ?? nil else { return await folder.clean() }
        let machine = Machine(
            id: found.id,
            process: process,
            identity: found.identity,
            generation: found.generation,
            folder: folder
        )
        adopt(machine)
        do throws(Fault) {
            _ = try await machine.control(within: .seconds(2))
        } catch {
            // A VMM that does not answer is still a running guest: it is kept, and the next command
            // tries again.
            folder.note("not answering at adoption: \(error.message)")
        }
    }
}

/// A VMM of ours in the process table.
struct FoundMachine: Sendable, Hashable {
    var id: VMID
    var identity: ProcessIdentity
    var generation: Int?
    /// Its working directory is this state directory's `vms/<id>`.
    var directory: String
}

/// Our VMMs on this host by the marks on the processes themselves; with `stateDirectory`, only those
/// whose working directory is `vms/<id>` there. Sorted by VM; blocks.
func findMachines(stateDirectory: String?) -> [FoundMachine] {
    ProcessTable.processes(withArgumentContaining: "name=\(agentPortName)").compactMap { facts in
        guard let mark = facts.arguments.firstIndex(of: "-uuid"),
            facts.arguments.indices.contains(mark + 1),
            let id = VMID(facts.arguments[mark + 1].replacing("-", with: ""))
        else { return nil }
        if let stateDirectory {
            let here = isSameDirectory(
                "/proc/\(facts.identity.pid)/cwd",
                "\(stateDirectory)/vms/\(id)"
            )
            guard here else { return nil }
        }
        let generation = facts.environment.first { $0.hasPrefix("ROOST_GENERATION=") }
        return FoundMachine(
            id: id,
            identity: facts.identity,
            generation: generation.flatMap { Int($0.dropFirst("ROOST_GENERATION=".count)) },
            directory: facts.workingDirectory
        )
    }.sorted { ($0.id, $0.identity.pid) < ($1.id, $1.identity.pid) }
}

private func isSameDirectory(_ left: String, _ right: String) -> Bool {
    var (one, other) = (stat(), stat())
    return stat(left, &one) == 0 && stat(right, &other) == 0 && one.st_dev == other.st_dev
        && one.st_ino == other.st_ino
}
