import GRPCCore
import RoostAPI
import RoostLink
import RoostModel
import SwiftProtobuf

import struct Foundation.Data

/// A command in a guest for a peer: takes in and tells at once, until either end is over.
func serveExec(
    _ link: any NodeLink,
    _ request: RPCAsyncSequence<Roost_Node_V1_LinkExecInput, any Error>,
    _ response: RPCWriter<Roost_Node_V1_LinkExecOutput>
) async throws {
    let (openings, opening) = AsyncStream.makeStream(of: (any ExecSession).self)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
            defer { opening.finish() }
            try await takeIn(request, link, opening)
        }
        var opened = openings.makeAsyncIterator()
        guard let session = await opened.next() else {
            // It could not be opened, and the task that tried says why.
            try await group.waitForAll()
            throw Fault(.malformedRequest, "the first message of Exec must be start")
        }
        do {
            try await response.write(.with { $0.opened = true })
            while let output = try await session.next() {
                try await response.write(Roost_Node_V1_LinkExecOutput(output))
            }
        } catch {
            await session.close()
            throw error
        }
        await session.close()
        // It has ended: nobody reads its input any more.
        group.cancelAll()
    }
}

private func takeIn(
    _ request: RPCAsyncSequence<Roost_Node_V1_LinkExecInput, any Error>,
    _ link: any NodeLink,
    _ opening: AsyncStream<any ExecSession>.Continuation
) async throws {
    var session: (any ExecSession)?
    for try await next in request {
        switch next.message {
        case .start(let start) where session == nil:
            let wanted = try ModelCoding.value(ExecRequest.self, start.json)
            let opened = try await link.exec(try linkedVM(start.vmID), wanted)
            session = opened
            opening.yield(opened)
        case .input(let data): try await session?.send(.input(Array(data)))
        case .endOfInput: try await session?.send(.endOfInput)
        case .resize(let size):
            let size = TerminalSize(rows: Int(size.rows), columns: Int(size.columns))
            try await session?.send(.resize(size))
        case .signal(let number): try await session?.send(.signal(number))
        case .start, nil: throw Fault(.malformedRequest, "start may stand first only")
        }
        if session == nil { return }
    }
}

/// A copy in or out of a guest for a peer.
func serveCopy(
    _ link: any NodeLink,
    _ request: RPCAsyncSequence<Roost_Node_V1_LinkCopyInput, any Error>,
    _ response: RPCWriter<Roost_Node_V1_LinkCopyOutput>
) async throws {
    var messages = request.makeAsyncIterator()
    guard case .start(let start)? = try await messages.next()?.message else {
        throw Fault(.malformedRequest, "the first message of Copy must be start")
    }
    let wanted = try ModelCoding.value(CopyRequest.self, start.json)
    let session = try await link.copy(try linkedVM(start.vmID), wanted)
    do {
        let path = try await session.information()
        let opened = try path.map { (path) throws(Fault) in try ModelCoding.data(path) } ?? Data()
        try await response.write(.with { $0.opened = opened })
        switch wanted.kind {
        case .readFile, .readTree:
            while true {
                let bytes = try await session.read()
                if bytes.isEmpty { break }
                try await response.write(.with { $0.data = Data(bytes) })
            }
        case .writeFile, .writeTree:
            taking: while true {
                switch try await messages.next()?.message {
                case .data(let data): if !data.isEmpty { try await session.write(Array(data)) }
                case .finish: break taking
                // Half a file is none.
                case .start, nil: throw Fault(.opCancelled, "the caller left before the end")
                }
            }
            try await session.finish()
        case .stat: break
        }
        try await response.write(.with { $0.done = true })
    } catch {
        await session.close()
        throw error
    }
    await session.close()
}

extension Roost_Node_V1_LinkExecOutput {
    init(_ output: ExecOutput) {
        self.init()
        switch output {
        case .output(let bytes): self.output = Data(bytes)
        case .errorOutput(let bytes): errorOutput = Data(bytes)
        case .exited(let code): exited = code
        case .killed(let signal): killed = signal
        }
    }
}
