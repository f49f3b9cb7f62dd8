import ArgumentParser
import RoostAPI
import RoostModel
import Testing

@testable import RoostCommands

@Suite("The flags of placement")
struct PlacementOptionsTests {
    private func rules(_ words: String...) async throws -> Roost_Fleet_V1_Placement {
        // With a command around it: completions that ask a daemon need one.
        try await WhatIfAdd.asyncParse(["1"] + words).placement.rules()
    }

    @Test("say what the API's fields mean")
    func fields() async throws {
        let rules = try await rules(
            "--not-node",
            "n1",
            "--not-node",
            "n2",
            "--prefer-node",
            "n3:80",
            "--prefer-node",
            "n4",
            "--require-label",
            "disk=ssd",
            "--require-label",
            "!old",
            "--affinity",
            "db",
            "--anti-affinity",
            "app=web",
            "--anti-affinity",
            "app=web,!old:30",
            "--spread-over",
            "rack",
            "--spread-over",
            "zone:3",
            "--toleration",
            "gpu",
            "--toleration",
            "gpu=yes:preferNoSchedule"
        )
        #expect(rules.excludedNodes == ["n1", "n2"])
        #expect(rules.preferredNodes.map(\.node) == ["n3", "n4"])
        #expect(rules.preferredNodes.map(\.weight) == [80, 0])
        #expect(rules.requiredLabels == "disk=ssd,!old")
        #expect(rules.affinities.map(\.kind) == [.together, .apart, .apart])
        #expect(rules.affinities.map(\.vm) == ["db", "", ""])
        #expect(rules.affinities.map(\.selector) == ["", "app=web", "app=web,!old"])
        #expect(rules.affinities.map(\.weight) == [0, 0, 30])
        #expect(rules.spreads.map(\.over) == ["rack", "zone"])
        #expect(rules.spreads.map(\.maxSkew) == [1, 3])
        #expect(rules.tolerations.map(\.hasValue) == [false, true])
        #expect(rules.tolerations.map(\.effect) == [.unspecified, .preferNoSchedule])
        let none = try await self.rules()
        #expect(none == Roost_Fleet_V1_Placement())
    }

    @Test(
        "that cannot be read are named",
        arguments: [
            ("--prefer-node", "n1:0"), ("--prefer-node", "n1:101"), ("--prefer-node", ":5"),
            ("--affinity", "db:x"), ("--anti-affinity", ""), ("--spread-over", "rack:0"),
            ("--spread-over", "a:1:2"), ("--spread-over", ""), ("--toleration", "a:sometimes"),
            ("--toleration", "=x"),
        ]
    )
    func bad(flag: String, value: String) async throws {
        do {
            _ = try await rules(flag, value)
            Issue.record("\(flag) \(value) was taken")
        } catch let error as Fault {
            #expect(error.violations.map(\.field) == [flag])
        }
    }

    @Test("a shape is cores and memory", arguments: [("2c4g", 2, 4096), ("1C512m", 1, 512)])
    func shapes(text: String, cores: Int, memory: Int) throws {
        let found = try shape(text)
        #expect(Int(found.cores) == cores && Int(found.memoryMiB) == memory)
    }

    @Test("a shape without sense is refused", arguments: ["", "2c", "c4g", "2", "0c1g", "-1c1g"])
    func badShape(text: String) {
        #expect(throws: Fault.self) { try shape(text) }
    }
}
