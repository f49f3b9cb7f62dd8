import RoostModel
import RoostOperations
import RoostScheduler
import RoostStore
import Testing

@testable import RoostControl

/// Nodes say what they have; a VM had better go where its image is.
@Suite("Locality", .timeLimit(.minutes(1)))
struct LocalityTests {
    private static func digest(_ letter: Character) -> String {
        "sha256:" + String(repeating: letter, count: 64)
    }

    private static func shape(_ letter: Character, cores: Int = 1, disk: Int = 4) -> String {
        let image = String(repeating: letter, count: 16)
        return "\(image)-0000000000000000-c\(cores)-m512-d\(disk)-user"
    }

    private static let debian = NodeHoldings.Image(
        digest: digest("a"),
        names: ["debian-12", "docker.io/library/debian:12"],
        isDefault: true
    )
    private static let other = NodeHoldings.Image(digest: digest("b"), names: ["other"])

    // MARK: What is wished

    @Test(
        "an image is looked for as a catalogue reads its reference",
        arguments: [
            ("", [digest("a")]), ("debian-12", ["debian-12"]), ("other", ["other"]),
            ("debian:12", ["docker.io/library/debian:12"]), (digest("b"), [digest("b")]),
            ("sha256:bbbbbb", [digest("b")]), ("bbbbbbbb", [digest("b")]), ("bbbbb", []),
            ("nobody-has-it", []),
        ] as [(String, [String])]
    )
    func references(reference: String, wanted: [String]) {
        var index = HoldingsIndex()
        index.add(NodeHoldings(images: [Self.debian, Self.other]))
        var draft = VMDraft(name: "vm", cores: 1, memoryMiB: 512)
        draft.image = reference
        let rules = index.wishes(for: draft) {
            $0 == "debian:12" ? "docker.io/library/debian:12" : nil
        }
        #expect(
            rules == wanted.map { LocalityRule(Artifact(.image, $0), .preferred(weight: 100)) }
        )
    }

    @Test("nodes with different defaults are all welcome, the commonest first, and bounded")
    func defaults() {
        var index = HoldingsIndex()
        for letter in "abcdef" {
            let image = NodeHoldings.Image(digest: Self.digest(letter), isDefault: true)
            index.add(NodeHoldings(images: [image]))
            if letter == "e" { index.add(NodeHoldings(images: [image])) }
        }
        let rules = index.wishes(for: VMDraft(name: "vm")) { _ in nil }
        #expect(rules.map(\.artifact.name) == "eabc".map(Self.digest))
    }

    @Test("a disposable VM had better find a prepared machine of its kind, others need none")
    func templates() {
        var index = HoldingsIndex()
        index.add(
            NodeHoldings(
                images: [Self.debian, Self.other],
                templates: [
                    Self.shape("a"), Self.shape("a", cores: 2), Self.shape("a", disk: 8),
                    Self.shape("b"),
                ]
            )
        )
        var draft = VMDraft(name: "vm", cores: 1, memoryMiB: 512)
        func names() -> [String] {
            index.wishes(for: draft) { _ in nil }.filter { $0.artifact.kind == .template }
                .map(\.artifact.name)
        }
        #expect(names() == [])
        draft.disposable = true
        #expect(names() == [Self.shape("a"), Self.shape("a", disk: 8)])
        draft.rootDiskGiB = 8
        #expect(names() == [Self.shape("a", disk: 8)])
        draft.image = "other"
        #expect(names() == [])
        draft.rootDiskGiB = nil
        #expect(names() == [Self.shape("b")])
        draft.kernel = Self.digest("c")
        #expect(names() == [])
        draft.kernel = ""
        draft.coldBoot = true
        #expect(names() == [])
    }

    @Test("what nodes no longer have is not looked for any more")
    func forgotten() {
        var index = HoldingsIndex()
        let holdings = NodeHoldings(images: [Self.debian], templates: [Self.shape("a")])
        index.add(holdings)
        index.add(holdings)
        index.remove(holdings)
        var draft = VMDraft(name: "vm", cores: 1, memoryMiB: 512)
        draft.disposable = true
        for reference in ["", "debian-12", "aaaaaa"] {
            draft.image = reference
            #expect(index.wishes(for: draft) { _ in nil }.count == 2, "\(reference)")
        }
        index.remove(holdings)
        for reference in ["", "debian-12", "aaaaaa"] {
            draft.image = reference
            #expect(index.wishes(for: draft) { _ in nil } == [], "\(reference)")
        }
    }

    // MARK: What is decided

    @Test("a VM goes where its image is, and elsewhere when there is no room; why says so")
    func placed() async throws {
        try await withDesk(nodes: 3) { desk in
            desk.vms.parts.nodes.note(NodeID(bits: 2), holds: Self.simulated)
            let forecast = try await desk.fleet.whatIf(
                .add(count: 9, VMDraft(name: "what-if", cores: 2, memoryMiB: 512))
            )
            var places: [String] = []
            for number in 0..<9 {
                try await desk.place("vm-\(number)") { $0.cores = 2 }
                places.append(try await desk.place(of: "vm-\(number)"))
            }
            // Fourteen cores may be promised of each node.
            #expect(places.prefix(7) == Array(repeating: "node2", count: 7)[...])
            #expect(!places.suffix(2).contains("node2"))
            #expect(
                forecast.forecast.steps.compactMap { $0.outcome.node }
                    .map { desk.vms.parts.nodes.name($0) } == places
            )
            let account = try await desk.fleet.explain(
                "vm-0",
                project: "default",
                notOn: "node1"
            )
            let best = try #require(account.decision?.explanation.best)
            #expect(best.map(\.parts.locality) == [1_000_000, 0, 0])
            // What nodes have is not the VM's own rule.
            #expect(account.vm.spec.placement == nil)
            #expect(account.decision?.rules == PlacementRules())
        }
    }

    @Test(
        "a node that says something else counts as what it said last, and one that left not at all"
    )
    func changed() async throws {
        try await withDesk(nodes: 3) { desk in
            let nodes = desk.vms.parts.nodes
            nodes.note(NodeID(bits: 2), holds: Self.simulated)
            desk.heartbeat()
            let one = try await desk.place("one")
            #expect(one.status.node == NodeID(bits: 2))
            nodes.note(NodeID(bits: 2), holds: NodeHoldings())
            nodes.note(NodeID(bits: 3), holds: Self.simulated)
            let two = try await desk.place("two")
            #expect(two.status.node == NodeID(bits: 3))
            nodes.leave(NodeID(bits: 3))
            #expect(nodes.wishes(for: VMDraft(name: "vm")) == [])
        }
    }

    /// The default image of the desk's nodes, which say nothing by themselves.
    private static var simulated: NodeHoldings {
        NodeHoldings(images: [.init(digest: digest("d"), names: ["debian-12"], isDefault: true)])
    }

    // MARK: Rebalancing

    @Test("advice names VMs, nodes and reasons, and nothing moves")
    func advice() async throws {
        try await withDesk(nodes: 2) { desk in
            for number in 0..<4 {
                try await desk.place("vm-\(number)") { draft in
                    draft.cores = 3
                    draft.node = "node1"
                }
            }
            try await desk.place("broken") { draft in
                draft.node = "node2"
                draft.placement.requiredLabels = "!old"
            }
            _ = try await desk.fleet.change("node2", .labels(set: ["old": "yes"], remove: []))
            let before = try await desk.vms.parts.store.revision()
            let advice = try await desk.fleet.advise(minimumGain: 0, limit: 0)
            #expect(advice.moves.first.map { advice.names[$0.vm] } == "broken")
            #expect(advice.moves.first?.reason == .broken(.requiredLabels))
            #expect(
                advice.moves.first.map { advice.texts[$0.vm] }
                    == "node2 would not do: labels are not !old"
            )
            #expect(advice.moves.dropFirst().allSatisfy { $0.from == NodeID(bits: 1) })
            #expect(advice.moves.count == 3)
            #expect(try await desk.fleet.advise(minimumGain: 0, limit: 1).moves.count == 1)
            #expect(try await desk.fleet.advise(minimumGain: 10_000_000, limit: 0).moves.count == 1)
            #expect(try await desk.vms.parts.store.revision() == before)
        }
    }

    @Test("a VM is not sent away from its image for room")
    func imagesHold() async throws {
        try await withDesk(nodes: 2) { desk in
            for number in 0..<3 {
                try await desk.place("vm-\(number)") { draft in
                    draft.cores = 4
                    draft.node = "node1"
                }
            }
            #expect(try await desk.fleet.advise(minimumGain: 0, limit: 0).moves.count == 1)
            let image = try await desk.vms.get("vm-0", project: "default").row.spec.image
            desk.vms.parts.nodes.note(
                NodeID(bits: 1),
                holds: NodeHoldings(images: [.init(digest: image)])
            )
            #expect(try await desk.fleet.advise(minimumGain: 0, limit: 0).moves == [])
        }
    }

    @Test("bounds of advice are refused by their fields")
    func badAdvice() async throws {
        try await withDesk { desk in
            let failure = await fault { () async throws(Fault) in
                _ = try await desk.fleet.advise(minimumGain: -1, limit: 1_001)
            }
            #expect(failure?.violations.map(\.field) == ["minimum_gain", "limit"])
        }
    }
}

extension Forecast.Outcome {
    fileprivate var node: NodeID? {
        if case .goes(let decision) = self { decision.node } else { nil }
    }
}
