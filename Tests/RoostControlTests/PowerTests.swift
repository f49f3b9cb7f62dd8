import RoostControl
import RoostDriver
import RoostModel
import RoostStore
import Testing

@Suite("A verb on a VM")
struct PowerTests {
    @Test("does what the table says, in every state that a VM rests in", arguments: Desk.resting)
    func verdicts(_ state: VMState) async throws {
        try await withDesk { desk in
            for verb in PowerVerb.allCases {
                let name = verb.rawValue
                try await desk.bring(name, to: state)
                let id = try await desk.vms.get(name, project: "default").row.id.description
                let before = try await desk.vms.get(id, project: "default").row
                let fault = await fault { () async throws(Fault) in
                    let outcome = try await desk.power(verb, id, force: verb == .delete)
                    let held = verb.verdict(in: state) == .alreadyHolds
                    #expect(outcome.changed == !held, "\(verb) of \(state)")
                }
                let after = try await desk.vms.get(id, project: "default").row
                guard verb.verdict(in: state) == .refused else {
                    #expect(fault == nil, "\(verb) of \(state)")
                    #expect(after.status.state == aim(verb, state), "\(verb) of \(state)")
                    #expect(after.runningOp == nil, "\(verb) of \(state) holds the VM")
                    continue
                }
                #expect(fault?.reason == .wrongState, "\(verb) of \(state)")
                #expect(fault?.message.contains(state.rawValue) == true, "\(verb) of \(state)")
                #expect(fault?.message.contains(verb.rawValue) == true, "\(verb) of \(state)")
                #expect(after == before, "\(verb) of \(state) was refused and changed it")
            }
        }
    }

    @Test("that forces a stop gives up what a suspended VM kept, as a kill does")
    func forcedStop() async throws {
        try await withDesk { desk in
            try await desk.bring("box", to: .suspended)
            let refused = await fault { () async throws(Fault) in
                try await desk.power(.stop, "box")
            }
            #expect(refused?.reason == .wrongState && !desk.hypervisor.savedFolders.isEmpty)
            let vm = try await desk.power(.stop, "box", force: true).vm
            #expect(vm.status.state == .stopped && vm.desired == .stopped)
            #expect(desk.hypervisor.savedFolders.isEmpty)
            #expect(try await !desk.power(.stop, "box", force: true).changed)
            #expect(try await desk.power(.start, "box").vm.status.state == .running)
        }
    }

    private func aim(_ verb: PowerVerb, _ state: VMState) -> VMState {
        switch verb {
        case .start, .restart, .reboot, .resume: .running
        case .stop, .kill: .stopped
        case .pause: .paused
        case .suspend: .suspended
        case .delete: .deleted
        }
    }

    /// What is refused, in which state, the remedy, and the verb that it names.
    static let refusals: [(VMState, PowerVerb, remedy: String, typed: PowerVerb)] = [
        (
            .suspended, .stop, "start it first: roost start vm, or drop its memory: roost kill vm",
            .start
        ),
        (
            .suspended, .reboot,
            "start it first: roost start vm, or drop its memory: roost kill vm", .start
        ),
        (.paused, .reboot, "let it go on first: roost resume vm", .resume),
        (.stopped, .pause, "start it first: roost start vm", .start),
    ]

    @Test("that is refused says what to type, and works then", arguments: refusals.indices)
    func remedies(_ index: Int) async throws {
        let (state, verb, remedy, typed) = Self.refusals[index]
        try await withDesk { desk in
            try await desk.bring("vm", to: state)
            let refused = await fault { () async throws(Fault) in try await desk.power(verb, "vm") }
            #expect(refused?.remedy == remedy)
            try await desk.power(typed, "vm")
            try await desk.power(verb, "vm")
        }
    }

    @Test("of deleting needs force while there is a process, and nothing else does")
    func force() async throws {
        try await withDesk { desk in
            for state in Desk.resting where state != .deleted {
                let name = state.rawValue.lowercased()
                try await desk.bring(name, to: state)
                let refused = await fault { () async throws(Fault) in
                    try await desk.power(.delete, name)
                }
                #expect((refused?.reason == .needsForce) == state.hasProcess, "\(state)")
                if state.hasProcess { try await desk.power(.delete, name, force: true) }
                #expect(try await desk.state(name) == .deleted)
            }
        }
    }

    @Test("happens only to the version that was read")
    func etags() async throws {
        try await withDesk { desk in
            let read = try await desk.create("vm").etag
            try await desk.power(.start, "vm")
            let refused = await fault { () async throws(Fault) in
                try await desk.power(.stop, "vm", etag: read)
            }
            #expect(refused?.reason == .staleEtag)
            #expect(try await desk.state("vm") == .running)
        }
    }
}
