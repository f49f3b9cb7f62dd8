import Glibc
import Logging
import RoostLinux
import RoostModel
import RoostOperations
import RoostServices
import RoostStore
import RoostStorePostgres
import RoostStoreSQL

/// The stores: control's, and one for each node. No side reads another's.
///
/// ```text
///  control: memory │ SQLite file │ PostgreSQL, fenced by the lease "control"
///  node:    memory │ SQLite file
/// ```
/// A file is held by the state directory's lock, a database by a lease in it: two control planes of
/// one role would carry on each other's operations.
struct Stores: Sendable {
    let control: any Store
    let nodes: [Own]
    /// Where control's rows are, for people: `SQLite, /path`, `PostgreSQL 15.18, postgres://…`.
    let name: String
    private let files: [SQLiteStore]
    private let server: Server?

    /// What one node keeps for itself.
    struct Own: Sendable {
        let id: NodeID
        let store: any Store
    }

    /// A database that others may want as well.
    private struct Server: Sendable {
        let store: PostgresStore
        let keeper: LeaseKeeper
        let lease: Lease
    }

    /// How long a daemon waits for another to give the database up: longer than a lease lives.
    private static let patience = LeaseKeeper.timeToLive * 1.5

    /// Opens all of them: the nodes' in the state directory, or in memory when there is none.
    init(
        _ settings: Settings,
        nodes count: Int,
        _ surroundings: Surroundings
    ) async throws(Fault) {
        let choice = try settings.storeChoice()
        let directory = settings.stateDirectory
        var ids: [NodeID] = []
        for index in 0..<count { ids.append(try nodeID(index, directory, surroundings)) }
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
            // A control plane without a node has an id all the same.
            let holder: NodeID
            if let first = ids.first {
                holder = first
            } else {
                holder = try nodeID(0, directory, surroundings)
            }
            let server = try await Self.open(address, settings, holder, surroundings)
            control = FencedStore(server.store, server.lease)
            let pooled = server.store.isPooled ? ", through a pooler" : ""
            name = "PostgreSQL \(server.store.serverVersion), \(address)\(pooled)"
            self.server = server
        }
        var nodes: [Own] = []
        for (index, id) in ids.enumerated() {
            guard let directory else {
                nodes.append(Own(id: id, store: MemoryStore()))
                continue
            }
            let path = "\(directory)/node\(numbered(index)).db"
            let file = try await SQLiteStore.open(path: path)
            nodes.append(Own(id: id, store: file))
            files.append(file)
        }
        self.nodes = nodes
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

/// Nothing for the first node, whose files have no number; `-2`, `-3`, … for the others.
private func numbered(_ index: Int) -> String { index == 0 ? "" : "-\(index + 1)" }

/// The id of the node at `index`, made once.
func nodeID(
    _ index: Int,
    _ stateDirectory: String?,
    _ surroundings: Surroundings
) throws(Fault) -> NodeID {
    guard let stateDirectory else { return surroundings.identifier() }
    let path = "\(stateDirectory)/node-id\(numbered(index))"
    if let bytes = try DurableFile.read(path, limit: 64) {
        let text = String(decoding: bytes, as: UTF8.self).filter { !$0.isWhitespace }
        guard let id = NodeID(text) else {
            throw Fault(.stateUnreadable, "'\(path)' holds no node id", metadata: ["path": path])
        }
        return id
    }
    let id: NodeID = surroundings.identifier()
    try DurableFile.write(path, Array("\(id)\n".utf8), mode: 0o600)
    return id
}
