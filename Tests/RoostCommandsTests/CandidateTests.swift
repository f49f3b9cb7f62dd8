import Testing

@testable import RoostCommands

@Suite struct CandidateTests {
    @Test func namesComeFromTheDaemonAndBeginAsTyped() async throws {
        try await FakeDaemon.serving { daemon in
            for name in ["box", "bird", "web"] { daemon.vms.add(FakeVMs.vm(name)) }
            let environment = ["HOME": daemon.directory, "ROOST_SOCKET": daemon.socket]
            func names(_ words: [String], _ prefix: String) async -> [String] {
                await Candidates.$patience.withValue(.seconds(60)) {
                    await Candidates.vms.names(
                        words: words,
                        prefix: prefix,
                        environment: environment
                    )
                }
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
            let words = [
                "---completion", "stop", "--", "positional@0", "2", "0", "roost", "stop", "",
            ]
            let outcome = try await Candidates.$patience.withValue(.seconds(60)) {
                try await daemon.roost(words, input: "", environment: [:])
            }
            #expect(outcome == .init(status: 0, output: "box\nweb\n", errors: ""))
        }
    }
}
