package import RoostDriver
import RoostGuestWire
package import RoostLink
package import RoostModel
package import RoostOperations
import Synchronization

/// Who speaks with the guests of one node: one connection to each, made when it is first needed.
///
/// A connection ends with its VMM, its guest's misbehaviour, or ``drop(_:)``; the next caller makes
/// a new one. Commands in the guest outlive connections: their sessions are attached to again.
package final class GuestSessions: GuestLinks, GuestAccess {
    /// How long a guest that runs may take to answer a new connection.
    package static let greeting = Duration.seconds(20)

    private let driver: any Driver
    let surroundings: Surroundings
    let spawner: Spawner
    let connections = Mutex<[VMID: GuestConnection]>([:])
    /// Those that have not been answered yet.
    private let greeted = Mutex<[VMID: GuestConnection]>([:])
    private let greeter: Greeter
    /// One caller at a time connects to a guest; the others find its connection.
    private let connecting = KeyedQueue<VMID>()
    /// Guests whose VMM is being replaced; set when that is over.
    let held = Mutex<[VMID: Signal]>([:])
    /// Commands that somebody reads.
    let attached = Mutex<[VMID: [AttachedSession]]>([:])

    package init(driver: any Driver, surroundings: Surroundings, spawner: Spawner) {
        self.driver = driver
        self.surroundings = surroundings
        self.spawner = spawner
        greeter = Greeter(clock: surroundings.clock)
    }

    package func awaitReady(_ vm: VMID) async throws(Fault) {
        _ = try await connection(vm, with: nil)
    }

    package func shutDown(_ vm: VMID) async throws(Fault) {
        let connection = try await answering(vm)
        // The agent's own bound on asking processes to end; the caller's grace is the outer one.
        try await connection.shutdown(reboot: false, graceMilliseconds: 5_000)
    }

    package func settle(_ vm: VMID) async throws(Fault) {
        let connection = try await answering(vm)
        // The way of a command: its pages are in the cache of every copy then.
        let warmUp = RoostGuestWire.ExecRequest(
            session: bytes(16),
            arguments: ["/bin/sh", "-c", ":"]
        )
        do throws(Fault) {
            let session = try await connection.exec(warmUp)
            while try await session.next() != nil {}
        } catch  where error.reason == .commandNotFound {
            // An image without a shell has nothing to warm up.
        }
        try await connection.settle()
    }

    package func renew(_ vm: VMID, _ identity: GuestIdentity) async throws(Fault) {
        var request = RenewRequest(entropy: identity.entropy)
        request.machineID = identity.machineID
        request.hostname = identity.hostname
        request.ethernet = identity.ethernet
        request.generation = bytes(16)
        request.vm = Self.bytes(of: vm)
        request.wallClock = surroundings.wall.now().milliseconds &* 1_000_000
        try await renew(vm, request)
    }

    package func freshen(_ vm: VMID, entropy: [UInt8]) async throws(Fault) {
        var request = RenewRequest(entropy: entropy)
        request.generation = bytes(16)
        request.vm = Self.bytes(of: vm)
        request.wallClock = surroundings.wall.now().milliseconds &* 1_000_000
        try await renew(vm, request)
    }

    /// - Throws: ``Reason/hookFailed`` naming the hook of its image that refused, and as
    ///   ``GuestConnection/requireGenerations()``.
    private func renew(_ vm: VMID, _ request: RenewRequest) async throws(Fault) {
        let wish = Request.renewIdentity(request)
        let (connection, begun) = try await answering(vm, with: wish)
        do throws(Fault) {
            try await connection.requireGenerations()
        } catch {
            begun?.cancel()
            throw error
        }
        try await connection.finish(wish, begun: begun)
    }

    package func readers(of vm: VMID) async -> Int { attached.withLock { $0[vm]?.count ?? 0 } }

    /// Most significant byte first, as its digits are.
    private static func bytes(of vm: VMID) -> [UInt8] {
        (0..<16).map { UInt8(truncatingIfNeeded: vm.bits >> UInt128(120 - 8 * $0)) }
    }

    private func bytes(_ count: Int) -> [UInt8] {
        (0..<count / 8).flatMap { _ in withUnsafeBytes(of: surroundings.entropy.next(), Array.init)
        }
    }

    package func drop(_ vm: VMID) async {
        let old = connections.withLock { $0.removeValue(forKey: vm) }
        // Also one that is on its way: what it greets is about to be another machine.
        let early = greeted.withLock { $0.removeValue(forKey: vm) }
        await old?.close()
        await early?.close()
    }

    package func exec(
        _ vm: VMID,
        _ request: RoostLink.ExecRequest
    ) async throws(Fault) -> any ExecSession {
        if request.attachOnly {
            return try await attach(to: vm) { connection throws(Fault) in
                try await connection.attach(
                    request.session.bytes,
                    from: 0,
                    killOnDetach: request.killOnDetach
                )
            }
        }
        var asked = RoostGuestWire.ExecRequest(
            session: request.session.bytes,
            arguments: request.arguments
        )
        asked.environment = request.environment
        asked.directory = request.workingDirectory
        asked.user = request.user
        asked.timeoutMilliseconds = UInt64(max(request.timeoutSeconds ?? 0, 0)) * 1000
        asked.terminal = try request.terminal.map { size throws(Fault) in try wireSize(size) }
        asked.hasInput = request.hasInput
        asked.onDetach = request.killOnDetach ? .kill : .drop
        let wanted = asked
        return try await attach(to: vm) { connection throws(Fault) in
            try await connection.exec(wanted)
        }
    }

    package func copy(
        _ vm: VMID,
        _ request: CopyRequest
    ) async throws(Fault) -> any CopySession {
        let connection = try await answering(vm)
        switch request.kind {
        case .stat:
            return FoundPath(facts: try await connection.facts(request.path))
        case .readFile:
            return OutgoingCopy(try await connection.readFile(request.path))
        case .readTree:
            return OutgoingCopy(try connection.tarOut(request.path, contentsOnly: false))
        case .writeFile:
            let file = WriteFileRequest(
                path: request.path,
                mode: UInt32(clamping: request.mode),
                uid: UInt32(clamping: request.uid),
                gid: UInt32(clamping: request.gid),
                size: request.size.map { UInt64(clamping: $0) }
            )
            return IncomingCopy(try connection.writeFile(file))
        case .writeTree:
            return IncomingCopy(try connection.tarIn(request.path, ownersFromArchive: true))
        }
    }

    package func status(_ vm: VMID) async throws(Fault) -> GuestStatus {
        let connection = try await answering(vm)
        let stats = try await connection.stats()
        let ports = try await connection.ports()
        let hello = try await connection.ready()
        return GuestStatus(
            uptime: .milliseconds(Int64(clamping: stats.uptimeMilliseconds)),
            memoryTotal: ByteCount(bytes: stats.memoryTotalBytes),
            memoryAvailable: ByteCount(bytes: stats.memoryAvailableBytes),
            processes: Int(stats.processes),
            agentVersion: sanitized(hello.software),
            listening: ports.map { port in
                RoostLink.ListeningPort(
                    port: Int(port.port),
                    transport: port.transport == .tcp ? .tcp : .udp,
                    address: addressText(port.address)
                )
            }
        )
    }

    /// Sets the clocks of all connected guests by the host's: after the host has slept.
    package func stepClocks() async {
        let open = connections.withLock { $0.keys.sorted() }
        // Side by side: one that stands still must not hold up the others.
        await withDiscardingTaskGroup { group in
            for vm in open { group.addTask { await self.stepClock(vm) } }
        }
    }

    package func stepClock(_ vm: VMID) async {
        // What is said to a guest that is held it hears later, and the time would be an old one.
        guard held.withLock({ $0[vm] == nil }),
            let connection = connections.withLock({ $0[vm] })
        else { return }
        let late = Fault(.guestUnreachable, "it did not set its clock in time")
        do throws(Fault) {
            try await within(Self.greeting, on: surroundings.clock, onTimeout: late) {
                () async throws(Fault) in
                try await connection.setClock(self.surroundings.wall.now())
            }
        } catch {
            // Paused, or stuck: it is told when it is resumed, or at its next connection.
        }
    }

    /// How many connections are open.
    package var count: Int { connections.withLock { $0.count } }

    /// A connection to a guest that is expected to answer now.
    func answering(_ vm: VMID) async throws(Fault) -> GuestConnection {
        try await answering(vm, with: nil).0
    }

    /// As ``connection(_:with:)``, to a guest that is expected to answer now.
    private func answering(
        _ vm: VMID,
        with first: Request?
    ) async throws(Fault) -> (GuestConnection, GuestStream?) {
        guard driver.capabilities.contains(.guestAgent) else {
            throw Fault(.unsupported, "VMs of the \(driver.name) driver have no guest to enter")
        }
        return try await within(
            Self.greeting,
            on: surroundings.clock,
            onTimeout: Fault(
                .guestUnreachable,
                "the guest's agent did not answer within \(Self.greeting)",
                metadata: ["vm": vm.short]
            )
        ) { () async throws(Fault) in
            while let hold = self.held.withLock({ $0[vm] }), !Task.isCancelled { await hold.wait() }
            return try await self.connection(vm, with: first)
        }
    }

    /// The connection to a guest; a new one says `first` together with its greeting, and the stream of
    /// the answer comes with it.
    func connection(
        _ vm: VMID,
        with first: Request? = nil
    ) async throws(Fault) -> (GuestConnection, GuestStream?) {
        if let known = connections.withLock({ $0[vm] }) { return (known, nil) }
        return try await connecting.withTurn(vm) { () async throws(Fault) in
            if let known = self.connections.withLock({ $0[vm] }) { return (known, nil) }
            defer { self.greeted.withLock { _ = $0.removeValue(forKey: vm) } }
            let begun = Mutex<GuestStream?>(nil)
            // A greeting that is lost takes what went with it along: each new one has its own.
            let fresh = try await self.greeter.greeted { () async throws(Fault) in
                let made = try await self.connect(vm)
                if let first {
                    let stream = try made.begin(first)
                    begun.withLock { $0 = stream }
                }
                return made
            }
            self.connections.withLock { $0[vm] = fresh }
            // It may have ended before it was known.
            if fresh.hasFailed { self.forget(fresh, of: vm) }
            return (fresh, begun.withLock(\.self))
        }
    }

    /// A connection that is being greeted.
    private func connect(_ vm: VMID) async throws(Fault) -> GuestConnection {
        let stream = try await driver.guestChannel(vm)
        let fresh = GuestConnection(
            over: stream,
            nonce: surroundings.entropy.next(),
            now: surroundings.wall.now(),
            vm: vm.short
        )
        greeted.withLock { $0[vm] = fresh }
        spawner.spawn {
            await fresh.run()
            self.forget(fresh, of: vm)
        }
        return fresh
    }

    private func forget(_ ended: GuestConnection, of vm: VMID) {
        connections.withLock { table in
            if table[vm] === ended { table[vm] = nil }
        }
    }
}

extension GuestPath {
    fileprivate init(_ facts: FileFacts) {
        self.init(
            isDirectory: facts.mode & 0o170000 == 0o040000,
            mode: Int(facts.mode & 0o7777),
            size: Int64(clamping: facts.size)
        )
    }
}

/// What a path is, and no bytes.
private struct FoundPath: CopySession {
    let facts: FileFacts?

    func information() async throws(Fault) -> GuestPath? { facts.map(GuestPath.init) }
    func read() async throws(Fault) -> [UInt8] { [] }
    func write(_ bytes: [UInt8]) async throws(Fault) {
        throw Fault(.bug, "writing to a look at a path")
    }
    func finish() async throws(Fault) {}
    func close() async {}
}

/// Bytes out of a guest.
private struct OutgoingCopy: CopySession {
    private let reader: GuestReader

    init(_ reader: GuestReader) { self.reader = reader }

    func information() async throws(Fault) -> GuestPath? { reader.facts.map(GuestPath.init) }

    func read() async throws(Fault) -> [UInt8] { try await reader.next() ?? [] }

    func write(_ bytes: [UInt8]) async throws(Fault) {
        throw Fault(.bug, "writing to a copy that reads")
    }

    func finish() async throws(Fault) {}

    func close() async { reader.cancel() }
}

/// Bytes into a guest.
private struct IncomingCopy: CopySession {
    private let writer: GuestWriter

    init(_ writer: GuestWriter) { self.writer = writer }

    func information() async throws(Fault) -> GuestPath? { nil }

    func read() async throws(Fault) -> [UInt8] {
        throw Fault(.bug, "reading from a copy that writes")
    }

    func write(_ bytes: [UInt8]) async throws(Fault) { try await writer.write(bytes) }

    func finish() async throws(Fault) { _ = try await writer.finish() }

    func close() async { writer.cancel() }
}

extension OperationID {
    /// Most significant byte first.
    fileprivate var bytes: [UInt8] {
        (0..<16).map { UInt8(truncatingIfNeeded: bits >> UInt128(120 - 8 * $0)) }
    }
}

func wireSize(_ size: RoostLink.TerminalSize) throws(Fault) -> RoostGuestWire.TerminalSize {
    guard let rows = UInt16(exactly: size.rows), let columns = UInt16(exactly: size.columns) else {
        throw .invalid("terminal", "\(size.rows) × \(size.columns) is not a terminal's size")
    }
    return RoostGuestWire.TerminalSize(rows: rows, columns: columns)
}

/// An IPv4 address in dots, anything else in hexadecimal groups.
private func addressText(_ bytes: [UInt8]) -> String {
    if bytes.count == 4 { return bytes.map(String.init).joined(separator: ".") }
    return stride(from: 0, to: bytes.count - 1, by: 2)
        .map { String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16) }
        .joined(separator: ":")
}
