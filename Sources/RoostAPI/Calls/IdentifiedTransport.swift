package import GRPCCore
package import RoostModel
internal import Synchronization

/// A transport whose every call has an op id, whatever becomes of it.
///
/// Reads `roost-op-id` from the request's metadata or makes one, hands it on in the metadata for
/// ``CallInterceptor``, returns it in the answer's metadata, and ends every error's text with it.
/// gRPC answers unknown methods before any interceptor, so this wraps the transport itself.
package final class IdentifiedTransport<Base: ServerTransport>: ServerTransport {
    package typealias Bytes = Base.Bytes

    /// The transport beneath.
    package let base: Base
    private let makeOperationID: @Sendable () -> OperationID
    private let methods = Mutex<Set<String>>([])

    /// Wraps `base`; `makeOperationID` makes the ids of calls that bring none.
    package init(_ base: Base, makeOperationID: @escaping @Sendable () -> OperationID) {
        self.base = base
        self.makeOperationID = makeOperationID
    }

    package func configure(context: GRPCServerContext) {
        methods.withLock { $0 = Set(context.methods.map(\.fullyQualifiedMethod)) }
        base.configure(context: context)
    }

    package func beginGracefulShutdown() { base.beginGracefulShutdown() }

    package func listen(
        streamHandler:
            @escaping @Sendable @concurrent (
                _ stream: RPCStream<Inbound, Outbound>,
                _ context: ServerContext
            ) async -> Void
    ) async throws {
        try await base.listen { stream, context in
            let method = stream.descriptor.fullyQualifiedMethod
            guard self.methods.withLock({ $0.contains(method) }) else {
                await self.refuse(stream, method)
                return
            }
            let identity = CallIdentity(make: self.makeOperationID)
            let identified = RPCStream(
                descriptor: stream.descriptor,
                inbound: RPCAsyncSequence(
                    wrapping: stream.inbound.map { @Sendable part in
                        guard case .metadata(let metadata) = part else { return part }
                        return .metadata(try identity.adopt(metadata))
                    }
                ),
                outbound: RPCWriter.Closable(
                    wrapping: IdentifiedWriter(base: stream.outbound, identity: identity)
                )
            )
            await streamHandler(identified, context)
        }
    }

    private func refuse(_ stream: RPCStream<Inbound, Outbound>, _ method: String) async {
        let identity = CallIdentity(make: makeOperationID)
        var fault = Fault(.unknownMethod, "there is no method /\(shown(method))")
        do {
            for try await part in stream.inbound {
                guard case .metadata(let metadata) = part else { continue }
                _ = try identity.adopt(metadata)
                break
            }
        } catch let error as Fault {
            fault = error
        } catch {
            // The client is gone; the status below goes nowhere.
            fault.cause = error
        }
        let error = RPCError(fault)
        let writer = IdentifiedWriter(base: stream.outbound, identity: identity)
        let status = Status(code: Status.Code(error.code), message: error.message)
        try? await writer.write(.status(status, error.metadata))
        await writer.finish()
    }
}

/// The op id of one call, once its metadata has been read.
final class CallIdentity: Sendable {
    private struct State {
        var operation: OperationID?
        var refusal: Fault?
    }
    private let state = Mutex(State())
    private let make: @Sendable () -> OperationID

    init(make: @escaping @Sendable () -> OperationID) { self.make = make }

    /// Takes the op id of `metadata`, or makes one, and returns the metadata with it.
    ///
    /// - Throws: ``RoostModel/Reason/opIDInvalid`` for a text that is none; the call then has a new one.
    func adopt(_ metadata: Metadata) throws(Fault) -> Metadata {
        let texts = Array(metadata[stringValues: opIDKey])
        var metadata = metadata
        if let text = texts.first {
            guard texts.count == 1, let operation = OperationID(text) else {
                let all = shown(texts.joined(separator: ", "))
                let fault = Fault(.opIDInvalid, "the op id '\(all)' cannot be read")
                state.withLock { $0.refusal = fault }
                throw fault
            }
            state.withLock { $0.operation = operation }
            return metadata
        }
        metadata.replaceOrAddString(operation.description, forKey: opIDKey)
        return metadata
    }

    /// The call's op id.
    var operation: OperationID {
        state.withLock { state in
            if let operation = state.operation { return operation }
            let made = make()
            state.operation = made
            return made
        }
    }

    /// Why the call's own op id was refused; gRPC hides what an inbound stream throws.
    var refusal: Fault? { state.withLock { $0.refusal } }
}

/// Writes the op id into whatever a call answers.
struct IdentifiedWriter<Bytes: GRPCContiguousBytes & Sendable>: ClosableRPCWriterProtocol {
    typealias Element = RPCResponsePart<Bytes>

    let base: RPCWriter<Element>.Closable
    let identity: CallIdentity

    func write(_ element: Element) async throws {
        try await base.write(identified(element))
    }

    func write(contentsOf elements: some Sequence<Element>) async throws {
        try await base.write(contentsOf: elements.map(identified))
    }

    func finish() async { await base.finish() }

    func finish(throwing error: any Error) async { await base.finish(throwing: error) }

    private func identified(_ part: Element) -> Element {
        switch part {
        case .message: return part
        case .metadata(var metadata):
            metadata.replaceOrAddString(identity.operation.description, forKey: opIDKey)
            return .metadata(metadata)
        case .status(let status, var metadata):
            guard let code = RPCError.Code(status.code) else { return part }
            var error = RPCError(code: code, message: status.message, metadata: metadata)
            if let refusal = identity.refusal { error = RPCError(refusal) }
            error = error.identified(as: identity.operation)
            metadata = error.metadata
            return .status(Status(code: Status.Code(error.code), message: error.message), metadata)
        }
    }
}
