import GRPCCore
import RoostAPI
import RoostModel
import SwiftProtobuf
import Synchronization

/// A guest with a few commands and a few files.
///
/// `cat` repeats its input, `both` writes to both outputs, `exit N` ends with N, `args` shows what it
/// was started with, `wait-signal` ends by the first signal it gets.
final class FakeGuest: Roost_Compute_V1_GuestService.SimpleServiceProtocol {
    struct File: Sendable {
        var bytes: [UInt8]
        var mode: Int32
        var isTree = false
    }

    let files = Mutex<[String: File]>(["/tmp": File(bytes: [], mode: 0o755, isTree: true)])
    let starts = Mutex<[Roost_Compute_V1_ExecStart]>([])
    let vms: FakeVMs

    init(_ vms: FakeVMs) { self.vms = vms }

    func exec(
        request: RPCAsyncSequence<Roost_Compute_V1_ExecRequest, any Error>,
        response: RPCWriter<Roost_Compute_V1_ExecResponse>,
        context: ServerContext
    ) async throws {
        var messages = request.makeAsyncIterator()
        guard case .start(let start)? = try await messages.next()?.message else {
            throw Fault(.malformedRequest, "the first message is not start")
        }
        starts.withLock { $0.append(start) }
        _ = try vms.change(start.id, "exec", to: nil)
        let words = start.arguments
        guard ["cat", "both", "exit", "args", "wait-signal"].contains(words[0]) else {
            throw Fault(.commandNotFound, "there is no command '\(words[0])'")
        }
        try await response.write(.with { $0.started.session = start.session })
        var exit = Roost_Compute_V1_ExecExit.with { $0.code = 0 }
        switch words[0] {
        case "both":
            try await response.write(.with { $0.stdout = .init("out\n".utf8) })
            try await response.write(.with { $0.stderr = .init("err\n".utf8) })
        case "exit": exit.code = Int32(words[1]) ?? 1
        case "args":
            let all = words.dropFirst() + start.environment + [start.user, start.workingDirectory]
            let text = all.joined(separator: " ")
            try await response.write(.with { $0.stdout = .init((text + "\n").utf8) })
        case "cat":
            input: while let message = try await messages.next() {
                switch message.message {
                case .stdin(let data): try await response.write(.with { $0.stdout = data })
                case .endOfInput: break input
                default: continue
                }
            }
        default:
            while let message = try await messages.next() {
                guard case .signal(let signal) = message.message else { continue }
                exit.signal = signal
                break
            }
        }
        let end = exit
        try await response.write(.with { $0.exit = end })
    }

    func copyIn(
        request: RPCAsyncSequence<Roost_Compute_V1_CopyInRequest, any Error>,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_CopyInResponse {
        var start = Roost_Compute_V1_CopyInStart()
        var bytes: [UInt8] = []
        for try await message in request {
            switch message.message {
            case .start(let given): start = given
            case .data(let data): bytes += data
            case nil: continue
            }
        }
        let file = File(bytes: bytes, mode: start.mode, isTree: start.tree)
        files.withLock { $0[start.path] = file }
        return .init()
    }

    func copyOut(
        request: Roost_Compute_V1_CopyOutRequest,
        response: RPCWriter<Roost_Compute_V1_CopyOutResponse>,
        context: ServerContext
    ) async throws {
        guard let file = files.withLock({ $0[request.path] }) else {
            throw Fault(.pathNotFound, "there is no '\(request.path)'")
        }
        if !request.tree {
            try await response.write(
                .with {
                    $0.path.mode = file.mode
                    $0.path.sizeBytes = Int64(file.bytes.count)
                }
            )
        }
        // Pieces that end in the middle of everything.
        for start in stride(from: 0, to: file.bytes.count, by: 700) {
            let piece = file.bytes[start..<min(start + 700, file.bytes.count)]
            try await response.write(.with { $0.data = .init(piece) })
        }
    }

    func stat(
        request: Roost_Compute_V1_StatRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_GuestPath {
        guard let file = files.withLock({ $0[request.path] }) else {
            throw Fault(.pathNotFound, "there is no '\(request.path)'")
        }
        return .with {
            $0.isDirectory = file.isTree
            $0.mode = file.mode
            $0.sizeBytes = Int64(file.bytes.count)
        }
    }

    func readLog(
        request: Roost_Compute_V1_ReadLogRequest,
        response: RPCWriter<Roost_Compute_V1_ReadLogResponse>,
        context: ServerContext
    ) async throws {
        let log = Array((1...100).map { "line \($0)\n" }.joined().utf8)
        var offset = Int(request.offset)
        while offset < log.count {
            let piece = log[offset..<min(offset + 100, log.count)]
            offset = piece.endIndex
            let next = UInt64(offset)
            try await response.write(
                .with {
                    $0.data = .init(piece)
                    $0.nextOffset = next
                }
            )
        }
        if request.follow {
            try await response.write(.with { $0.data = .init("more\n".utf8) })
        }
    }

    func getGuestStatus(
        request: Roost_Compute_V1_GetGuestStatusRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_GuestStatus { .init() }

    func waitVM(
        request: Roost_Compute_V1_WaitVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_WaitVMResponse {
        let vm = try vms.change(request.id, "wait", to: nil).vm
        return .with {
            $0.vm = vm
            $0.reached = request.states.contains(vm.status.state)
        }
    }
}
