import RoostGuestWire
import RoostLink
import RoostModel
import Synchronization

/// ``ExecSession`` over a session in a guest; says when nobody reads it any more.
final class AttachedSession: ExecSession {
    private let session: GuestSession
    /// Called once, when it has ended or was closed.
    private let onEnd: Mutex<(@Sendable (AttachedSession) -> Void)?>

    init(_ session: GuestSession, onEnd: @escaping @Sendable (AttachedSession) -> Void) {
        self.session = session
        self.onEnd = Mutex(onEnd)
    }

    func next() async throws(Fault) -> ExecOutput? {
        let item: GuestSession.Output?
        do throws(Fault) {
            item = try await session.next()
        } catch {
            end()
            throw error
        }
        guard let item else {
            end()
            return nil
        }
        if case .exited = item { end() }
        return try output(item)
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
        switch input {
        case .input(let bytes): try await session.write(bytes)
        case .endOfInput: try session.endInput()
        case .resize(let size): try session.resize(try wireSize(size))
        case .signal(let number):
            guard let number = UInt8(exactly: number), (1...64).contains(number) else {
                throw .invalid("signal", "\(number) is outside 1 … 64")
            }
            try session.signal(number)
        }
    }

    func close() async {
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
}
