import RoostGuestWire
import RoostLink
import RoostModel
import RoostOperations
import Synchronization

/// ``ExecSession`` over a session in a guest: it survives that another VMM goes on for the guest's.
///
/// ```text
///  reader ─▶ what was left of former streams ─▶ the stream ─▶ the stream is sealed ─▶ waits ─▶ …
///  hand-over: seal ▶ close ▶ (another VMM) ▶ take what is left ▶ attach from the byte after it ▶ wake
/// ```
/// Output is exact: what comes is counted, and the agent keeps what was not consumed. Input is exact:
/// a sealed connection has delivered what it took, and what it did not take is sent again.
final class AttachedSession: ExecSession {
    private struct State {
        var session: GuestSession
        var connection: GuestConnection
        /// Output of former streams that was not read yet.
        var left: [GuestSession.Output] = []
        /// The output byte after the last one that came.
        var offset: UInt64
        /// Set when ``move(to:)`` or ``lose(_:)`` is over.
        var moved = Signal()
        var failure: Fault?
        var isClosed = false
    }

    private let id: [UInt8]
    private let killOnDetach: Bool
    private let state: Mutex<State>
    /// Who reads, and who moves it to another connection, take turns.
    private let turns = KeyedQueue<Int>()
    /// Called once, when it has ended or was closed.
    private let onEnd: Mutex<(@Sendable (AttachedSession) -> Void)?>

    init(
        _ session: GuestSession,
        id: [UInt8],
        on connection: GuestConnection,
        killOnDetach: Bool,
        onEnd: @escaping @Sendable (AttachedSession) -> Void
    ) {
        self.id = id
        self.killOnDetach = killOnDetach
        state = Mutex(State(session: session, connection: connection, offset: session.from))
        self.onEnd = Mutex(onEnd)
    }

    func next() async throws(Fault) -> ExecOutput? {
        while true {
            let moved = state.withLock(\.moved)
            let (item, isSealed) = try await take()
            if !isSealed { return try item.map { item throws(Fault) in try output(item) } }
            await moved.wait()
            if Task.isCancelled { throw Fault(.opCancelled, "reading was cancelled") }
        }
    }

    /// The next thing that came; `true`: nothing, until it has moved.
    private func take() async throws(Fault) -> (GuestSession.Output?, Bool) {
        let outcome = await turn { () async throws(Fault) -> (GuestSession.Output?, Bool) in
            let (left, session, connection, failure) = self.state.withLock { state in
                (
                    state.left.isEmpty ? nil : state.left.removeFirst(), state.session,
                    state.connection, state.failure
                )
            }
            if let left { return (left, false) }
            if let failure { throw failure }
            do throws(Fault) {
                let item = try await session.next()
                self.count(item)
                return (item, false)
            } catch  where connection.isSealed && error.reason == .guestUnreachable {
                return (nil, true)
            }
        }
        switch outcome {
        case .success(let (item, isSealed)):
            if item == nil, !isSealed { end() }
            if case .exited = item { end() }
            return (item, isSealed)
        case .failure(let fault):
            end()
            throw fault
        }
    }

    private func turn<T: Sendable>(
        _ work: () async throws(Fault) -> T
    ) async -> Result<T, Fault> {
        do throws(Fault) {
            return .success(try await turns.withTurn(0, work))
        } catch { return .failure(error) }
    }

    private func count(_ item: GuestSession.Output?) {
        switch item {
        case .stdout(let bytes), .stderr(let bytes):
            state.withLock { $0.offset += UInt64(bytes.count) }
        case .exited, nil: break
        }
    }

    private func output(_ item: GuestSession.Output) throws(Fault) -> ExecOutput {
        switch item {
        case .stdout(let bytes): return .output(bytes)
        case .stderr(let bytes): return .errorOutput(bytes)
        case .exited(let status):
            switch status.cause {
            case _ where status.timedOut:
                // As timeout(1) says it.
                return .exited(code: 124)
            case .code(let code): return .exited(code: Int32(code))
            case .signal(let number): return .killed(signal: Int32(number))
            case .unknown:
                throw Fault(.guestUnreachable, "the command ended and its status was lost")
            }
        }
    }

    func send(_ input: ExecInput) async throws(Fault) {
        var rest: ArraySlice<UInt8> = []
        if case .input(let bytes) = input { rest = bytes[...] }
        while true {
            let (session, connection, moved, failure) = state.withLock {
                ($0.session, $0.connection, $0.moved, $0.failure)
            }
            if let failure { throw failure }
            do throws(Fault) {
                switch input {
                case .input: try await session.write(&rest)
                case .endOfInput: try session.endInput()
                case .resize(let size): try session.resize(try wireSize(size))
                case .signal(let number):
                    guard let number = UInt8(exactly: number), (1...64).contains(number) else {
                        throw .invalid("signal", "\(number) is outside 1 … 64")
                    }
                    try session.signal(number)
                }
                return
            } catch  where connection.isSealed && error.reason == .guestUnreachable {
                await moved.wait()
                if Task.isCancelled { throw Fault(.opCancelled, "writing was cancelled") }
            }
        }
    }

    func close() async {
        let session = state.withLock { state in
            state.isClosed = true
            return state.session
        }
        session.detach()
        end()
    }

    private func end() {
        let action = onEnd.withLock { action in
            defer { action = nil }
            return action
        }
        action?(self)
    }

    // MARK: Moving

    /// Whether its connection is handed over to another VMM.
    var isSealed: Bool { state.withLock(\.connection).isSealed }

    /// Goes on over `next`, the connection to the VMM that goes on; the former one is closed.
    func move(to next: GuestConnection) async {
        let outcome = await turn { () async throws(Fault) -> Void in
            let (former, offset) = await self.drain()
            guard !self.state.withLock(\.isClosed) else { return }
            let session = try await next.attach(
                self.id,
                from: offset,
                killOnDetach: self.killOnDetach
            )
            former.detach()
            self.state.withLock { state in
                state.session = session
                state.connection = next
                state.offset = max(state.offset, session.from)
            }
        }
        if case .failure(let fault) = outcome { return lose(fault) }
        wake()
    }

    /// There is no way to go on.
    func lose(_ fault: Fault) {
        state.withLock { $0.failure = fault }
        wake()
    }

    private func wake() {
        let moved = state.withLock { state in
            defer { state.moved = Signal() }
            return state.moved
        }
        moved.set()
    }

    /// Keeps what has come over the closed connection and was not read.
    private func drain() async -> (GuestSession, UInt64) {
        let session = state.withLock(\.session)
        do throws(Fault) {
            while let item = try await session.next() {
                count(item)
                state.withLock { $0.left.append(item) }
                if case .exited = item { break }
            }
        } catch {
            // The closed connection's end: nothing more is there.
        }
        return (session, state.withLock(\.offset))
    }
}
