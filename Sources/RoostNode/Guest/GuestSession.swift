package import RoostGuestWire
package import RoostModel

/// An attached exec session.
///
/// One task reads, one may write; resize and signal may come from any. Dropping it is not
/// detaching: call ``detach()``.
package struct GuestSession: Sendable {
    /// One thing that a command did.
    package enum Output: Hashable, Sendable {
        case stdout([UInt8])
        case stderr([UInt8])
        /// It ended; nothing follows.
        case exited(CommandEnd)
    }

    /// The process id in the guest.
    package let pid: UInt32
    /// The offset of the first output byte that comes; more than asked for when older ones are lost.
    package let from: UInt64
    /// Whether the session was there before: this request ran nothing.
    package let attached: Bool
    private let stream: GuestStream

    init(_ request: Request, on connection: GuestConnection) async throws(Fault) {
        stream = try GuestStream(request, on: connection)
        guard case .message(let message) = try await stream.next() else {
            stream.cancel()
            throw protocolFault(connection.vm, "\(request.name) was not answered")
        }
        switch message {
        case .started(let pid, let from, let attached):
            self.pid = pid
            self.from = from
            self.attached = attached
        case .failed(let failure):
            stream.release()
            throw fault(for: failure, from: connection.vm)
        case .exited, .file, .done, .resize, .signal:
            stream.cancel()
            throw protocolFault(connection.vm, "\(request.name) was answered with nonsense")
        }
    }

    /// The next output, or the end; `nil` after the end.
    package func next() async throws(Fault) -> Output? {
        guard let item = try await stream.next() else { return nil }
        switch item {
        case .data(.stderr, let bytes): return .stderr(bytes)
        case .data(_, let bytes): return .stdout(bytes)
        case .message(.exited(let status)):
            stream.release()
            return .exited(status)
        case .message(.failed(let failure)):
            stream.release()
            throw fault(for: failure, from: stream.connection.vm)
        case .message:
            stream.cancel()
            throw protocolFault(stream.connection.vm, "a session said what sessions do not say")
        }
    }

    /// Sends input, waiting while the command does not read.
    package func write(_ bytes: [UInt8]) async throws(Fault) { try await stream.write(bytes) }
    /// Ends the input. Resize and signal go on working.
    package func endInput() throws(Fault) { try stream.endInput() }
    /// Tells the terminal's new size.
    package func resize(_ size: TerminalSize) throws(Fault) { try stream.send(.resize(size)) }
    /// Sends a signal to the command's process group.
    package func signal(_ number: UInt8) throws(Fault) { try stream.send(.signal(number)) }
    /// Leaves. The command goes on, or not, as its request says.
    package func detach() { stream.cancel() }
}

/// Bytes of a guest: a file or a tar.
package struct GuestReader: Sendable {
    /// What the file is; `nil` for a tar.
    package let facts: FileFacts?
    private let stream: GuestStream

    init(_ stream: GuestStream, facts: FileFacts?) {
        self.stream = stream
        self.facts = facts
    }

    /// The next bytes; `nil` at the end, which is only reached when all came.
    package func next() async throws(Fault) -> [UInt8]? {
        guard let item = try await stream.next() else {
            throw protocolFault(stream.connection.vm, "a stream ended without its result")
        }
        switch item {
        case .data(_, let bytes): return bytes
        case .message(.done):
            stream.release()
            return nil
        case .message(.failed(let failure)):
            stream.release()
            throw fault(for: failure, from: stream.connection.vm)
        case .message:
            stream.cancel()
            throw protocolFault(stream.connection.vm, "a file said what files do not say")
        }
    }

    /// Stops early.
    package func cancel() { stream.cancel() }
}

/// Bytes to a guest: a file or a tar.
package struct GuestWriter: Sendable {
    private let stream: GuestStream

    init(_ stream: GuestStream) { self.stream = stream }

    /// Sends bytes, waiting while the guest does not take them.
    package func write(_ bytes: [UInt8]) async throws(Fault) {
        do throws(Fault) {
            try await stream.write(bytes)
        } catch {
            // The guest may have said why before it hung up.
            _ = try await outcome(or: error)
        }
    }

    /// Says that all was sent, and waits until it is in place; answers the bytes taken.
    package func finish() async throws(Fault) -> UInt64 {
        try stream.endInput()
        return try await outcome(
            or: protocolFault(stream.connection.vm, "a stream ended without its result")
        )
    }

    /// Gives up; nothing is put in place.
    package func cancel() { stream.cancel() }

    private func outcome(or otherwise: Fault) async throws(Fault) -> UInt64 {
        if otherwise.reason == .opCancelled {
            stream.cancel()
            throw otherwise
        }
        while let item = try await stream.next() {
            switch item {
            case .message(.done(let bytes)):
                stream.release()
                return bytes
            case .message(.failed(let failure)):
                stream.release()
                throw fault(for: failure, from: stream.connection.vm)
            case .message, .data: continue
            }
        }
        throw otherwise
    }
}
