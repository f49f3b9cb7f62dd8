import GRPCCore
import RoostAPI
import RoostModel
import SwiftProtobuf
import Synchronization

/// VMs in memory, with the answers of a daemon. Everything that was asked is kept for the tests.
final class FakeVMs: Roost_Compute_V1_VMService.SimpleServiceProtocol {
    typealias VM = Roost_Compute_V1_VM
    typealias Change = Roost_Compute_V1_VMChange

    struct State: Sendable {
        var vms: [String: VM] = [:]
        var trash: [String: VM] = [:]
        var operations: [OperationID] = []
        var requests: [String] = []
        var lastUpdate: Roost_Compute_V1_UpdateVMRequest?
        var lastCreate: Roost_Compute_V1_CreateVMRequest?
        var lastDelete: Roost_Compute_V1_DeleteVMRequest?
        var createFailure: Fault?
        var pageSizes: [Int32] = []
    }

    let state = Mutex(State())

    /// Looks a VM up as the daemon does, and changes it.
    func change(
        _ id: String,
        _ verb: String,
        to newState: Roost_Compute_V1_VMStatus.State?
    ) throws -> Change {
        try state.withLock { state in
            if let operation = Call.current?.operation { state.operations.append(operation) }
            state.requests.append("\(verb) \(id)")
            let key = state.vms.first { $0.key == id || $0.value.id == id }?.key
            guard let key, var vm = state.vms[key] else {
                throw Fault(.vmNotFound, "there is no VM '\(shown(id))'")
            }
            let changed = newState != vm.status.state
            if let newState { vm.status.state = newState }
            state.vms[key] = vm
            return .with {
                $0.vm = vm
                $0.changed = changed
            }
        }
    }

    static func vm(_ name: String, _ state: Roost_Compute_V1_VMStatus.State = .running) -> VM {
        .with {
            $0.id =
                String(repeating: "0", count: 24)
                + String(name.utf8.reduce(7) { ($0 &* 31 &+ UInt32($1)) }, radix: 16)
            $0.name = name
            $0.project = "default"
            $0.spec.cpu.cores = 2
            $0.spec.memory.sizeMib = 512
            $0.spec.image = "sha256:" + String(repeating: "ab", count: 32)
            $0.status.state = state
            $0.status.reason = "asked for"
            $0.desiredPower = .running
            $0.etag = "e1"
            $0.createTime.seconds = 1_700_000_000
            $0.status.since.seconds = 1_700_000_000
        }
    }

    func add(_ vm: VM) { state.withLock { $0.vms[vm.name] = vm } }

    func createVM(
        request: Roost_Compute_V1_CreateVMRequest,
        context: ServerContext
    ) async throws -> VM {
        try state.withLock { state in
            state.lastCreate = request
            if let operation = Call.current?.operation { state.operations.append(operation) }
            if let failure = state.createFailure { throw failure }
            if state.vms[request.name] != nil {
                throw Fault(
                    .nameTaken,
                    "the name '\(request.name)' is taken",
                    metadata: ["name": request.name]
                )
            }
            var vm = Self.vm(request.name)
            vm.spec = request.spec
            vm.labels = request.labels
            if !request.validateOnly { state.vms[request.name] = vm }
            return vm
        }
    }

    func getVM(request: Roost_Compute_V1_GetVMRequest, context: ServerContext) async throws -> VM {
        try change(request.id, "get", to: nil).vm
    }

    func listVMs(
        request: Roost_Compute_V1_ListVMsRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_ListVMsResponse {
        let selector = try Selector(request.selector)
        return state.withLock { state in
            state.pageSizes.append(request.pageSize)
            let all = state.vms.values + (request.showDeleted ? Array(state.trash.values) : [])
            let sorted = all.filter { selector.matches($0.labels) }.sorted { $0.id < $1.id }
            // Two a page, so that every list of three takes the second one too.
            let from = Int(request.pageToken) ?? 0
            let page = sorted.dropFirst(from).prefix(2)
            return .with {
                $0.vms = Array(page)
                $0.nextPageToken = from + 2 < sorted.count ? String(from + 2) : ""
                $0.revision = 7
            }
        }
    }

    func watchVMs(
        request: Roost_Compute_V1_WatchVMsRequest,
        response: RPCWriter<Roost_Compute_V1_WatchVMsResponse>,
        context: ServerContext
    ) async throws {
        for vm in state.withLock({ $0.vms.values.sorted { $0.name < $1.name } }) {
            try await response.write(
                .with {
                    $0.type = .added
                    $0.vm = vm
                }
            )
        }
        try await response.write(.with { $0.type = .bookmark })
    }

    func updateVM(
        request: Roost_Compute_V1_UpdateVMRequest,
        context: ServerContext
    ) async throws -> VM {
        state.withLock { $0.lastUpdate = request }
        return try change(request.id, "update", to: nil).vm
    }

    func startVM(
        request: Roost_Compute_V1_StartVMRequest,
        context: ServerContext
    ) async throws -> Change {
        try change(request.id, "start", to: .running)
    }
    func stopVM(
        request: Roost_Compute_V1_StopVMRequest,
        context: ServerContext
    ) async throws -> Change {
        let grace = request.hasTimeoutSeconds ? " grace \(request.timeoutSeconds)" : ""
        return try change(
            request.id,
            "stop" + (request.force ? " force" : "") + grace,
            to: .stopped
        )
    }
    func restartVM(
        request: Roost_Compute_V1_RestartVMRequest,
        context: ServerContext
    ) async throws -> Change {
        try change(request.id, "restart", to: .running)
    }
    func rebootVM(
        request: Roost_Compute_V1_RebootVMRequest,
        context: ServerContext
    ) async throws -> Change {
        try change(request.id, "reboot", to: .running)
    }
    func killVM(
        request: Roost_Compute_V1_KillVMRequest,
        context: ServerContext
    ) async throws -> Change {
        try change(request.id, "kill", to: .stopped)
    }
    func pauseVM(
        request: Roost_Compute_V1_PauseVMRequest,
        context: ServerContext
    ) async throws -> Change {
        try change(request.id, "pause", to: .paused)
    }
    func resumeVM(
        request: Roost_Compute_V1_ResumeVMRequest,
        context: ServerContext
    ) async throws -> Change {
        try change(request.id, "resume", to: .running)
    }
    func cloneVM(
        request: Roost_Compute_V1_CloneVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_VM {
        var clone = try change(request.id, "clone", to: .stopped).vm
        clone.name = request.name
        return clone
    }

    func forkVM(
        request: Roost_Compute_V1_ForkVMRequest,
        context: ServerContext
    ) async throws -> Roost_Compute_V1_ForkVMResponse {
        let source = try change(request.id, "fork", to: .running).vm
        let count = max(Int(request.count), request.names.count, 1)
        return .with {
            $0.vms = (0..<count).map { index in
                var copy = source
                copy.name =
                    request.names.isEmpty ? "\(source.name)-\(index + 1)" : request.names[index]
                return copy
            }
        }
    }

    func suspendVM(
        request: Roost_Compute_V1_SuspendVMRequest,
        context: ServerContext
    ) async throws -> Change {
        try change(request.id, "suspend", to: .suspended)
    }
    func deleteVM(
        request: Roost_Compute_V1_DeleteVMRequest,
        context: ServerContext
    ) async throws -> Change {
        state.withLock { $0.lastDelete = request }
        let change = try change(request.id, "delete", to: .deleted)
        state.withLock { state in
            var vm = change.vm
            vm.deleteTime.seconds = 1_700_000_100
            state.vms[vm.name] = nil
            if !request.purge { state.trash[vm.name] = vm }
        }
        return change
    }
    func undeleteVM(
        request: Roost_Compute_V1_UndeleteVMRequest,
        context: ServerContext
    ) async throws -> Change {
        try state.withLock { state in
            guard let vm = state.trash.removeValue(forKey: request.id) else {
                throw Fault(.vmNotFound, "nothing called '\(request.id)' is in the trash")
            }
            state.vms[vm.name] = vm
        }
        return try change(request.id, "undelete", to: .stopped)
    }
    func purgeVM(
        request: Roost_Compute_V1_PurgeVMRequest,
        context: ServerContext
    ) async throws -> Change {
        try state.withLock { state in
            let found = state.trash.first { $0.key == request.id || $0.value.id == request.id }
            guard let found else { throw Fault(.vmNotFound, "no '\(request.id)' in the trash") }
            state.trash[found.key] = nil
            return .with {
                $0.vm = found.value
                $0.changed = true
            }
        }
    }
    func resetVMState(
        request: Roost_Compute_V1_ResetVMStateRequest,
        context: ServerContext
    ) async throws -> Change {
        try change(request.id, "reset", to: nil)
    }
}
