import RoostModel
import RoostScheduler
import RoostTestKit
import Testing

@Suite("What if")
struct WhatIfTests {
    /// The forecast, and then the same things done one by one on the plain fleet.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func whatItSaidIsWhatThenHappens(block: UInt64) throws {
        var moved = 0
        for seed in (block * 15)..<(block * 15 + 15) {
            var twin = Twin(seed: seed &+ 2_000_000)
            for _ in 0..<30 {
                if twin.draw.oneIn(4) { try twin.disturb() }
                let request = twin.shape()
                guard let node = try twin.fleet.place(request).node else { continue }
                try twin.put(twin.newVM(), request, node)
            }
            let scenario = draw(&twin)
            let before = twin.fleet.revision
            let forecast = try twin.fleet.forecast(scenario)
            try #require(twin.fleet.revision == before)
            let happened = happen(scenario, &twin.naive, forecast)
            let said = forecast.steps.map { Said(vm: $0.vm, node: $0.outcome.node) }
            try #require(said == happened, "seed \(seed): \(scenario)")
            try #require(try twin.fleet.enact(scenario) == forecast, "seed \(seed)")
            // And the two agree about everything afterwards.
            for request in twin.shapes {
                let wanted = twin.naive.place(request, for: nil)
                try #require(try twin.fleet.place(request).node == wanted.node, "seed \(seed)")
            }
            moved += said.count { $0.node != nil }
        }
        #expect(moved > 0)
    }

    private struct Said: Equatable {
        var vm: VMID
        /// Where it goes; `nil` when it stays or is refused.
        var node: NodeID?
    }

    private func draw(_ twin: inout Twin) -> Scenario {
        switch twin.draw.under(4) {
        case 0: .add(count: 1 + twin.draw.under(12), twin.shape())
        case 1: .drain(twin.draw.one(of: twin.naive.nodes).id)
        case 2: .lose(twin.draw.one(of: twin.naive.nodes).id)
        default:
            if let vm = twin.vms.first {
                .resize(vm, cores: 1 + twin.draw.under(8), memoryMiB: 512 << twin.draw.under(4))
            } else {
                .add(count: 3, twin.shape())
            }
        }
    }

    private func happen(
        _ scenario: Scenario,
        _ fleet: inout NaiveFleet,
        _ forecast: Forecast
    ) -> [Said] {
        switch scenario {
        case .add(let count, let request):
            var said: [Said] = []
            for step in forecast.steps.prefix(count) {
                let node = fleet.place(request, for: step.vm).node
                said.append(Said(vm: step.vm, node: node))
                guard let node else { break }
                fleet.guests.append(
                    .init(vm: step.vm, request: request, node: node, isRunning: true)
                )
            }
            return said
        case .drain(let id): return leave(id, .draining, &fleet)
        case .lose(let id): return leave(id, .lost, &fleet)
        case .resize(let vm, let cores, let memoryMiB):
            guard let index = fleet.guests.firstIndex(where: { $0.vm == vm }) else { return [] }
            let old = fleet.guests.remove(at: index)
            var new = old
            new.request.cores = cores
            new.request.memoryMiB = memoryMiB
            new.request.node = nil
            let node = fleet.nodes.first { $0.id == old.node }
            let free = node.map { fleet.free($0) } ?? (cores: 0, memory: 0)
            let target =
                cores <= free.cores && memoryMiB <= free.memory
                ? nil : fleet.place(new.request, for: vm).node
            let fits = cores <= free.cores && memoryMiB <= free.memory
            new.node = target ?? old.node
            fleet.guests.append(fits || target != nil ? new : old)
            return [Said(vm: vm, node: target)]
        }
    }

    private func leave(_ id: NodeID, _ state: NodeState, _ fleet: inout NaiveFleet) -> [Said] {
        for index in fleet.nodes.indices where fleet.nodes[index].id == id {
            fleet.nodes[index].state = state
        }
        let leaving = fleet.on(id).sorted { left, right in
            let (first, second) = (left.request, right.request)
            if first.memoryMiB != second.memoryMiB { return first.memoryMiB > second.memoryMiB }
            if first.cores != second.cores { return first.cores > second.cores }
            return left.vm < right.vm
        }
        return leaving.map { guest in
            var guest = guest
            guest.request.node = nil
            fleet.guests.removeAll { $0.vm == guest.vm }
            let node = fleet.place(guest.request, for: guest.vm).node
            guest.node = node ?? id
            fleet.guests.append(guest)
            return Said(vm: guest.vm, node: node)
        }
    }

    @Test func aForecastOfTooManyOrOfNobodyIsRefused() {
        let fleet = Fleet(nodes: [node(1)])
        for (scenario, reason) in [
            (Scenario.add(count: 0, small), Reason.invalidFields),
            (.add(count: 100_001, small), .invalidFields),
            (.drain(node(9).id), .nodeNotFound), (.lose(node(9).id), .nodeNotFound),
            (.resize(vm(1), cores: 1, memoryMiB: 512), .vmNotFound),
        ] {
            #expect {
                try fleet.forecast(scenario)
            } throws: { ($0 as? Fault)?.reason == reason }
        }
    }
}

extension Forecast.Outcome {
    fileprivate var node: NodeID? {
        if case .goes(let decision) = self { decision.node } else { nil }
    }
}
