// How many placements a second, and how long each takes; and answers for a comparison with others.
//
//   roost-schedbench rate [--cpu] [NODES …] plain and ruled requests on fleets of these sizes
//   roost-schedbench fill NODES CORES MIB   one shape until nothing fits: how many, how fast
//   roost-schedbench fits                   one node index or "none" for each cluster on stdin
//
// The comparison with Ganeti's hspace and hail: Benchmarks/SchedBench/compare.py.

import Glibc
import RoostModel
import RoostScheduler

/// xorshift64*: the same requests in every run.
struct Chance: RandomNumberGenerator {
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15
    mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return state &* 0x2545_F491_4F6C_DD1D
    }
}

/// A fleet of racks of 40 with two kinds of node, some tainted, in three zones.
func fleet(_ count: Int, _ strategy: PlacementStrategy) -> Fleet {
    var chance = Chance()
    let nodes = (0..<count).map { index in
        var node = NodeFacts(
            id: NodeID(using: &chance),
            cores: index % 3 == 0 ? 64 : 32,
            memoryMiB: index % 3 == 0 ? 262_144 : 131_072,
            labels: [
                "rack": "r\(index / 40)", "zone": "z\(index % 3)",
                "disk": index % 4 == 0 ? "nvme" : "ssd",
            ]
        )
        if index % 20 == 7 { node.taints = [Taint("gpu", "yes")] }
        if index % 50 == 3 { node.state = .cordoned }
        if index % 2 == 0 { node.artifacts = [Artifact(.image, "debian")] }
        return node
    }
    return Fleet(strategy: strategy, nodes: nodes)
}

/// Eight sizes, nothing else asked.
func plainShapes() -> [PlacementRequest] {
    (0..<8).map { index in
        PlacementRequest(cores: 1 + index % 4, memoryMiB: 1024 << (index % 3))
    }
}

/// Sixty applications, each apart from itself or spread over racks, with labels, taints, wishes.
func ruledShapes() -> [PlacementRequest] {
    (0..<60).map { index in
        let app = Selector(terms: [.equals("app", "a\(index)")])
        var rules = PlacementRules()
        switch index % 3 {
        case 0: rules.affinities = [AffinityRule(.apart, .labels(app))]
        case 1: rules.spreads = [SpreadRule(over: "rack", among: app, maxSkew: 2)]
        default:
            rules.affinities = [
                AffinityRule(.apart, .labels(app), .preferred(weight: 50)),
                AffinityRule(
                    .together,
                    .labels(Selector(terms: [.equals("app", "a\((index + 1) % 60)")])),
                    .preferred(weight: 20)
                ),
            ]
            rules.spreads = [
                SpreadRule(over: "zone", among: app, maxSkew: 1),
                SpreadRule(over: "rack", among: app, maxSkew: 1, .preferred(weight: 30)),
            ]
        }
        if index % 4 == 1 {
            rules.requiredLabels = Selector(terms: [.equals("disk", "ssd")])
        }
        if index % 5 == 2 { rules.tolerations = [Toleration(key: "gpu")] }
        if index % 2 == 0 {
            rules.localities = [
                LocalityRule(Artifact(.image, "debian"), .preferred(weight: 10))
            ]
        }
        return PlacementRequest(
            cores: 1 + index % 4,
            memoryMiB: 1024 << (index % 3),
            labels: ["app": "a\(index)"],
            rules: rules
        )
    }
}

/// With --cpu: the thread's own time, for a machine that others use too.
let isCPUTime = CommandLine.arguments.contains("--cpu")

func nanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(isCPUTime ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

func text(_ value: Double, _ digits: Int = 1) -> String {
    let scale = digits == 0 ? 1.0 : 10.0
    let rounded = (value * scale).rounded() / scale
    return digits == 0 ? "\(Int(rounded))" : "\(rounded)"
}

/// Fills to about half, then one in and one out: whole loop timed, each decision timed.
func measure(_ name: String, _ count: Int, _ shapes: [PlacementRequest]) throws {
    var fleet = fleet(count, .spread)
    var chance = Chance(state: 42)
    let warm = count * 8
    let decisions = 40_000
    var times: [UInt64] = []
    times.reserveCapacity(decisions)
    var placed: [VMID] = []
    var oldest = 0
    var refused = 0
    var start = nanoseconds()
    for index in 0..<(warm + decisions) {
        if index == warm { start = nanoseconds() }
        let request = shapes[Int.random(in: 0..<shapes.count, using: &chance)]
        let vm = VMID(using: &chance)
        let before = nanoseconds()
        let placement = try fleet.place(request, for: vm)
        let after = nanoseconds()
        if index >= warm { times.append(after - before) }
        if let node = placement.node {
            try fleet.add(vm, request, on: node)
            placed.append(vm)
        } else {
            refused += 1
        }
        if placed.count - oldest > warm {
            fleet.remove(placed[oldest])
            oldest += 1
        }
    }
    let seconds = Double(nanoseconds() - start) / 1e9
    times.sort()
    func percentile(_ part: Double) -> String {
        text(Double(times[Int(Double(times.count - 1) * part)]) / 1000)
    }
    print(
        "\(name) nodes=\(count) vms=\(fleet.residentCount) refused=\(refused) "
            + "clock=\(isCPUTime ? "cpu" : "wall") decisions_per_s=\(text(Double(decisions) / seconds, 0)) p50_us=\(percentile(0.5)) "
            + "p99_us=\(percentile(0.99)) max_us=\(percentile(1))"
    )
}

/// One shape until nothing fits, on equal nodes as `hspace --simulate` has them.
func fill(_ count: Int, _ cores: Int, _ memoryMiB: Int) throws {
    var chance = Chance()
    // As Ganeti counts: nothing reserved, memory not overcommitted, four virtual cores to a core.
    let policy = OvercommitPolicy(
        reservedCores: 0,
        reservedMemoryMiB: 0,
        cpuRatio: 4,
        memoryRatio: 1
    )
    let nodes = (0..<count).map { _ in
        NodeFacts(
            id: NodeID(using: &chance),
            cores: 32,
            memoryMiB: 196_608,
            diskGiB: 10_000,
            policy: policy
        )
    }
    let request = PlacementRequest(cores: cores, memoryMiB: memoryMiB, diskGiB: 10)
    var fleet = Fleet(strategy: .spread, nodes: nodes)
    var placed = 0
    let start = nanoseconds()
    while let node = try fleet.place(request).node {
        try fleet.add(VMID(using: &chance), request, on: node)
        placed += 1
    }
    let seconds = Double(nanoseconds() - start) / 1e9
    print(
        "fill nodes=\(count) placed=\(placed) per_s=\(text(Double(placed) / seconds, 0))"
    )
}

/// Reads clusters: `node CORES MIB GIB RESERVED_MIB CPU_RATIO`, `vm NODE CORES MIB GIB`,
/// `ask CORES MIB GIB`; the answer to each `ask` ends its cluster.
func fits() throws {
    var nodes: [NodeFacts] = []
    var vms: [[Int]] = []
    while let line = readLine() {
        let words = line.split(separator: " ")
        let numbers = words.dropFirst().compactMap { Double($0) }
        guard let kind = words.first, numbers.count == words.count - 1 else {
            throw Fault.invalid("stdin", "'\(shown(line))' is not a line of a cluster")
        }
        switch (kind, numbers.count) {
        case ("node", 5):
            let policy = OvercommitPolicy(
                reservedCores: 0,
                reservedMemoryMiB: Int(numbers[3]),
                cpuRatio: numbers[4],
                memoryRatio: 1
            )
            nodes.append(
                NodeFacts(
                    id: NodeID(bits: UInt128(nodes.count)),
                    cores: Int(numbers[0]),
                    memoryMiB: Int(numbers[1]),
                    diskGiB: Int(numbers[2]),
                    policy: policy
                )
            )
        case ("vm", 4): vms.append(numbers.map { Int($0) })
        case ("ask", 3):
            var fleet = Fleet(strategy: .spread, nodes: nodes)
            for (index, vm) in vms.enumerated() {
                let request = PlacementRequest(cores: vm[1], memoryMiB: vm[2], diskGiB: vm[3])
                let node = NodeID(bits: UInt128(vm[0]))
                try fleet.add(VMID(bits: UInt128(index)), request, on: node)
            }
            let request = PlacementRequest(
                cores: Int(numbers[0]),
                memoryMiB: Int(numbers[1]),
                diskGiB: Int(numbers[2])
            )
            print(try fleet.place(request).node.map { "\($0.bits)" } ?? "none")
            nodes = []
            vms = []
        default: throw Fault.invalid("stdin", "'\(shown(line))' is not a line of a cluster")
        }
    }
}

let arguments = CommandLine.arguments.dropFirst().filter { $0 != "--cpu" }
let numbers = arguments.dropFirst().compactMap { Int($0) }
switch arguments.first {
case "rate":
    for count in numbers.isEmpty ? [100, 5_000, 10_000] : numbers {
        try measure("plain", count, plainShapes())
        try measure("ruled", count, ruledShapes())
    }
case "fill" where numbers.count == 3: try fill(numbers[0], numbers[1], numbers[2])
case "fits": try fits()
default:
    print("usage: roost-schedbench rate [NODES …] | fill NODES CORES MIB | fits")
    exit(64)
}
