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
        let byVM = Dictionary(grouping: found ?? [], by: \.id)
        // Side by side: a VMM that hangs must not keep the others from being listed.
        await withTaskGroup { group in
            for (_, processes) in byVM { group.addTask { await self.adoptVM(processes) } }
        }
        let alive = Set((found ?? []).map(\.id))
        let vms = "\(settings.stateDirectory)/vms"
        let dead = (try? await onItsOwnThread { () throws(Fault) in names(in: vms) }) ?? []
        for id in dead.compactMap({ VMID($0) }) where !alive.contains(id) {
            await folder(id).clean()
        }
    }

    /// How long adoption waits for what is being killed.
    private static let patienceWithDying = Duration.seconds(1)

    /// Takes over the processes of one VM. Two are a hand-over that was cut: while the source lives it
    /// is the machine, for its successor has not run.
    private func adoptVM(_ found: [FoundMachine]) async {
        let processes = await withoutDying(found)
        // All have ended: its directory is cleaned like any dead VM's.
        if processes.isEmpty, let id = found.first?.id { return await folder(id).clean() }
        let waiting = processes.filter { process in
            processes.contains { $0.identity.pid == process.succeeds }
        }
        for process in waiting {
            try? PidDescriptor(process.identity)?.signal(SIGKILL)
            await clearHandOver(folder(process.id))
        }
        for process in processes where !waiting.contains(process) {
            let stopped = waiting.contains { $0.succeedsRunning }
            guard let machine = await adopt(process) else { continue }
            do throws(Fault) {
                try await settle(machine, process, wasStoppedToBeSaved: stopped)
            } catch {
                machine.folder.note("not settled at adoption: \(error.message)")
            }
        }
    }

    /// What lives, or may come to: a process that was killed does nothing more, and its successor may
    /// have run since. One without a successor is waited for, and stays if it takes too long.
    private func withoutDying(_ processes: [FoundMachine]) async -> [FoundMachine] {
        var living: [FoundMachine] = []
        for process in processes {
            let pid = process.identity.pid
            guard ProcessTable.isBeingKilled(pid) else {
                living.append(process)
                continue
            }
            let end = ContinuousClock.now + Self.patienceWithDying
            let isGone = await PidDescriptor(process.identity)?.end(until: end) != nil
            guard !isGone, process.identity.isAlive else { continue }
            folder(process.id).note("process \(pid) was killed, and does not end")
            if !processes.contains(where: { $0.succeeds == pid }) { living.append(process) }
        }
        return living
    }

    /// Ends what was half made and lets go on what was half handed over.
    private func settle(
        _ machine: Machine,
        _ found: FoundMachine,
        wasStoppedToBeSaved: Bool
    ) async throws(Fault) {
        if wasStoppedToBeSaved, machine.phase == .paused { try await machine.command("cont") }
        guard found.isIncoming else { return }
        let status = try await machine.command("query-status")["status"]?.text
        if try await hasRun(machine) { return }
        if status == "running" { return try await mark(machine) }
        // It never ran. As the successor of a dead process it is the machine, if it was loaded; else
        // it is half of a start, which whoever ordered it repeats.
        guard found.succeeds != nil, status != "inmigrate" else {
            machine.folder.note("half made: ended")
            return try await machine.kill()
        }
        // Perhaps it has them already; without them it is still the machine.
        if let problem = await publish(found.forwards, of: machine) {
            machine.folder.note("adopted without a port: \(problem.message)")
        }
        if found.succeedsRunning { try await run(machine) } else { try await mark(machine) }
    }

    private func adopt(_ found: FoundMachine) async -> Machine? {
        let folder = folder(found.id)
        let process = try? await onItsOwnThread { () throws(Fault) in
            if found.succeeds != nil {
                let names = HandOver(back: found.back)
                if found.isWaiting(in: folder, names) { try takeOver(folder, names) }
                // The name of a source's memory, which takeOver(_:_:) removes last.
                unlink(folder.memoryPath)
                try DurableFile.syncDirectory(folder.path)
            }
            // Unreadable is set aside; what it said is known from the process.
            let handles = try? Handles.read(folder.handlesPath)
            let current = Handles(
                vm: found.id,
                process: found.identity,
                bootID: HostFacts.bootID,
                generation: found.generation,
                memoryPath: found.isPrivate
                    ? folder.presentBase ?? folder.basePath : folder.memoryPath
            )
            if handles != current { try? current.write(to: folder.handlesPath) }
            return PidDescriptor(found.identity)
        }
        // Gone in between: its directory is cleaned like any dead VM's.
        guard let process = process ?? nil else {
            await folder.clean()
            return nil
        }
        let machine = Machine(
            id: found.id,
            process: process,
            identity: found.identity,
            generation: found.generation,
            folder: folder,
            isPrivate: found.isPrivate
        )
        adopt(machine)
        do throws(Fault) {
            _ = try await machine.control(within: .seconds(2))
        } catch {
            // A VMM that does not answer is still a running guest: it is kept, and the next command
            // tries again.
            folder.note("not answering at adoption: \(error.message)")
        }
        return machine
    }
}

/// A VMM of ours in the process table.
struct FoundMachine: Sendable, Hashable {
    var id: VMID
    var identity: ProcessIdentity
    var generation: Int?
    /// Its memory file is mapped copy-on-write.
    var isPrivate: Bool
    /// It was started to succeed the process with this pid.
    var succeeds: Int32?
    /// That process ran before it was stopped to be saved.
    var succeedsRunning: Bool
    /// What it publishes once it has succeeded, as QEMU writes it.
    var forwards: [String]
    /// What it went back to, in the names of its files; `nil` for other successors.
    var back: String?
    /// It was started to load a saved state.
    var isIncoming: Bool
    /// Its working directory is this state directory's `vms/<id>`.
    var directory: String

    /// Whether its files have the names still that a successor's have. Those of a successor that has died
    /// since have the same, and are another's: the disk, which gets its usual name last, is this one's if
    /// this process has it open. Blocks.
    func isWaiting(in folder: MachineFolder, _ names: HandOver) -> Bool {
        let files = "/proc/\(identity.pid)/fd"
        return RoostDriverQEMU.names(in: files).contains {
            isOneFile("\(files)/\($0)", "\(folder.path)/\(names.disk)")
        }
    }
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
            let here = isOneFile(
                "/proc/\(facts.identity.pid)/cwd",
                "\(stateDirectory)/vms/\(id)"
            )
            guard here else { return nil }
        }
        return FoundMachine(
            id: id,
            identity: facts.identity,
            generation: facts.mark(ProcessMark.generation),
            isPrivate: facts.arguments.contains { $0.hasSuffix(",share=off") },
            succeeds: facts.mark(ProcessMark.successor).map { Int32(clamping: $0) },
            succeedsRunning: facts.mark(ProcessMark.successorRuns) == 1,
            forwards: facts.environment.first { $0.hasPrefix(ProcessMark.forwards) }.map {
                $0.dropFirst(ProcessMark.forwards.count).split(separator: ",").map(String.init)
            } ?? [],
            back: facts.environment.first { $0.hasPrefix(ProcessMark.back) }.map {
                String($0.dropFirst(ProcessMark.back.count))
            },
            isIncoming: facts.arguments.contains("-incoming"),
            directory: facts.workingDirectory
        )
    }.sorted { ($0.id, $0.identity.pid) < ($1.id, $1.identity.pid) }
}

/// Marks in the environment of a VMM.
enum ProcessMark {
    static let generation = "ROOST_GENERATION="
    /// The pid that it is to succeed.
    static let successor = "ROOST_SUCCEEDS="
    /// 1 when that one ran before it was stopped.
    static let successorRuns = "ROOST_SUCCEEDS_RUNNING="
    /// The host ports that it takes over, as QEMU writes them, with commas.
    static let forwards = "ROOST_FORWARDS="
    /// See ``HandOver/back``.
    static let back = "ROOST_BACK="
}

extension ProcessFacts {
    /// The number after `mark` in the environment.
    fileprivate func mark(_ mark: String) -> Int? {
        environment.first { $0.hasPrefix(mark) }.flatMap { Int($0.dropFirst(mark.count)) }
    }
}

/// Whether both lead to one file or directory.
private func isOneFile(_ left: String, _ right: String) -> Bool {
    var (one, other) = (stat(), stat())
    return stat(left, &one) == 0 && stat(right, &other) == 0 && one.st_dev == other.st_dev
        && one.st_ino == other.st_ino
}
