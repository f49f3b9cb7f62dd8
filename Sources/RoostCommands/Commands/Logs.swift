internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostLinux
internal import RoostModel
internal import SwiftProtobuf

/// `roost logs`: what a VM has written.
struct Logs: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a VM's console, also after it has stopped.",
        discussion: """
            Examples:
              roost logs box
              roost logs -f --tail 20 box
              roost logs --source vmm box
            """
    )

    /// The logs of a VM.
    enum Source: String, ExpressibleByArgument, CaseIterable {
        case console
        case vmm
    }

    @Argument(help: "The VM's name, id or unique id prefix.")
    var vm: String

    @Flag(name: .shortAndLong, help: "Wait for more.")
    var follow = false

    @Option(help: "Which log.")
    var source = Source.console

    @Option(help: ArgumentHelp("Only the last lines.", valueName: "lines"))
    var tail: Int?

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        if let tail, tail < 0 { throw ValidationError("--tail is a number of lines, 0 or more.") }
    }

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            var request = Roost_Compute_V1_ReadLogRequest.with {
                $0.id = vm
                $0.project = project
                $0.source = source == .vmm ? .vmm : .console
            }
            if let tail {
                let (lines, next) = try await last(tail, daemon, request)
                try invocation.write(lines, to: invocation.output)
                guard follow else { return ExitStatus.ok }
                request.offset = next
            }
            request.follow = follow
            return try await daemon.guests.readLog(request) { response in
                for try await piece in response.messages {
                    try invocation.write(Array(piece.data), to: invocation.output)
                }
                return ExitStatus.ok
            }
        }
    }

    /// The last lines of what there is, and the offset behind them.
    private func last(
        _ count: Int,
        _ daemon: Daemon,
        _ request: Roost_Compute_V1_ReadLogRequest
    ) async throws -> ([UInt8], UInt64) {
        try await daemon.guests.readLog(request) { response in
            var lines = LastLines(count: count)
            var next: UInt64 = 0
            for try await piece in response.messages {
                lines.append(Array(piece.data))
                next = piece.nextOffset
            }
            return (lines.bytes, next)
        }
    }
}

/// Keeps the last lines of a stream, whatever its length.
struct LastLines {
    let count: Int
    /// The kept lines; the last one may have no end yet.
    private(set) var bytes: [UInt8] = []

    init(count: Int) { self.count = count }

    mutating func append(_ piece: [UInt8]) {
        bytes += piece
        var seen = 0
        var index = bytes.count
        // The newline that ends the last line begins no other.
        if bytes.last == 10 { index -= 1 }
        while index > 0 {
            if bytes[index - 1] == 10 {
                seen += 1
                if seen == count { break }
            }
            index -= 1
        }
        bytes.removeFirst(count == 0 ? bytes.count : index)
    }
}

/// `roost wait`: until a VM is in a state.
struct WaitFor: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait",
        abstract: "Wait until a VM is in a state.",
        discussion: """
            Without --for: until it has stopped, failed or is gone. The state is printed. The status \
            is 124 when the time was up, and 1 when the VM failed or was deleted instead.

            Examples:
              roost wait box
              roost wait box --for running --timeout 30s
              roost wait box --for running,paused
            """
    )

    @Argument(help: "The VM's name, id or unique id prefix.")
    var vm: String

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
                if answer.reached { return try end(answer.vm, wanted, invocation) }
                if let deadline, ContinuousClock.now >= deadline {
                    let state = answer.vm.status.state.word
                    invocation.talk("error: '\(shown(vm))' is still \(state): the time is up")
                    return ExitStatus.deadline
                }
            }
        }
    }

    private func end(
        _ vm: Roost_Compute_V1_VM,
        _ wanted: [Roost_Compute_V1_VMStatus.State],
        _ invocation: Invocation
    ) throws -> Int32 {
        switch output.output {
        case .json, .yaml, .name: try Printer(invocation, output.output).write(vm)
        case .table, .wide: try invocation.write(vm.status.state.word + "\n")
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
