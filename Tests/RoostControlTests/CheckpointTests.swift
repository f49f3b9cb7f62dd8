import RoostControl
import RoostDriver
import RoostLink
import RoostModel
import RoostNode
import RoostOperations
import RoostStore
import Testing

@Suite("A checkpoint")
struct CheckpointTests {
    @Test("of a VM that a daemon left standing in the middle of keeping it lets it go on")
    func leftStanding() async throws {
        try await withDesk { desk in
            let id = try await desk.create("box", running: true).vm.id
            let half = SaveOrder(folder: "/half", memory: .onDisk, afterwards: .goesOn)
            #expect(desk.hypervisor.writeHalf(of: id, half))
            _ = try await desk.keep("box")
            #expect(try await desk.state("box") == .running)
            #expect(desk.hypervisor.machines.map(\.isPaused) == [false])
        }
    }

    @Test("has the one before as its parent, and the VM knows where it comes from")
    func parents() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let first = try await desk.keep("box", "first")
            let second = try await desk.keep("box", "second")
            #expect(first.parent == nil && second.parent == first.id)
            #expect(first.message == "first" && first.kept.hasMemory)
            #expect(first.kept.files.map(\.role) == ["devices", "memory", "rootDisk"])
            try await desk.back("box", first.id)
            let third = try await desk.keep("box", "third")
            #expect(third.parent == first.id)
            let found = try await desk.vms.checkpoints("box", project: "default")
            #expect(found.all.map(\.id) == [first.id, second.id, third.id])
            #expect(found.current == third.id)
            let vm = try await desk.vms.get("box", project: "default").row
            #expect(vm.checkpoint == third.id && vm.status.state == .running)
            #expect(vm.runningOp == nil)
        }
    }

    @Test("of a stopped VM has no memory, and the VM is stopped when it is back")
    func stopped() async throws {
        try await withDesk { desk in
            let vm = try await desk.create("box").vm
            let first = try await desk.keep("box")
            #expect(!first.kept.hasMemory)
            try await desk.power(.start, "box")
            let second = try await desk.keep("box")
            let back = try await desk.back("box", first.id).vm
            #expect(back.status.state == .stopped && back.desired == .stopped)
            #expect(back.id == vm.id && back.name == vm.name && back.spec == vm.spec)
            let again = try await desk.back("box", second.id).vm
            #expect(again.status.state == .running && again.desired == .running)
            #expect(desk.hypervisor.machines.count == 1)
        }
    }

    @Test("of a paused VM has its memory; the VM stays paused, and runs when it is back")
    func paused() async throws {
        try await withDesk { desk in
            try await desk.bring("box", to: .paused)
            let first = try await desk.keep("box")
            #expect(first.kept.hasMemory)
            var vm = try await desk.vms.get("box", project: "default").row
            #expect(vm.status.state == .paused && vm.desired == .paused)
            #expect(desk.hypervisor.machines.map(\.isPaused) == [true])
            vm = try await desk.back("box", first.id).vm
            #expect(vm.status.state == .running && vm.desired == .running)
        }
    }

    @Test("brings back the cores, memory and disk of then, and nothing else of the VM")
    func specOfThen() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let first = try await desk.keep("box")
            let then = try await desk.vms.get("box", project: "default").row.spec
            try await desk.power(.kill, "box")
            let cold = try await desk.keep("box")
            var draft = VMDraft(name: "", cores: 2, memoryMiB: 1024)
            draft.rootDiskGiB = 9
            draft.restart = RestartPolicy(mode: .onFailure, maxRestarts: 3)
            _ = try await desk.vms.update(
                "box",
                project: "default",
                VMUpdate(fields: [.cpu, .memory, .disk, .restart], draft: draft, etag: nil),
                desk.request("UpdateVM")
            )
            try await desk.power(.start, "box")
            let grown = try await desk.vms.get("box", project: "default").row.spec
            #expect(grown.memoryMiB == 1024 && desk.promised == (2, 1024))
            for checkpoint in [first, cold] {
                let vm = try await desk.back("box", checkpoint.id).vm
                #expect(vm.spec.cores == then.cores && vm.spec.memoryMiB == then.memoryMiB)
                #expect(vm.spec.rootDiskGiB == then.rootDiskGiB)
                #expect(vm.spec.restart == grown.restart && vm.spec.ports == grown.ports)
                let runs = checkpoint.id == first.id
                #expect(desk.promised == (runs ? (1, 512) : (0, 0)))
            }
            // What is kept from here on is of that shape again.
            let third = try await desk.keep("box")
            #expect(third.spec.memoryMiB == 512)
        }
    }

    @Test("that cannot be gone back to leaves the VM what it was asked to be")
    func specStays() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let first = try await desk.keep("box")
            try await desk.power(.kill, "box")
            try await desk.setMemory("box", 1024)
            try await desk.power(.start, "box")
            let path = desk.hypervisor.savedFiles.first { $0.contains(first.id.description) }
            desk.hypervisor.damage(try #require(path), isMissing: true, shortened: false)
            let failure = await fault { () async throws(Fault) in
                try await desk.back("box", first.id)
            }
            #expect(failure?.reason == .checkpointDamaged)
            let vm = try await desk.vms.get("box", project: "default").row
            #expect(vm.spec.memoryMiB == 1024 && vm.status.state == .running)
            #expect(try await desk.machines.assignment(vm.id)?.spec.memoryMiB == 1024)
            #expect(desk.promised == (1, 1024))
        }
    }

    @Test("whose machine was larger is refused where it does not fit any more")
    func noRoom() async throws {
        try await withDesk { desk in
            try await desk.create("box")
            try await desk.setMemory("box", 8 * 1024)
            try await desk.power(.start, "box")
            let large = try await desk.keep("box")
            try await desk.power(.kill, "box")
            try await desk.setMemory("box", 512)
            try await desk.power(.start, "box")
            let small = desk.promised
            try await desk.create("other")
            try await desk.setMemory("other", 6 * 1024)
            try await desk.power(.start, "other")
            let failure = await fault { () async throws(Fault) in
                try await desk.back("box", large.id)
            }
            #expect(failure?.reason == .noCapacity)
            #expect(try await desk.vms.get("box", project: "default").row.spec.memoryMiB == 512)
            #expect(desk.promised == (small.cores + 1, small.memoryMiB + 6 * 1024))
            try await desk.power(.kill, "other")
            #expect(try await desk.back("box", large.id).vm.spec.memoryMiB == 8 * 1024)
            #expect(desk.promised == (1, 8 * 1024))
        }
    }

    @Test("sent again is the same one, also when it was removed since")
    func repeated() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let first = try await desk.keep("box", operation: 500)
            let again = try await desk.keep("box", operation: 500)
            #expect(again == first)
            try await desk.forget("box", first.id)
            let failure = await fault { () async throws(Fault) in
                try await desk.keep("box", operation: 500)
            }
            #expect(failure?.reason == .checkpointNotFound)
            #expect(try await desk.vms.checkpoints("box", project: "default").all.isEmpty)
        }
    }

    @Test("that is removed gives its children and its VM to its parent")
    func removed() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let first = try await desk.keep("box")
            let second = try await desk.keep("box")
            let third = try await desk.keep("box")
            try await desk.forget("box", second.id)
            var found = try await desk.vms.checkpoints("box", project: "default")
            #expect(found.all.map(\.parent) == [nil, first.id] && found.current == third.id)
            try await desk.forget("box", third.id)
            found = try await desk.vms.checkpoints("box", project: "default")
            #expect(found.all.map(\.id) == [first.id] && found.current == first.id)
            #expect(desk.hypervisor.savedFolders.count == 1)
            try await desk.forget("box", first.id)
            found = try await desk.vms.checkpoints("box", project: "default")
            #expect(found.all.isEmpty && found.current == nil)
            #expect(desk.hypervisor.savedFiles.isEmpty)
        }
    }

    @Test("is meant by a prefix of its id, unless that is short, unknown or another's too")
    func references() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let first = try await desk.keep("box")
            _ = try await desk.keep("box")
            // The desk's ids differ in their last digits only.
            let cases: [(String, Reason)] = [
                (String(first.id.description.prefix(8)), .ambiguousCheckpoint),
                ("ffff", .checkpointNotFound), ("abc", .invalidFields), ("", .invalidFields),
                ("xyz1", .invalidFields), (first.id.description + "0", .invalidFields),
                (first.id.description.uppercased() + "F", .invalidFields),
            ]
            for (reference, reason) in cases {
                let failure = await fault { () async throws(Fault) in
                    try await desk.back("box", reference)
                }
                #expect(failure?.reason == reason, "\(reference)")
            }
            try await desk.create("other", running: true)
            let other = await fault { () async throws(Fault) in
                try await desk.back("other", first.id)
            }
            #expect(other?.reason == .checkpointNotFound && other?.metadata["vm"] == "other")
        }
    }

    @Test("is refused where there is nothing to keep, too much was said, or there are too many")
    func refused() async throws {
        try await withDesk { desk in
            for state in Desk.resting where state == .suspended || state == .deleted {
                let name = "vm-\(state.rawValue.lowercased())"
                try await desk.bring(name, to: state)
                let failure = await fault { () async throws(Fault) in try await desk.keep(name) }
                let expected: Reason = state == .deleted ? .vmNotFound : .wrongState
                #expect(failure?.reason == expected, "\(state)")
            }
            try await desk.create("box")
            for message in [String(repeating: "a", count: 1025), "two\nlines", "\u{1b}[2J"] {
                let failure = await fault { () async throws(Fault) in
                    try await desk.keep("box", message)
                }
                #expect(failure?.violations.map(\.field) == ["message"])
            }
            for _ in 0..<Limits.checkpoints { try await desk.keep("box") }
            let failure = await fault { () async throws(Fault) in try await desk.keep("box") }
            #expect(failure?.reason == .limitExceeded)
        }
    }

    @Test("that is damaged brings nothing back, and nothing is dropped")
    func damaged() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let first = try await desk.keep("box")
            let second = try await desk.keep("box")
            let path = desk.hypervisor.savedFiles.first { $0.contains(first.id.description) }
            desk.hypervisor.damage(try #require(path), isMissing: false, shortened: true)
            let failure = await fault { () async throws(Fault) in
                try await desk.back("box", first.id)
            }
            #expect(failure?.reason == .checkpointDamaged)
            let vm = try await desk.vms.get("box", project: "default").row
            #expect(vm.status.state == .running && vm.checkpoint == second.id)
            #expect(vm.runningOp == nil)
            #expect(try await desk.vms.checkpoints("box", project: "default").all.count == 2)
        }
    }

    @Test("can be copied whatever its VM does, and each copy is one like the VM of then")
    func forked() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let first = try await desk.keep("box")
            try await desk.power(.kill, "box")
            try await desk.setMemory("box", 1024)
            let order = ForkOrder(names: ["a", "b"], checkpoint: first.id.description)
            let found = try await desk.fork("box", order, operation: 700)
            #expect(found.map(\.vm.name) == ["a", "b"])
            for outcome in found {
                #expect(outcome.vm.status.state == .running)
                #expect(outcome.vm.spec.memoryMiB == 512)
            }
            #expect(try await desk.state("box") == .stopped)
            #expect(desk.hypervisor.machines.count == 2)
            // What the copies needed of it is theirs.
            #expect(desk.hypervisor.savedFolders.count == 1)
            let again = try await desk.fork("box", order, operation: 700)
            #expect(again.map(\.vm) == found.map(\.vm))
            let none = await fault { () async throws(Fault) in
                try await desk.fork("box", ForkOrder(checkpoint: "ffff"))
            }
            #expect(none?.reason == .checkpointNotFound)
        }
    }

    @Test("stays in the trash with its VM, and goes with the VM's last byte")
    func trash() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let first = try await desk.keep("box")
            try await desk.power(.delete, "box", force: true)
            #expect(try await desk.vms.checkpoints("box", project: "default").all.count == 1)
            try await desk.undelete("box")
            #expect(try await desk.back("box", first.id).vm.status.state == .running)
            try await desk.power(.delete, "box", force: true)
            try await desk.purge("box")
            #expect(desk.hypervisor.savedFolders.isEmpty && desk.hypervisor.savedFiles.isEmpty)
            try await desk.create("box")
            #expect(try await desk.vms.checkpoints("box", project: "default").all.isEmpty)
        }
    }

    @Test("that is only checked is not made, and no way back is gone")
    func dryRun() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            var context = desk.request("CreateCheckpoint")
            context.validateOnly = true
            _ = try await desk.vms.makeCheckpoint(
                "box",
                project: "default",
                message: "",
                etag: nil,
                context
            )
            #expect(try await desk.vms.checkpoints("box", project: "default").all.isEmpty)
            #expect(desk.hypervisor.savedFolders.isEmpty)
        }
    }
}

extension Desk {
    /// The room that the first node has promised.
    var promised: (cores: Int, memoryMiB: Int) {
        let node = fleet.list().first
        return (node?.promisedCores ?? -1, node?.promisedMemoryMiB ?? -1)
    }

    @discardableResult
    func keep(
        _ name: String,
        _ message: String = "",
        operation: UInt64? = nil
    ) async throws(Fault) -> Checkpoint {
        try await vms.makeCheckpoint(
            name,
            project: "default",
            message: message,
            etag: nil,
            request("CreateCheckpoint", name + message, operation: operation)
        )
    }

    @discardableResult
    func back(_ name: String, _ checkpoint: CheckpointID) async throws(Fault) -> VMOutcome {
        try await back(name, checkpoint.description)
    }

    @discardableResult
    func back(_ name: String, _ reference: String) async throws(Fault) -> VMOutcome {
        try await vms.revert(
            name,
            to: reference,
            project: "default",
            force: false,
            etag: nil,
            request("RevertVM", name + reference)
        )
    }

    @discardableResult
    func forget(_ name: String, _ checkpoint: CheckpointID) async throws(Fault) -> VMOutcome {
        try await vms.deleteCheckpoint(
            name,
            checkpoint.description,
            project: "default",
            etag: nil,
            request("DeleteCheckpoint", name + checkpoint.description)
        )
    }
}
