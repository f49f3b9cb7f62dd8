import Glibc
import Logging
import RoostModel
import RoostOperations
import RoostServices
import RoostStore
import RoostStorePostgres
import RoostStoreSQL

/// The two stores: control's and the node's. Neither side reads the other's.
///
/// ```text
///  control: memory │ SQLite file │ PostgreSQL, fenced by the lease "control"
///  node:    memory │ SQLite file
/// ```
/// A file is held by the state directory's lock, a database by a lease in it: two control planes of
/// one role would carry on each other's operations.
struct Stores: Sendable {
    let control: any Store
    let node: any Store
    /// Where control's rows are, for people: `SQLite, /path`, `PostgreSQL 15.18, postgres://…`.
    let name: String
    let nodeID: NodeID
    private let files: [SQLiteStore]
    private let server: Server?

    /// A database that others may want as well.
    private struct Server: Sendable {
        let store: PostgresStore
        let keeper: LeaseKeeper
        let lease: Lease
    }

    /// How long a daemon waits for another to give the database up: longer than a lease lives.
    private static let patience = LeaseKeeper.timeToLive * 1.5

    /// Opens both: the node's in the state directory, or in memory when there is none.
    init(_ settings: Settings, _ surroundings: Surroundings) async throws(Fault) {
        let choice = try settings.storeChoice()
        nodeID = try roostd.nodeID(settings.stateDirectory, surroundings)
        var files: [SQLiteStore] = []
        // Before the node's file is open: what is most likely to fail comes first.
        switch choice {
        case .memory:
            (control, name, server) = (MemoryStore(), "memory", nil)
        case .sqlite(let directory):
            let path = "\(directory)/roost.db"
            let file = try await SQLiteStore.open(path: path)
            (control, name, server) = (file, "SQLite, \(path)", nil)
            files.append(file)
        case .postgres(let address):
            let server = try await Self.open(address, settings, nodeID, surroundings)
            control = FencedStore(server.store, server.lease)
            let pooled = server.store.isPooled ? ", through a pooler" : ""
            name = "PostgreSQL \(server.store.serverVersion), \(address)\(pooled)"
            self.server = server
        }
        if let directory = settings.stateDirectory {
            let file = try await SQLiteStore.open(path: "\(directory)/node.db")
            node = file
            files.append(file)
        } else {
            node = MemoryStore()
        }
        self.files = files
    }

    /// Keeps the database ours until cancelled. When another has taken it, calls `lost` and answers why:
    /// nothing that this daemon decides from then on can be written.
    func keep(
        _ clock: any Clock<Duration>,
        _ log: Logger,
        lost: @Sendable () -> Void
    ) async -> Fault? {
        guard let server else { return nil }
        while true {
            do { try await clock.sleep(for: LeaseKeeper.renewal) } catch { return nil }
            do throws(Fault) {
                try await server.keeper.renew(server.lease)
            } catch {
                log.error("the lease on the database", metadata: ["fault": "\(error)"])
                guard error.reason == .staleEpoch else { continue }
                lost()
                return error
            }
        }
    }

    /// Whether control's rows can be reached, as the doctor says it.
    func finding() async -> Finding {
        do throws(Fault) {
            let revision = try await control.revision()
            let text = "\(name), revision \(revision.number)"
            return Finding("store", "Where rows are kept", .pass, text)
        } catch {
            return Finding("store", "Where rows are kept", .fail, error.message, fix: error.remedy)
        }
    }

    func close() async throws(Fault) {
        for file in files { try await file.close() }
        guard let server else { return }
        var fault: Fault?
        do throws(Fault) {
            try await server.keeper.release(server.lease)
        } catch {
            fault = error
        }
        await server.store.close()
        // Somebody else has it already: nothing to give back.
        if let fault, fault.reason != .staleEpoch { throw fault }
    }

    private static func open(
        _ address: PostgresAddress,
        _ settings: Settings,
        _ nodeID: NodeID,
        _ surroundings: Surroundings
    ) async throws(Fault) -> Server {
        let store = try await PostgresStore.open(address)
        var host = [CChar](repeating: 0, count: 256)
        gethostname(&host, host.count - 1)
        let name = String(
            decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
        let keeper = LeaseKeeper(
            store: store,
            clock: surroundings.clock,
            name: "control",
            holder: "\(nodeID)",
            place: "\(name), \(settings.stateDirectory ?? "in memory"), pid \(getpid())"
        )
        let found = try await keeper.acquire(patience: patience)
        guard let lease = found.lease else {
            await store.close()
            throw Fault(
                .storeRefused,
                "\(address) is held by another control plane: \(found.holder?.place ?? "unknown")",
                metadata: [
                    "store": address.name,
                    "fix":
                        "stop that roostd, or give this one a database of its own: createdb roost2",
                ]
            )
        }
        return Server(store: store, keeper: keeper, lease: lease)
    }
}
