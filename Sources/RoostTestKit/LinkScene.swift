import Logging
package import RoostDriver
import RoostHost
package import RoostLink
package import RoostModel
package import RoostNode
import RoostOperations
import RoostStore
import Synchronization

/// A node for ``NodeLinkConformance``: production code on a simulated host, with guests that answer.
/// A VM whose name begins with `broken` does not start.
package final class LinkScene: Sendable {
    /// The node's own link, which every other one leads to.
    package let local: LocalLink
    /// Where its VMs run.
    package let hypervisor: SimulatedHypervisor
    package let guests = EchoGuests()
    private let vms: NodeVMs
    private let spawner = Spawner()
    private let operations = Mutex<UInt64>(0)

    package init() {
        hypervisor = SimulatedHypervisor { launch in
            var behaviour = MachineBehaviour()
            if launch.name.hasPrefix("broken") {
                behaviour.startFault = Fault(
                    .vmmFailed,
                    "it does not start",
                    metadata: ["vm": launch.name]
                )
            }
            return behaviour
        }
        let clock = ContinuousClock()
        let files = SimulatedFiles(disk: SimulatedDisk(), clock: clock)
        let catalogue = SimulatedCatalogue.small()
        vms = NodeVMs(
            NodeParts(
                driver: SimulatedDriver(host: hypervisor, clock: clock),
                files: files,
                catalogue: catalogue,
                store: MemoryStore(disk: MemoryDisk()),
                guests: guests,
                surroundings: Surroundings(clock: clock, wall: Noon(), entropy: CountingEntropy()),
                failpoints: NoFailpoints(),
                spawner: spawner,
                log: Logger(label: "scene") { _ in SwiftLogNoOpLogHandler() },
                capacity: NodeCapacity(cores: 8, memoryMiB: 8_192)
            )
        )
        local = LocalLink(
            node: NodeID(bits: 0xcafe),
            vms: vms,
            guests: guests,
            files: files,
            catalogue: catalogue
        )
    }

    /// Runs `body` while the node lives.
    package func run(_ body: @escaping @Sendable () async throws -> Void) async throws {
        let spawner = spawner
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await spawner.run() }
            defer { group.cancelAll() }
            try await body()
            spawner.finish()
        }
    }

    /// A new order under a new op id.
    package func delta(
        _ action: NodeAction,
        _ vm: UInt64,
        name: String = "box",
        generation: Int = 1,
        epoch: Int64 = 1,
        desired: DesiredPower = .stopped
    ) -> AssignmentDelta {
        let number = operations.withLock { count in
            count += 1
            return count
        }
        return AssignmentDelta(
            operation: OperationID(bits: UInt128(number) << 64 | 7),
            epoch: epoch,
            vm: VMAssignment(
                id: VMID(bits: UInt128(vm)),
                name: name,
                generation: generation,
                spec: VMSpec(cores: 1, memoryMiB: 512, image: "image", kernel: "kernel"),
                desired: desired
            ),
            action: action
        )
    }
}

private struct NoFailpoints: Failpoints {
    func pass(_ point: Failpoint) async throws(Fault) {}
    func skips(_ point: Failpoint) -> Bool { false }
    func mark(_ marker: Marker) {}
}

private struct Noon: WallClock {
    func now() -> Timestamp { Timestamp(milliseconds: 43_200_000) }
}

private final class CountingEntropy: Entropy {
    private let last = Mutex<UInt64>(0)
    func next() -> UInt64 {
        last.withLock { last in
            last += 1
            return last
        }
    }
}

/// Guests whose commands say back what they are told, and whose files are in memory.
package final class EchoGuests: GuestLinks, GuestAccess {
    private let files = Mutex<[String: [UInt8]]>([:])
    /// Sessions that somebody has closed.
    private let closed = Mutex(0)

    package init() {}

    package var closedSessions: Int { closed.withLock { $0 } }

    package func file(_ path: String) -> [UInt8]? { files.withLock { $0[path] } }

    package func awaitReady(_ vm: VMID) async throws(Fault) {}
    package func shutDown(_ vm: VMID) async throws(Fault) {
        throw Fault(.unsupported, "an echo does not shut down")
    }
    package func settle(_ vm: VMID) async throws(Fault) {}
    package func renew(_ vm: VMID, _ identity: GuestIdentity) async throws(Fault) {}
    package func freshen(_ vm: VMID, entropy: [UInt8]) async throws(Fault) {}
    package func readers(of vm: VMID) async -> Int { 0 }
    package func stepClock(_ vm: VMID) async {}
    package func hold(_ vm: VMID) async throws(Fault) {}
    package func letGo(_ vm: VMID) async throws(Fault) {}
    package func drop(_ vm: VMID) async {}

    package func exec(
        _ vm: VMID,
        _ request: ExecRequest
    ) async throws(Fault) -> any ExecSession {
        guard request.arguments.first == "echo" else {
            throw Fault(
                .commandNotFound,
                "no command '\(request.arguments.first ?? "")'",
                metadata: ["command": request.arguments.first ?? ""]
            )
        }
        return EchoSession(request) { [self] in closed.withLock { $0 += 1 } }
    }

    package func copy(
        _ vm: VMID,
        _ request: CopyRequest
    ) async throws(Fault) -> any CopySession {
        switch request.kind {
        case .readFile, .readTree, .stat:
            guard let bytes = file(request.path) else {
                throw Fault(.pathNotFound, "no '\(request.path)'", metadata: ["path": request.path])
            }
            return EchoCopy(reading: bytes)
        case .writeFile, .writeTree:
            return EchoCopy { [self] bytes in files.withLock { $0[request.path] = bytes } }
        }
    }

    package func status(_ vm: VMID) async throws(Fault) -> GuestStatus {
        GuestStatus(
            uptime: .milliseconds(1_500),
            memoryTotal: .mebibytes(512),
            memoryAvailable: .mebibytes(400),
            processes: 3,
            agentVersion: "echo",
            listening: [ListeningPort(port: 80, transport: .tcp, address: "::")]
        )
    }
}

/// Says its input back, errors for `!`, and ends with the code that its input's end asks for.
private final class EchoSession: ExecSession {
    private struct State {
        var outputs: [ExecOutput] = []
        var isOver = false
        var waiting: CheckedContinuation<Void, Never>?
    }
    private let state: Mutex<State>
    private let onClose: @Sendable () -> Void

    init(_ request: ExecRequest, onClose: @escaping @Sendable () -> Void) {
        let words = request.arguments.dropFirst().joined(separator: " ")
        state = Mutex(State(outputs: words.isEmpty ? [] : [.output(Array(words.utf8))]))
        self.onClose = onClose
    }

    func send(_ input: ExecInput) async throws(Fault) {
        let waiter = state.withLock { state in
            switch input {
            case .input(let bytes):
                let isError = bytes.first == UInt8(ascii: "!")
                state.outputs.append(isError ? .errorOutput(bytes) : .output(bytes))
            case .endOfInput: state.outputs.append(.exited(code: 42))
            case .resize(let size):
                state.outputs.append(.output(Array("\(size.rows)x\(size.columns)".utf8)))
            case .signal(let number): state.outputs.append(.killed(signal: number))
            }
            defer { state.waiting = nil }
            return state.waiting
        }
        waiter?.resume()
    }

    func next() async throws(Fault) -> ExecOutput? {
        while true {
            let (output, isOver) = state.withLock { state -> (ExecOutput?, Bool) in
                if state.isOver { return (nil, true) }
                guard !state.outputs.isEmpty else { return (nil, false) }
                let output = state.outputs.removeFirst()
                switch output {
                case .exited, .killed: state.isOver = true
                case .output, .errorOutput: break
                }
                return (output, false)
            }
            if output != nil || isOver { return output }
            if Task.isCancelled { throw Fault(.opCancelled, "the caller has gone") }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let goesOn = state.withLock { state in
                        if !state.outputs.isEmpty || Task.isCancelled { return true }
                        state.waiting = continuation
                        return false
                    }
                    if goesOn { continuation.resume() }
                }
            } onCancel: {
                state.withLock { state in
                    defer { state.waiting = nil }
                    return state.waiting
                }?.resume()
            }
        }
    }

    func close() async { onClose() }
}

private final class EchoCopy: CopySession {
    private let bytes: Mutex<[UInt8]>
    private let isReading: Bool
    private let place: @Sendable ([UInt8]) -> Void

    init(reading bytes: [UInt8]) {
        self.bytes = Mutex(bytes)
        isReading = true
        place = { _ in }
    }

    init(place: @escaping @Sendable ([UInt8]) -> Void) {
        bytes = Mutex([])
        isReading = false
        self.place = place
    }

    func information() async throws(Fault) -> GuestPath? {
        guard isReading else { return nil }
        let count = bytes.withLock { $0.count }
        return GuestPath(isDirectory: false, mode: 0o640, size: Int64(count))
    }

    func read() async throws(Fault) -> [UInt8] {
        bytes.withLock { bytes in
            let part = Array(bytes.prefix(65_536))
            bytes.removeFirst(part.count)
            return part
        }
    }

    func write(_ more: [UInt8]) async throws(Fault) { bytes.withLock { $0 += more } }
    func finish() async throws(Fault) { place(bytes.withLock { $0 }) }
    func close() async {}
}
