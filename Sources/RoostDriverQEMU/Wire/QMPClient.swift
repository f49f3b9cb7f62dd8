internal import RoostLinux
package import RoostModel
internal import Synchronization

/// One QMP connection (QEMU's monitor): commands with ids and deadlines, events to one handler.
///
/// Answers and events come in QEMU's order on one reading task, which ends with the connection.
/// An answer that comes after its deadline is thrown away.
package final class QMPClient: Sendable {
    private struct State {
        var nextID = 1
        var pending: [Int: Latch<Result<QMPValue, Fault>>] = [:]
        var reader: Task<Void, Never>?
        var isClosed = false
    }

    private let stream: SocketStream
    private let greeting = Latch<Result<QMPValue, Fault>>()
    private let end = Latch<Bool>()
    private let state = Mutex(State())

    private init(_ stream: SocketStream) {
        self.stream = stream
    }

    deinit {
        stream.closeNow()
    }

    /// Connects to the listening QMP socket `name` in `directory` and leaves negotiation mode.
    ///
    /// `handler` is called for every event, in order, and must not block. Throws
    /// ``Reason/vmmFailed`` when QEMU ends or says nonsense, ``Reason/deadline`` when it is silent.
    package static func open(
        in directory: String,
        name: String,
        within time: Duration,
        handler: @escaping @Sendable (QMPEvent) -> Void
    ) async throws(Fault) -> QMPClient {
        let deadline = ContinuousClock.now + time
        let stream = try await UnixSocket.connect(in: directory, name: name, until: deadline)
        let client = QMPClient(stream)
        client.state.withLock { state in
            // The task holds the parts it needs, not the client, so that dropping the client ends it.
            state.reader = Task { [weak client, stream, end = client.end] in
                await QMPClient.readAll(stream) { message in client?.take(message, handler) }
                client?.close(Fault(.vmmFailed, "QEMU closed its control socket"))
                end.set(true)
            }
        }
        do throws(Fault) {
            _ = try await client.value(of: client.greeting, "greeting", deadline)
            _ = try await client.execute("qmp_capabilities", within: deadline - .now)
        } catch {
            client.close(error)
            throw error
        }
        return client
    }

    /// Whether the connection has ended.
    package var isClosed: Bool { state.withLock(\.isClosed) }

    /// Runs a command. Throws ``Reason/vmmFailed`` when QEMU refuses it (the cause is a
    /// ``QMPError``) or ends, ``Reason/deadline`` when it does not answer in time.
    package func execute(
        _ command: String,
        _ arguments: [String: QMPValue] = [:],
        within time: Duration = .seconds(10)
    ) async throws(Fault) -> QMPValue {
        let deadline = ContinuousClock.now + time
        let answer = Latch<Result<QMPValue, Fault>>()
        let id = state.withLock { state -> Int? in
            guard !state.isClosed else { return nil }
            defer { state.nextID += 1 }
            state.pending[state.nextID] = answer
            return state.nextID
        }
        guard let id else { throw Fault(.vmmFailed, "QEMU has closed its control socket") }
        defer { state.withLock { _ = $0.pending.removeValue(forKey: id) } }
        try await stream.write(qmpCommand(command, arguments, id: id), until: deadline)
        return try await value(of: answer, command, deadline)
    }

    /// Waits until QEMU has closed the connection and every event before that was handled.
    package func drained(until deadline: ContinuousClock.Instant) async {
        _ = await end.wait(until: deadline)
    }

    /// Ends the connection. May be called twice.
    package func close() { close(Fault(.vmmFailed, "the control socket was closed")) }

    private func value(
        of answer: Latch<Result<QMPValue, Fault>>,
        _ what: String,
        _ deadline: ContinuousClock.Instant
    ) async throws(Fault) -> QMPValue {
        guard let result = await answer.wait(until: deadline) else {
            if Task.isCancelled { throw Fault(.opCancelled, "waiting for QEMU was cancelled") }
            throw Fault(.deadline, "QEMU did not answer \(what) in time")
        }
        return try result.get()
    }

    private func close(_ fault: Fault) {
        let waiting = state.withLock { state in
            state.isClosed = true
            defer { state.pending = [:] }
            return Array(state.pending.values)
        }
        greeting.set(.failure(fault))
        for answer in waiting { answer.set(.failure(fault)) }
        stream.closeNow()
    }

    private func take(_ message: QMPMessage, _ handler: (QMPEvent) -> Void) {
        switch message {
        case .greeting(let version): greeting.set(.success(.string(version)))
        case .event(let event): handler(event)
        case .answer(let id, let value): answer(id, .success(value))
        case .refusal(let id, let error):
            let fault = Fault(.vmmFailed, "QEMU refused: \(shown(error.text))", cause: error)
            if let id { answer(id, .failure(fault)) }
        }
    }

    private func answer(_ id: Int, _ result: Result<QMPValue, Fault>) {
        state.withLock { $0.pending[id] }?.set(result)
    }

    private static func readAll(_ stream: SocketStream, _ take: (QMPMessage) -> Void) async {
        var decoder = LineDecoder()
        do throws(Fault) {
            while true {
                let bytes = try await stream.read(upTo: 16 << 10)
                if bytes.isEmpty { return }
                for line in try decoder.feed(bytes) { take(try QMPMessage(line: line)) }
            }
        } catch {
            // Nonsense ends the connection; the next command makes a new one.
            return
        }
    }
}
