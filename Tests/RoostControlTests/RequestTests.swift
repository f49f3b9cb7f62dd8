import RoostControl
import RoostLink
import RoostModel
import RoostOperations
import RoostStore
import Testing

@Suite("A request to the control plane")
struct RequestTests {
    @Test("for a name that many ask for at once is granted to exactly one")
    func oneName() async throws {
        try await withDesk { desk in
            let faults = await withTaskGroup(of: Fault?.self) { group in
                for _ in 0..<16 {
                    group.addTask {
                        await fault { () async throws(Fault) in try await desk.create("vm") }
                    }
                }
                return await group.reduce(into: [Fault?]()) { $0.append($1) }
            }
            #expect(faults.count { $0 == nil } == 1)
            #expect(faults.compactMap { $0?.reason }.allSatisfy { $0 == .nameTaken })
            let page = try await desk.vms.list(VMFilter(), size: 100, token: nil)
            #expect(page.vms.count == 1)
        }
    }

    @Test("is answered once by its op id, and another under it is refused")
    func once() async throws {
        try await withDesk { desk in
            let draft = VMDraft(name: "vm", cores: 1, memoryMiB: 512)
            let first = try await desk.vms.create(
                draft,
                desk.request("CreateVM", "a", operation: 9)
            )
            let again = try await desk.vms.create(
                draft,
                desk.request("CreateVM", "a", operation: 9)
            )
            #expect(again.vm == first.vm)
            let refused = await fault { () async throws(Fault) in
                _ = try await desk.vms.create(
                    draft,
                    desk.request("CreateVM", "b", operation: 9)
                )
            }
            #expect(refused?.reason == .opIDReused)
        }
    }

    @Test("that only asks changes nothing")
    func validateOnly() async throws {
        try await withDesk { desk in
            var context = desk.request("CreateVM", "a")
            context.validateOnly = true
            let draft = VMDraft(name: "vm", cores: 1, memoryMiB: 512)
            _ = try await desk.vms.create(draft, context)
            let page = try await desk.vms.list(VMFilter(), size: 100, token: nil)
            #expect(page.vms.isEmpty)
        }
    }

    /// Where another size of memory is refused, and what the remedy is.
    static let fixed: [VMState: String] = [
        .running: "stop it first: roost stop vm",
        .paused: "stop it first: roost stop vm",
        .suspended: "start it first: roost start vm, or drop its memory: roost kill vm",
    ]

    @Test("for other memory waits until the VM has none", arguments: Desk.resting)
    func memory(_ state: VMState) async throws {
        try await withDesk { desk in
            try await desk.bring("vm", to: state)
            let id = try await desk.vms.get("vm", project: "default").row.id.description
            let refused = await fault { () async throws(Fault) in
                try await desk.setMemory(id, 1024)
            }
            #expect(refused?.remedy == Self.fixed[state])
            guard refused != nil else { return }
            #expect(refused?.reason == .needsStopped)
            // Each remedy that names a verb which drops the memory is taken at its word.
            try await desk.power(state == .suspended ? .kill : .stop, "vm")
            let vm = try await desk.setMemory("vm", 1024).vm
            #expect(vm.spec.memoryMiB == 1024)
        }
    }

    @Test("to enter a guest is for one that runs, and says how to get there")
    func entering() async throws {
        let remedies: [VMState: String] = [
            .stopped: "start it first: roost start vm",
            .paused: "let it go on first: roost resume vm",
            .suspended: "start it first: roost start vm, or drop its memory: roost kill vm",
            // It runs; the guest does not answer.
            .running: "look at the guest: roost logs vm --source console",
        ]
        for (state, remedy) in remedies.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            try await withDesk { desk in
                try await desk.bring("vm", to: state)
                let command = ExecRequest(session: OperationID(bits: 1), arguments: ["true"])
                let path = CopyRequest(kind: .stat, path: "/")
                let calls: [Fault?] = [
                    await fault { () async throws(Fault) in
                        _ = try await desk.guests.exec("vm", project: "default", command)
                    },
                    await fault { () async throws(Fault) in
                        _ = try await desk.guests.copy("vm", project: "default", path)
                    },
                    await fault { () async throws(Fault) in
                        _ = try await desk.guests.status("vm", project: "default")
                    },
                ]
                for refused in calls { #expect(refused?.remedy == remedy, "\(state)") }
            }
        }
    }

    @Test("about the trash means the VM in it, also when another has its name now")
    func trash() async throws {
        try await withDesk { desk in
            let old = try await desk.create("vm").vm.id
            try await desk.power(.delete, "vm")
            let new = try await desk.create("vm").vm.id
            let taken = await fault { () async throws(Fault) in try await desk.undelete("vm") }
            #expect(taken?.reason == .nameTaken)
            #expect(try await desk.undelete("vm", as: "old").vm.id == old)
            #expect(try await desk.vms.get("vm", project: "default").row.id == new)
            // Nothing of that name is in the trash any more: the living one is no prey.
            let living = await fault { () async throws(Fault) in try await desk.purge("vm") }
            #expect(living?.reason == .wrongState)
            try await desk.power(.delete, "vm")
            try await desk.create("vm")
            #expect(try await desk.purge("vm").vm.id == new)
            #expect(try await desk.state("vm") == .stopped)
        }
    }

    @Test("about no VM at all names the field that is missing")
    func noVM() async throws {
        try await withDesk { desk in
            let calls: [Fault?] = [
                await fault { () async throws(Fault) in try await desk.power(.start, "") },
                await fault { () async throws(Fault) in try await desk.setMemory("", 1024) },
                await fault { () async throws(Fault) in try await desk.undelete("") },
                await fault { () async throws(Fault) in _ = try await desk.state("") },
            ]
            for refused in calls { #expect(refused?.violations.map(\.field) == ["id"]) }
        }
    }

    @Test("for more than a node has is refused, and gets it when it is given back")
    func capacity() async throws {
        try await withDesk { desk in
            var draft = VMDraft(name: "big", cores: 1, memoryMiB: 6_144)
            draft.startOnCreate = true
            _ = try await desk.vms.create(draft, desk.request("CreateVM", "big"))
            draft.name = "more"
            let refused = await fault { () async throws(Fault) in
                _ = try await desk.vms.create(draft, desk.request("CreateVM", "more"))
            }
            #expect(refused?.reason == .noCapacity)
            try await desk.power(.kill, "big")
            _ = try await desk.vms.create(draft, desk.request("CreateVM", "more"))
            #expect(try await desk.state("more") == .running)
            let back = await fault { () async throws(Fault) in try await desk.power(.start, "big") }
            #expect(back?.reason == .noCapacity)
        }
    }

    @Test("for a page takes back only what a page has said")
    func pageTokens() throws {
        let token = PageToken(after: VMID(bits: 7), revision: Revision(12))
        #expect(try PageToken(token.description) == token)
        for text in ["", ".", "1", "1.", "-1.\(VMID(bits: 7))", "1.7", "1.\(VMID(bits: 7)).1"] {
            #expect(throws: Fault.self, "\(text)") { try PageToken(text) }
        }
    }
}
