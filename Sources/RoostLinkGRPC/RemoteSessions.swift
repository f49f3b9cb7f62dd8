import AsyncAlgorithms
import GRPCCore
import RoostAPI
import RoostLink
import RoostModel
import SwiftProtobuf
import Synchronization

import struct Foundation.Data

/// A stream both ways as an object: one task carries it, messages are handed over one at a time, so
/// that a slow end holds the other back.
final class RemoteStream<Input: Sendable, Output: Sendable>: Sendable {
    private let inputs = AsyncChannel<Input>()
    private let outputs = AsyncThrowingChannel<Output, any Error>()
    private let task = Mutex<Task<Void, Never>?>(nil)
    private let link: RemoteLink

    typealias Call =
        @Sendable (
            _ write: @escaping @Sendable (RPCWriter<Input>) async throws -> Void,
            _ read: @escaping @Sendable (StreamingClientResponse<Output>) async throws -> Void
        ) async throws -> Void

    init(_ link: RemoteLink) { self.link = link }

    /// Begins; `call` must return when the stream is over.
    func begin(_ call: @escaping Call) {
        let (inputs, outputs) = (inputs, outputs)
        let carrier = Task {
            do {
                try await call(
                    { writer in
                        for await input in inputs { try await writer.write(input) }
                    },
                    { response in
                        for try await output in response.messages { await outputs.send(output) }
                    }
                )
                outputs.finish()
            } catch {
                outputs.fail(error)
            }
            // Whoever still sends goes on, into nothing.
            inputs.finish()
        }
        task.withLock { $0 = carrier }
    }

    func send(_ input: Input) async { await inputs.send(input) }

    func endInput() { inputs.finish() }

    func next() async throws(Fault) -> Output? {
        do {
            var iterator = outputs.makeAsyncIterator()
            return try await iterator.next()
        } catch {
            throw link.fault(error)
        }
    }

    /// Lets go of the stream; its other end sees that its caller has left.
    func close() async {
        let carrier = task.withLock { task in
            defer { task = nil }
            return task
        }
        inputs.finish()
        carrier?.cancel()
        await carrier?.value
    }
}

/// A command in a guest of another host.
final class RemoteExec: ExecSession {
    private let stream: RemoteStream<Roost_Node_V1_LinkExecInput, Roost_Node_V1_LinkExecOutput>

    init(_ link: RemoteLink, _ service: RemoteLink.Service, _ metadata: Metadata) {
        stream = RemoteStream(link)
        stream.begin { write, read in
            try await service.exec(
                metadata: metadata,
                requestProducer: { try await write($0) },
                onResponse: { try await read($0) }
            )
        }
    }

    /// Returns when the command is open.
    func open(_ start: Roost_Node_V1_LinkExecInput) async throws(Fault) {
        await stream.send(start)
        do throws(Fault) {
            guard case .opened? = try await stream.next()?.message else {
                throw Fault(.malformedRequest, "the node began a command with something else")
            }
        } catch {
            await stream.close()
            throw error
        }
    }

    func send(_ input: ExecInput) async throws(Fault) {
        var message = Roost_Node_V1_LinkExecInput()
        switch input {
        case .input(let bytes): message.input = Data(bytes)
        case .endOfInput: message.endOfInput = true
        case .resize(let size):
            message.resize = .with {
                $0.rows = Int32(clamping: size.rows)
                $0.columns = Int32(clamping: size.columns)
            }
        case .signal(let number): message.signal = number
        }
        await stream.send(message)
    }

    func next() async throws(Fault) -> ExecOutput? {
        guard let output = try await stream.next() else { return nil }
        switch output.message {
        case .output(let data): return .output(Array(data))
        case .errorOutput(let data): return .errorOutput(Array(data))
        case .exited(let code): return .exited(code: code)
        case .killed(let signal): return .killed(signal: signal)
        case .opened, nil:
            throw Fault(
                .malformedRequest,
                "the node said of a command what this version does not know"
            )
        }
    }

    func close() async { await stream.close() }
}

/// A copy in or out of a guest of another host.
final class RemoteCopy: CopySession {
    private let stream: RemoteStream<Roost_Node_V1_LinkCopyInput, Roost_Node_V1_LinkCopyOutput>
    private let path = Mutex<GuestPath?>(nil)
    private let isOver = Mutex(false)

    init(_ link: RemoteLink, _ service: RemoteLink.Service, _ metadata: Metadata) {
        stream = RemoteStream(link)
        stream.begin { write, read in
            try await service.copy(
                metadata: metadata,
                requestProducer: { try await write($0) },
                onResponse: { try await read($0) }
            )
        }
    }

    /// Returns when the file or tree is open.
    func open(_ start: Roost_Node_V1_LinkCopyInput) async throws(Fault) {
        await stream.send(start)
        do throws(Fault) {
            guard case .opened(let json)? = try await stream.next()?.message else {
                throw Fault(.malformedRequest, "the node began a copy with something else")
            }
            if json.isEmpty { return }
            let found = try ModelCoding.value(GuestPath.self, json)
            path.withLock { $0 = found }
        } catch {
            await stream.close()
            throw error
        }
    }

    func information() async throws(Fault) -> GuestPath? { path.withLock { $0 } }

    func read() async throws(Fault) -> [UInt8] {
        if isOver.withLock({ $0 }) { return [] }
        switch try await stream.next()?.message {
        case .data(let data): return Array(data)
        case .done:
            isOver.withLock { $0 = true }
            return []
        case .opened, nil: throw Fault(.opCancelled, "the copy was broken off")
        }
    }

    func write(_ bytes: [UInt8]) async throws(Fault) {
        // Under what one message may have.
        var rest = bytes[...]
        while !rest.isEmpty {
            let part = rest.prefix(256 << 10)
            rest = rest.dropFirst(part.count)
            await stream.send(.with { $0.data = Data(part) })
        }
    }

    func finish() async throws(Fault) {
        await stream.send(.with { $0.finish = true })
        stream.endInput()
        guard case .done? = try await stream.next()?.message else {
            throw Fault(.opCancelled, "the copy was broken off before it was in place")
        }
    }

    func close() async { await stream.close() }
}
