import Testing

@testable import RoostCommands

@Suite struct CandidateTests {
    @Test func namesComeFromTheDaemonAndBeginAsTyped() async throws {
        try await FakeDaemon.serving { daemon in
            for name in ["box", "bird", "web"] { daemon.vms.add(FakeVMs.vm(name)) }
            let environment = ["HOME": daemon.directory, "ROOST_SOCKET": daemon.socket]
            func names(_ words: [String], _ prefix: String) async -> [String] {
                await Candidates.vms.names(words: words, prefix: prefix, environment: environment)
            }
            #expect(await names(["roost", "stop", "b"], "b") == ["bird", "box"])
            #expect(await names(["roost", "stop", ""], "") == ["bird", "box", "web"])
            let nowhere = ["roost", "stop", "--socket", daemon.directory + "/none", ""]
            #expect(await names(nowhere, "") == [])
            #expect(await names(["roost", "stop", "--context", "gone", ""], "") == [])
            // What stands behind -- is the guest's.
            #expect(await names(["roost", "exec", "--", "--socket", "/none"], "w") == ["web"])
        }
    }

    @Test func theParsersOwnCallAnswersWithTheNames() async throws {
        try await FakeDaemon.serving { daemon in
            for name in ["box", "web"] { daemon.vms.add(FakeVMs.vm(name)) }
            let outcome = try await daemon.roost(
                "---completion",
                "stop",
                "--",
                "positional@0",
                "2",
                "0",
                "roost",
                "stop",
                ""
            )
            #expect(outcome == .init(status: 0, output: "box\nweb\n", errors: ""))
        }
    }
}
