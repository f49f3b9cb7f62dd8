// The rows of one create through a store: how many commits a second, and how long each takes.
// Usage: roost-storebench [DIRECTORY | postgres://URL] [SECONDS] [CALLERS]
//
// The same rows as one PostgreSQL transaction: Benchmarks/StoreBench/compare.sh.

import Foundation
import RoostModel
import RoostStore
import RoostStorePostgres
import RoostStoreSQL

struct BenchVM: Row {
    static let table = "vms"
    var id: String
    var name: String
    var project: String
    var node: String
    var image: String
    var spec: [String: String]
    var state: String
    var generation: Int
    var created: Int64
    var note: String

    var key: String { id }
    var indexes: [IndexEntry] { [IndexEntry("node", node), IndexEntry("project", project)] }
}

struct BenchName: Row {
    static let table = "names"
    var name: String
    var vm: String
    var key: String { name }
    var indexes: [IndexEntry] { [] }
}

struct BenchPort: Row {
    static let table = "ports"
    var key: String
    var vm: String
    var guestPort: Int
    var indexes: [IndexEntry] { [] }
}

struct BenchOperation: Row {
    static let table = "operations"
    var id: String
    var method: String
    var digest: String
    var vm: String
    var state: String
    var key: String { id }
    var indexes: [IndexEntry] { [] }
}

let arguments = CommandLine.arguments
let directory = arguments.count > 1 ? arguments[1] : NSTemporaryDirectory()
let seconds = arguments.count > 2 ? Int(arguments[2]) ?? 5 : 5
let callers = arguments.count > 3 ? Int(arguments[3]) ?? 64 : 64
let path = "\(directory)/storebench-\(getpid()).db"
let isPostgres = PostgresAddress.isMeant(directory)

/// The four rows and two index entries of create number `number` of `caller`.
func create(_ caller: Int, _ number: Int) -> Batch {
    let id = UUID().uuidString.replacingOccurrences(of: "-", with: "").lowercased()
    let vm = BenchVM(
        id: id,
        name: "vm-\(caller)-\(number)",
        project: "project-\(caller % 8)",
        node: "node-\(number % 50)",
        image: "sha256:" + String(repeating: "ab", count: 32),
        spec: ["cpu": "2", "memory": "536870912", "disk": "10737418240", "kernel": "debian"],
        state: "PENDING",
        generation: 1,
        created: 1_790_000_000_000 + Int64(number),
        note: String(repeating: "x", count: 640)
    )
    let operation = String(format: "op-%016llx%02x%08x", vm.created, caller, number)
    var batch = Batch()
    batch.insert(vm)
    batch.insert(BenchName(name: vm.name, vm: id))
    batch.insert(BenchPort(key: "\(vm.node):\(caller)-\(number)", vm: id, guestPort: 80))
    batch.insert(
        BenchOperation(
            id: operation,
            method: "CreateVM",
            digest: vm.image,
            vm: id,
            state: "RUNNING"
        )
    )
    return batch
}

let store: any Store
let close: () async throws -> Void
if isPostgres {
    let server = try await PostgresStore.open(PostgresAddress(directory, field: "DIRECTORY"))
    (store, close) = (server, { await server.close() })
} else {
    let file = try await SQLiteStore.open(path: path)
    (store, close) = (file, { try await file.close() })
}
let clock = ContinuousClock()
let start = clock.now
let end = start + .seconds(seconds)
let times = try await withThrowingTaskGroup(of: [Duration].self) { group in
    for caller in 0..<callers {
        group.addTask {
            var times: [Duration] = []
            var before = clock.now
            while before < end {
                try await store.commit(create(caller, times.count))
                let after = clock.now
                times.append(after - before)
                before = after
            }
            return times
        }
    }
    var all: [Duration] = []
    for try await times in group { all += times }
    return all.sorted()
}
let elapsed = clock.now - start
try await close()
for suffix in ["", "-wal", "-shm"] {
    try? FileManager.default.removeItem(atPath: path + suffix)
}
let rate = Double(times.count) / (elapsed / .seconds(1))
let p50 = times[times.count / 2] / .milliseconds(1)
let p99 = times[times.count * 99 / 100] / .milliseconds(1)
print(
    String(
        format: "%@ callers=%d commits=%d commits/s=%.0f p50=%.2fms p99=%.2fms",
        isPostgres ? "postgres" : "sqlite",
        callers,
        times.count,
        rate,
        p50,
        p99
    )
)
