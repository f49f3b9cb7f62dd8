import RoostControl
import RoostDriver
import RoostModel
import RoostOperations
import RoostStore
import Testing

@Suite("A template")
struct TemplateTests {
    @Test("of a stopped VM is no VM, and VMs from it boot its disk under names of their own")
    func disk() async throws {
        try await withDesk { desk in
            try await desk.create("box")
            let made = try await desk.template("base", of: "box")
            #expect(made.vm.row.seal?.origin == "box" && made.moment?.kept.hasMemory == false)
            #expect(made.vm.row.runningOp == nil && made.users.isEmpty)
            // It has a name among templates; a VM may have the same.
            try await desk.create("base")
            let listed = try await desk.vms.list(VMFilter(), size: 10, token: nil).vms
            #expect(listed.map(\.row.name).sorted() == ["base", "box"])
            for reference in [made.vm.row.id.description, "template/base"] {
                let failure = await fault { () async throws(Fault) in
                    try await desk.power(.start, reference)
                }
                #expect(failure?.reason == .vmNotFound, "\(reference)")
            }
            let vm = try await desk.place("a") { $0.take(from: "base") }
            #expect(vm.status.state == .running && vm.spec.memoryMiB == 512 && vm.spec.cores == 1)
            #expect(vm.spec.template?.template == made.vm.row.id)
            #expect(
                try await desk.steps(of: vm) == [
                    "make-disks", "grow-disk", "start-vmm", "renew-guest",
                ]
            )
            #expect(try await desk.vms.findTemplate("base", project: "default").users == ["a"])
        }
    }

    @Test("of a checkpoint with memory goes on from it, unless the VM is of another shape")
    func memory() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let kept = try await desk.keep("box")
            let made = try await desk.template("warm", of: "box", at: kept.id)
            #expect(
                made.moment?.kept.hasMemory == true
                    && made.vm.row.seal?.origin.hasPrefix("box@") == true
            )
            let copies = ["copy-template", "start-copy", "renew-guest"]
            let boots = ["make-disks", "grow-disk", "start-vmm", "renew-guest"]
            let cases: [(String, [String], (inout VMDraft) -> Void)] = [
                ("same", copies, { _ in }), ("larger-disk", copies, { $0.rootDiskGiB = 8 }),
                ("more-memory", boots, { $0.memoryMiB = 1024 }),
                ("more-cores", boots, { $0.cores = 2 }),
                ("no-net", boots, { $0.network = .none }), ("cold", boots, { $0.coldBoot = true }),
                ("disposable", copies, { $0.disposable = true }),
            ]
            for (name, steps, change) in cases {
                let vm = try await desk.place(name) {
                    $0.take(from: "warm")
                    change(&$0)
                }
                #expect(try await desk.steps(of: vm) == steps, "\(name)")
            }
        }
    }

    @Test("stays while a VM lies over it, also in the trash, and then goes with its last byte")
    func removal() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let kept = try await desk.keep("box")
            try await desk.template("warm", of: "box", at: kept.id)
            try await desk.place("a") { $0.take(from: "warm") }
            try await desk.forget("box", kept.id)
            for step in ["running", "in the trash"] {
                let failure = await fault { () async throws(Fault) in
                    try await desk.removeTemplate("warm")
                }
                #expect(
                    failure?.reason == .inUse && failure?.message.contains("a") == true,
                    "\(step)"
                )
                if step == "running" { try await desk.power(.delete, "a", force: true) }
            }
            try await desk.purge("a")
            try await desk.removeTemplate("warm", operation: 900)
            #expect(desk.hypervisor.savedFiles.isEmpty && desk.hypervisor.savedFolders.isEmpty)
            #expect(try await desk.vms.templates(project: "default").isEmpty)
            // Sent again it is the same removal; another one has nothing to remove.
            try await desk.removeTemplate("warm", operation: 900)
            let failure = await fault { () async throws(Fault) in
                try await desk.removeTemplate("warm")
            }
            #expect(failure?.reason == .templateNotFound)
            // Its name is free.
            try await desk.power(.kill, "box")
            try await desk.template("warm", of: "box")
        }
    }

    @Test("is made once for one op id, and refused for what runs, is taken or means nothing")
    func refused() async throws {
        try await withDesk { desk in
            try await desk.create("box")
            let first = try await desk.template("base", of: "box", operation: 800)
            let again = try await desk.template("base", of: "box", operation: 800)
            #expect(first.vm.row.id == again.vm.row.id)
            let taken = await fault { () async throws(Fault) in
                try await desk.template("base", of: "box")
            }
            #expect(taken?.reason == .nameTaken)
            for (field, change) in [
                ("spec.image", { (draft: inout VMDraft) in draft.image = "tiny" }),
                ("spec.disk.size_gib", { $0.rootDiskGiB = 1 }),
            ] {
                let failure = await fault { () async throws(Fault) in
                    try await desk.place("a") {
                        $0.take(from: "base")
                        change(&$0)
                    }
                }
                #expect(failure?.violations.map(\.field) == [field])
            }
            let none = await fault { () async throws(Fault) in
                try await desk.place("a") { $0.take(from: "nothing") }
            }
            #expect(none?.reason == .templateNotFound)
            for state in Desk.resting where state != .stopped && state != .deleted {
                let name = "vm-\(state.rawValue.lowercased())"
                try await desk.bring(name, to: state)
                let failure = await fault { () async throws(Fault) in
                    try await desk.template("more", of: name)
                }
                #expect(failure?.reason == .needsStopped, "\(state)")
            }
            #expect(try await desk.vms.templates(project: "default").map(\.vm.row.name) == ["base"])
        }
    }
}

@Suite("A clone")
struct CloneTests {
    @Test(
        "is a stopped VM like the one it is of, with an identity to come",
        arguments: [true, false]
    )
    func made(isWhole: Bool) async throws {
        try await withDesk { desk in
            try await desk.create("box")
            let clone = try await desk.clone("box", "copy", isWhole: isWhole, operation: 600)
            #expect(clone.status.state == .stopped && clone.desired == .stopped)
            #expect(clone.spec == (try await desk.vms.get("box", project: "default").row.spec))
            let again = try await desk.clone("box", "copy", isWhole: isWhole, operation: 600)
            #expect(again.id == clone.id)
            #expect(try await desk.steps(of: clone) == [isWhole ? "copy-whole" : "copy-fork"])
            let started = try await desk.power(.start, "copy").vm
            #expect(started.status.state == .running)
            let row = try await desk.vms.operation(started.lastOp)
            #expect(row.steps.map(\.name).contains("renew-guest"))
            #expect(try await desk.state("box") == .stopped)
            #expect(desk.hypervisor.savedFolders.isEmpty)
        }
    }

    @Test("of a checkpoint is its disk alone, whatever the VM does")
    func ofCheckpoint() async throws {
        try await withDesk { desk in
            try await desk.create("box", running: true)
            let kept = try await desk.keep("box")
            let clone = try await desk.clone("box", "copy", at: kept.id)
            #expect(clone.status.state == .stopped)
            #expect(try await desk.state("box") == .running)
            let refused = await fault { () async throws(Fault) in
                try await desk.clone("box", "other")
            }
            #expect(refused?.reason == .needsStopped)
            for word in ["roost checkpoint box", "roost fork box", "RUNNING"] {
                #expect(refused?.message.contains(word) == true, "\(word)")
            }
        }
    }
}

extension VMDraft {
    /// From the template alone.
    fileprivate mutating func take(from name: String) {
        (template, cores, memoryMiB) = (name, nil, nil)
    }
}

extension Desk {
    @discardableResult
    func template(
        _ name: String,
        of vm: String,
        at checkpoint: CheckpointID? = nil,
        operation: UInt64? = nil
    ) async throws(Fault) -> Template {
        try await vms.makeTemplate(
            name,
            of: vm,
            checkpoint: checkpoint?.description ?? "",
            project: "default",
            etag: nil,
            request("CreateTemplate", name + vm, operation: operation)
        )
    }

    @discardableResult
    func removeTemplate(
        _ name: String,
        operation: UInt64? = nil
    ) async throws(Fault) -> VMOutcome {
        try await vms.deleteTemplate(
            name,
            project: "default",
            etag: nil,
            request("DeleteTemplate", name, operation: operation)
        )
    }

    @discardableResult
    func clone(
        _ vm: String,
        _ name: String,
        isWhole: Bool = false,
        at checkpoint: CheckpointID? = nil,
        operation: UInt64? = nil
    ) async throws(Fault) -> VM {
        let order = ForkOrder(
            .clones(isWhole: isWhole),
            names: [name],
            checkpoint: checkpoint?.description ?? ""
        )
        let made = try await fork(vm, order, operation: operation)
        guard let first = made.first else { throw Fault(.bug, "no clone") }
        return first.vm
    }

    /// What its node did when it came to be.
    fileprivate func steps(of vm: VM) async throws(Fault) -> [String] {
        let names = try await vms.operation(vm.createOp).steps.map(\.name)
        return names.filter { !["accept", "settle", "await-guest"].contains($0) }
    }
}
