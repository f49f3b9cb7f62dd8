package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostLink
import RoostModel
import RoostOperations
import RoostStore
import SwiftProtobuf

import struct Foundation.Data

/// `roost.compute.v1.GuestService` over ``GuestService``.
package struct GuestServiceSkin: Roost_Compute_V1_GuestService.SimpleServiceProtocol {
    private let guests: GuestService
    private let vms: VMService

    package init(_ guests: GuestService, _ vms: VMService) {
        self.guests = guests
        self.vms = vms
    }

    package func exec(
        request: RPCAsyncSequence<Roost_Compute_V1_ExecRequest, any Error>,
        response: RPCWriter<Roost_Compute_V1_ExecResponse>,
        context: ServerContext
    ) async throws {
        let (openings, opening) = AsyncStream.makeStream(of: Opened.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { opening.finish() }
                try await self.takeIn(request, opening)
            }
            var opened = openings.makeAsyncIterator()
            guard let first = await opened.next() else {
                // The session could not be opened, and the task that tried says why.
                try await group.waitForAll()
                throw Fault.invalid("start", "the first message of Exec must be start")
            }
            let session = first.session
            do {
                try await response.write(.with { $0.started.session = first.id.description })
                try await Self.forward(session, to: response)
            } catch {
                await session.close()
                throw error
            }
            await session.close()
            // The command has ended: nobody reads its input any more.
            group.cancelAll()
        }
    }

    /// A command that runs, and the id to attach to it with.
    private struct Opened: Sendable {
        var session: any ExecSession
        var id: OperationID
    }

    /// Opens the session that the first message asks for, and sends it all the others.
    private func takeIn(
        _ request: RPCAsyncSequence<Roost_Compute_V1_ExecRequest, any Error>,
        _ opening: AsyncStream<Opened>.Continuation
    ) async throws {
        var session: (any ExecSession)?
        for try await next in request {
            switch next.message {
            case .start(let start) where session == nil:
                let wanted = try execRequest(start)
                let opened = try await guests.exec(
                    start.id,
                    project: project(start.project),
                    wanted
                )
                session = opened
                opening.yield(Opened(session: opened, id: wanted.session))
            case .stdin(let data): try await session?.send(.input(Array(data)))
            case .endOfInput: try await session?.send(.endOfInput)
            case .resize(let terminal): try await session?.send(.resize(try size(terminal)))
            case .signal(let number): try await session?.send(.signal(number))
            case .start, nil: throw Fault.invalid("message", "start may stand first only")
            }
            if session == nil { return }
        }
    }

    private func size(_ size: Roost_Compute_V1_TerminalSize) throws(Fault) -> TerminalSize {
        guard (1...4096).contains(size.rows), (1...4096).contains(size.columns) else {
            throw .invalid("terminal", "\(size.rows) × \(size.columns) is outside 1 … 4096")
        }
        return TerminalSize(rows: Int(size.rows), columns: Int(size.columns))
    }

    private static func forward(
        _ session: any ExecSession,
        to response: RPCWriter<Roost_Compute_V1_ExecResponse>
    ) async throws {
        while let output = try await session.next() {
            var answer = Roost_Compute_V1_ExecResponse()
            switch output {
            case .output(let bytes): answer.stdout = Data(bytes)
            case .errorOutput(let bytes): answer.stderr = Data(bytes)
            case .exited(let code): answer.exit.code = code
            case .killed(let signal): answer.exit.signal = signal
            }
            try await response.write(answer)
        }
    }

    private func execRequest(_ start: Roost_Compute_V1_ExecStart) throws(Fault) -> ExecRequest {
        guard let call = Call.current else { throw Fault(.bug, "Exec without a call") }
        let id =
            start.session.isEmpty
            ? call.operation : try operationID(start.session, field: "start.session")
        guard start.attachOnly || start.imageCommand || !start.arguments.isEmpty else {
            throw .invalid("start.arguments", "is empty: name the command to run")
        }
        var request = ExecRequest(session: id, arguments: start.arguments)
        request.environment = start.environment
        for entry in start.environment where !entry.contains("=") {
            throw .invalid("start.environment", "'\(shown(entry))' is not NAME=value")
        }
        request.workingDirectory = start.workingDirectory
        request.user = start.user
        request.timeoutSeconds = start.hasTimeoutSeconds ? Int(start.timeoutSeconds) : nil
        if start.hasTerminal { request.terminal = try size(start.terminal) }
        request.hasInput = start.hasStdin_p
        request.killOnDetach = start.killOnDetach
        request.attachOnly = start.attachOnly
        request.isImageCommand = start.imageCommand
        request.fallback = start.fallbackArguments
        return request
    }

    package func copyOut(
        request: Roost_Compute_V1_CopyOutRequest,
        response: RPCWriter<Roost_Compute_V1_CopyOutResponse>,
        context: ServerContext
    ) async throws {
        let session = try await guests.copy(
            request.id,
            project: project(request.project),
            CopyRequest(kind: request.tree ? .readTree : .readFile, path: request.path)
        )
        do {
            if let path = try await session.information() {
                try await response.write(.with { $0.path = message(path) })
            }
            while true {
                let bytes = try await session.read()
                if bytes.isEmpty { break }
                try await response.write(.with { $0.data = Data(bytes) })
            }
        } catch {
            await session.close()
            throw error
        }
        await session.close()
    }

    package func copyIn(
        request: RPCAsyncSequence<Roost_Compute_V1_CopyInRequest, any Error>,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_CopyInResponse {
        var messages = request.makeAsyncIterator()
        guard case .start(let start)? = try await messages.next()?.message else {
            throw Fault.invalid("start", "the first message of CopyIn must be start")
        }
        var wanted = CopyRequest(
            kind: start.tree ? .writeTree : .writeFile,
            path: start.path,
            mode: start.hasMode ? Int(start.mode) : 0o644,
            uid: Int(start.uid),
            gid: Int(start.gid)
        )
        if start.hasSizeBytes { wanted.size = start.sizeBytes }
        let session = try await guests.copy(start.id, project: project(start.project), wanted)
        do {
            while let next = try await messages.next() {
                guard case .data(let data)? = next.message else {
                    throw Fault.invalid("data", "only data may follow start")
                }
                if !data.isEmpty { try await session.write(Array(data)) }
            }
            try await session.finish()
        } catch {
            await session.close()
            throw error
        }
        await session.close()
        return Roost_Compute_V1_CopyInResponse()
    }

    package func stat(
        request: Roost_Compute_V1_StatRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_GuestPath {
        let session = try await guests.copy(
            request.id,
            project: project(request.project),
            CopyRequest(kind: .stat, path: request.path)
        )
        let path: GuestPath?
        do {
            path = try await session.information()
        } catch {
            await session.close()
            throw error
        }
        await session.close()
        guard let path else {
            throw Fault(.pathNotFound, "no '\(shown(request.path))' in \(shown(request.id))")
        }
        return message(path)
    }

    package func readLog(
        request: Roost_Compute_V1_ReadLogRequest,
        response: RPCWriter<Roost_Compute_V1_ReadLogResponse>,
        context: ServerContext
    ) async throws {
        var offset = request.offset
        var source = try logSource(request.source)
        while !Task.isCancelled {
            let piece = try await guests.readLog(
                request.id,
                project: project(request.project),
                LogRequest(
                    source: source,
                    offset: offset,
                    follow: request.follow,
                    timestamps: request.timestamps
                )
            )
            source = piece.source
            offset = piece.nextOffset
            if !piece.bytes.isEmpty {
                try await response.write(
                    .with {
                        $0.data = Data(piece.bytes)
                        $0.nextOffset = offset
                        $0.source = logSource(source)
                    }
                )
            }
            if piece.isEnd, !request.follow { return }
        }
    }

    private func logSource(_ source: Roost_Compute_V1_ReadLogRequest.Source) throws(Fault) -> String
    {
        switch source {
        case .unspecified: ""
        case .app: "app"
        case .kernel: "kernel"
        case .agent: "agent"
        case .console: "console"
        case .vmm: "vmm"
        case .UNRECOGNIZED(let number): throw .invalid("source", "\(number) is no source")
        }
    }

    private func logSource(_ name: String) -> Roost_Compute_V1_ReadLogRequest.Source {
        switch name {
        case "app": .app
        case "kernel": .kernel
        case "agent": .agent
        case "console": .console
        case "vmm": .vmm
        default: .unspecified
        }
    }

    package func getGuestStatus(
        request: Roost_Compute_V1_GetGuestStatusRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_GuestStatus {
        let status = try await guests.status(request.id, project: project(request.project))
        var answer = Roost_Compute_V1_GuestStatus()
        let (seconds, attoseconds) = status.uptime.components
        answer.uptime = .init(seconds: seconds, nanos: Int32(attoseconds / 1_000_000_000))
        answer.memoryTotalBytes = Int64(clamping: status.memoryTotal.bytes)
        answer.memoryAvailableBytes = Int64(clamping: status.memoryAvailable.bytes)
        answer.processes = Int32(clamping: status.processes)
        answer.agentVersion = status.agentVersion
        answer.listening = status.listening.map { port in
            .with {
                $0.port = Int32(port.port)
                $0.protocol = .init(port.transport)
                $0.address = port.address
            }
        }
        return answer
    }

    package func waitVM(
        request: Roost_Compute_V1_WaitVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_WaitVMResponse {
        let named = Set(try request.states.map { try VMState($0) })
        let states = named.isEmpty ? [.stopped, .failed, .deleted] : named
        let id = try await vms.get(request.id, project: project(request.project)).row.id
        let limit = request.hasTimeoutSeconds ? Int(request.timeoutSeconds) : 3600
        guard (0...86_400).contains(limit) else {
            throw Fault.invalid("timeout_seconds", "\(limit) is outside 0 … 86400")
        }
        var answer = Roost_Compute_V1_WaitVMResponse()
        let found = try await vms.wait(
            id,
            until: { states.contains($0.status.state) },
            limit: .seconds(limit)
        )
        if let vm = found.vm {
            answer.vm = Roost_Compute_V1_VM(vm.row, etag: etagText(vm.version))
        }
        answer.reached = found.reached || (found.vm == nil && states.contains(.deleted))
        return answer
    }

    private func message(_ path: GuestPath) -> Roost_Compute_V1_GuestPath {
        .with {
            $0.isDirectory = path.isDirectory
            $0.mode = Int32(path.mode)
            $0.sizeBytes = path.size
        }
    }
}
