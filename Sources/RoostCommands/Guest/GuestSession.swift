internal import GRPCCore
internal import Glibc
internal import RoostAPI
internal import RoostLinux
internal import RoostModel
internal import SwiftProtobuf
internal import Synchronization

/// Joins a command in a guest with our own standard streams until it ends.
///
/// ```text
///  our stdin ──pieces──▶ ┌────────┐ ──▶ stdout, stderr: written in the order they come, and
///  signals, resizes ───▶ │  Exec  │     nothing is read ahead of a slow reader
///                        └────────┘ ──▶ exit ──▶ our status
/// ```
struct GuestSession: Sendable {
    let daemon: Daemon
    let command: GuestCommand
    let invocation: Invocation
    /// Signals of this process; `nil` leaves them what they do by themselves.
    let signals: AsyncStream<Int32>?

    private let hasStarted = OnceFlag()
    private let gaveUp = OnceFlag()
    private let surrender = Latch<Bool>()
    private let outputIsBroken = OnceFlag()

    init(
        daemon: Daemon,
        command: GuestCommand,
        invocation: Invocation,
        signals: AsyncStream<Int32>?
    ) {
        self.daemon = daemon
        self.command = command
        self.invocation = invocation
        self.signals = signals
    }

    /// Runs the command. Returns the status to exit with.
    ///
    /// - Throws: what kept it from beginning, or what broke the stream.
    func run() async throws -> Int32 {
        if command.hasTerminal { try TerminalMode.makeRaw(invocation.input) }
        defer { if command.hasTerminal { TerminalMode.restore() } }
        let begun = ContinuousClock.now
        let request = StreamingClientRequest<Roost_Compute_V1_ExecRequest>(
            metadata: metadata(command.operation)
        ) { writer in
            try await send(to: writer)
        }
        do {
            let exit = try await untilGivenUp {
                try await daemon.guests.exec(request: request) { response in
                    try await receive(response)
                }
            }
            if gaveUp.isSet { return ExitStatus.interrupted }
            if outputIsBroken.isSet { return ExitStatus.brokenPipe }
            guard let exit else { return ExitStatus.ok }
            return status(exit, took: ContinuousClock.now - begun)
        } catch  where gaveUp.isSet {
            return ExitStatus.interrupted
        }
    }

    /// Runs the call, and cancels it when the user gives up: a failed request stream alone leaves the
    /// call waiting for its answer.
    private func untilGivenUp(
        _ call: @escaping @Sendable () async throws -> Roost_Compute_V1_ExecExit?
    ) async throws -> Roost_Compute_V1_ExecExit? {
        try await withThrowingTaskGroup(of: Roost_Compute_V1_ExecExit?.self) { group in
            group.addTask { try await call() }
            group.addTask {
                _ = await surrender.wait()
                throw CancellationError()
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }

    /// The status for how a command ended: its code, or 128 and its signal, or 124 when its time
    /// was up.
    private func status(_ exit: Roost_Compute_V1_ExecExit, took: Duration) -> Int32 {
        switch exit.result {
        case .code(let code): return code
        case .signal(let signal):
            if let timeout = command.timeout, took >= timeout { return ExitStatus.deadline }
            return 128 + signal
        case nil: return ExitStatus.toolFailed
        }
    }

    // MARK: - Towards the guest

    private func send(to writer: RPCWriter<Roost_Compute_V1_ExecRequest>) async throws {
        let size = TerminalMode.size(invocation.output)
        try await writer.write(.with { $0.start = command.start(size) })
        if command.isDetached { return }
        // Whoever ends first ends nothing: a command may close its input and still get signals.
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await forwardInput(to: writer) }
            if let signals {
                group.addTask { try await forward(signals, to: writer) }
            }
            try await group.waitForAll()
        }
        // The stream stays open until the command ends; ending it here would detach from it.
        try await Task.sleep(for: .seconds(1 << 30))
    }

    private func forwardInput(to writer: RPCWriter<Roost_Compute_V1_ExecRequest>) async throws {
        guard command.hasInput else { return }
        let input = StandardInput(descriptor: invocation.input)
        while true {
            let bytes = try await input.read()
            if bytes.isEmpty { break }
            try await writer.write(.with { $0.stdin = .init(bytes) })
        }
        try await writer.write(.with { $0.endOfInput = .init() })
    }

    private func forward(
        _ signals: AsyncStream<Int32>,
        to writer: RPCWriter<Roost_Compute_V1_ExecRequest>
    ) async throws {
        var interrupts = InterruptCounter()
        for await signal in signals {
            if signal == SIGWINCH {
                guard command.hasTerminal else { continue }
                let size = TerminalMode.size(invocation.output)
                try await writer.write(.with { $0.resize = size })
                continue
            }
            if signal == SIGINT, interrupts.note(at: .now) {
                gaveUp.set()
                surrender.set(true)
                throw CancellationError()
            }
            try await writer.write(.with { $0.signal = signal })
        }
    }

    // MARK: - From the guest

    private func receive(
        _ response: StreamingClientResponse<Roost_Compute_V1_ExecResponse>
    ) async throws -> Roost_Compute_V1_ExecExit? {
        for try await message in response.messages {
            switch message.message {
            case .started:
                hasStarted.set()
                if command.isDetached { return nil }
            case .stdout(let data): try await pass(Array(data), to: invocation.output)
            case .stderr(let data): try await pass(Array(data), to: invocation.errors)
            case .exit(let exit): return exit
            case nil: continue
            }
            // Returning ends the call, and with it a command that was started to end with us.
            if outputIsBroken.isSet { return nil }
        }
        throw Fault(.guestUnreachable, "the command's stream ended before the command did")
    }

    private func pass(_ bytes: [UInt8], to descriptor: Int32) async throws {
        let invocation = invocation
        do {
            try await onItsOwnThread { () throws(Fault) in
                do {
                    try invocation.write(bytes, to: descriptor)
                } catch let fault as Fault {
                    throw fault
                } catch {
                    throw Fault(.ioFailed, "nobody reads the output", cause: error)
                }
            }
        } catch  where error.cause is BrokenOutput {
            outputIsBroken.set()
        }
    }
}

/// Something that happens once and is asked for by several tasks.
final class OnceFlag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
}
