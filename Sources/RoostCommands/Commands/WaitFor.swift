internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost wait`: until VMs are in a state.
struct WaitFor: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait",
        abstract: "Wait until VMs are in a state.",
        discussion: """
            Without --for: until each has stopped, failed or is gone. The states are printed. The \
            status is 124 when the time was up, and 1 when a VM failed or was deleted instead.

            Examples:
              roost wait box
              roost wait box --for running --timeout 30s
              roost wait box --for running,paused
              roost wait -l app=web --for stopped
            """
    )

    @OptionGroup var targets: TargetOptions

    @Option(name: .customLong("for"), help: ArgumentHelp("The states.", valueName: "state,…"))
    var states: String?

    @Option(help: "Give up after this long, such as 30s or 5m.")
    var timeout: String?

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    /// The longest that one call waits; a longer wait is many.
    static let callSeconds: Int32 = 60

    func run(in invocation: Invocation) async throws -> Int32 {
        let wanted = try wantedStates()
        let deadline = try timeout.map { text throws(Fault) in
            ContinuousClock.now + (try duration(text, flag: "--timeout"))
        }
        return try await withDaemon(invocation) { daemon in
            var vms = targets.vms
            if let selector = targets.selector {
                let request = Roost_Compute_V1_ListVMsRequest.with {
                    $0.project = project
                    $0.selector = selector
                }
                vms = try await daemon.everyVM(request).map(\.id)
            }
            let isAlone = targets.selector == nil && vms.count == 1
            var reached: [Roost_Compute_V1_VM] = []
            var statuses: [Int32] = []
            // One after the other: all of them must get there, in whatever order.
            for vm in vms {
                guard let found = try await wait(vm, wanted, deadline, daemon, invocation) else {
                    return ExitStatus.deadline
                }
                reached.append(found)
                statuses.append(try tell(found, wanted, isAlone: isAlone, invocation))
            }
            let printer = Printer(invocation, output.output)
            switch printer.format {
            case .json, .yaml:
                if isAlone, let only = reached.first {
                    try printer.write(only)
                } else {
                    try printer.write(reached)
                }
            case .name: try printer.write(reached)
            case .table, .wide: break
            }
            return ExitStatus.ofAll(statuses)
        }
    }

    /// Waits for one of them; `nil` when the time was up, which has been said.
    private func wait(
        _ vm: String,
        _ wanted: [Roost_Compute_V1_VMStatus.State],
        _ deadline: ContinuousClock.Instant?,
        _ daemon: Daemon,
        _ invocation: Invocation
    ) async throws -> Roost_Compute_V1_VM? {
        while true {
            let left = deadline.map { $0 - ContinuousClock.now }
            let answer = try await daemon.guests.waitVM(
                .with {
                    $0.id = vm
                    $0.project = project
                    // These it never leaves by itself: waiting on would be for ever.
                    $0.states = wanted.isEmpty ? [] : wanted + [.failed, .deleted]
                    $0.timeoutSeconds = min(
                        left?.wholeSeconds ?? Self.callSeconds,
                        Self.callSeconds
                    )
                }
            )
            if answer.reached { return answer.vm }
            if let deadline, ContinuousClock.now >= deadline {
                let state = answer.vm.status.state.word
                invocation.talk("error: '\(shown(vm))' is still \(state): the time is up")
                return nil
            }
        }
    }

    private func tell(
        _ vm: Roost_Compute_V1_VM,
        _ wanted: [Roost_Compute_V1_VMStatus.State],
        isAlone: Bool,
        _ invocation: Invocation
    ) throws -> Int32 {
        if output.output == .table || output.output == .wide, !invocation.isQuiet {
            let state = vm.status.state.word
            try invocation.write(isAlone ? "\(state)\n" : "\(vm.name)  \(state)\n")
        }
        if wanted.isEmpty || wanted.contains(vm.status.state) { return ExitStatus.ok }
        invocation.talk("error: '\(vm.name)' is \(vm.status.state.word): \(vm.status.reason)")
        return ExitStatus.failed
    }

    private func wantedStates() throws(Fault) -> [Roost_Compute_V1_VMStatus.State] {
        var found: [Roost_Compute_V1_VMStatus.State] = []
        for word in (states ?? "").split(separator: ",") {
            guard let state = Roost_Compute_V1_VMStatus.State(word: String(word)) else {
                let known = Roost_Compute_V1_VMStatus.State.words.map { $0.0.lowercased() }
                let all = known.joined(separator: ", ")
                throw .invalid("--for", "'\(shown(String(word)))' is no state; they are \(all)")
            }
            found.append(state)
        }
        return found
    }
}
