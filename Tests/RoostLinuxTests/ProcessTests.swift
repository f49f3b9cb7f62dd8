import Foundation
import RoostModel
import Testing

@testable import RoostLinux

@Suite("Processes", .serialized)
struct ProcessTests {
    @Test(arguments: ["sh", "a b", "x) R 1 (y", ")", "((", ") Z 9"])
    func aProcessNameCannotForgeTheStatLine(_ name: String) throws {
        let line = "42 (\(name)) S 7 42 42 0 -1 4194304 1 0 0 0 3 4 0 0 20 0 1 0 98765 1 2\n"
        let fields = try #require(statFields(Array(line.utf8)))
        #expect(fields[0] == "S" && fields[1] == "7" && fields[19] == "98765")
    }

    @Test func anIdentityIsOneProcessAndNotItsPid() throws {
        let own = try #require(ProcessIdentity(pid: getpid()))
        #expect(own.isAlive)
        #expect(!ProcessIdentity(pid: own.pid, startTicks: own.startTicks + 1).isAlive)
        #expect(ProcessIdentity(pid: 4_000_000) == nil)
        #expect(PidDescriptor(ProcessIdentity(pid: own.pid, startTicks: 1)) == nil)
    }

    @Test func whatWasSentSIGKILLIsBeingKilledUntilItIsReaped() async throws {
        let process = try ProcessSpawner.spawn(
            ProcessPlan(path: "/bin/sleep", arguments: ["sleep", "7390"], environment: [])
        )
        #expect(!ProcessTable.isBeingKilled(process.pid))
        try process.signal(SIGSTOP)
        #expect(!ProcessTable.isBeingKilled(process.pid))
        try process.signal(SIGKILL)
        #expect(ProcessTable.isBeingKilled(process.pid))
        #expect(await process.end() == .killed(signal: SIGKILL))
        #expect(!ProcessTable.isBeingKilled(process.pid))
    }

    @Test(arguments: [
        ("State:\tS (sleeping)\nShdPnd:\t0000000000000100\n", true),
        ("State:\tt (tracing stop)\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000004100\n", true),
        ("State:\tZ (zombie)\nShdPnd:\t0000000000000000\n", true),
        ("State:\tR (running)\nShdPnd:\t0000000000004000\n", false),
        ("Name:\tShdPnd:\\n100\nState:\tS (sleeping)\nShdPnd:\t0000000000000000\n", false),
        ("State:\n", false), ("", false),
    ])
    func aStatusTellsWhoIsBeingKilled(_ status: String, _ expected: Bool) {
        #expect(ProcessTable.isKilled(status: status) == expected)
    }

    @Test func aToolGetsItsArgumentsAsTheyAreAndNothingElse() async throws {
        let result = try await runTool(
            "/usr/bin/env",
            ["-u", "PWD", "/usr/bin/printf", "%s|", "a b", "$(id)", "", "é"],
            environment: ["ONLY=this"],
            deadline: .seconds(10)
        )
        #expect(result.text == "a b|$(id)||é|")
        let environment = try await runTool(
            "/usr/bin/env",
            [],
            environment: ["ONLY=this"],
            deadline: .seconds(10)
        )
        #expect(environment.text == "ONLY=this\n")
    }

    @Test func aChildSeesOnlyItsThreeDescriptorsAndItsOwnSession() async throws {
        let held = try streamPair()
        let list = try await runTool("/bin/ls", ["/proc/self/fd"], deadline: .seconds(10))
        // 3 is ls's own, of the directory it lists.
        #expect(list.text == "0\n1\n2\n3\n")
        withExtendedLifetime(held) {}
        let status = try await runTool("/bin/cat", ["/proc/self/stat"], deadline: .seconds(10))
        let fields = try #require(statFields(status.output))
        let pid = status.text.prefix { $0.isNumber }
        #expect(fields[3] == pid, "the session's leader is the child itself")
    }

    @Test func aToolThatHangsIsKilledAndReaped() async throws {
        let time = unmistakable()
        let fault = await #expect(throws: Fault.self) {
            try await runTool("/bin/sleep", [time], deadline: .milliseconds(50))
        }
        #expect(fault?.reason == .deadline)
        // It would sleep for years.
        #expect(ProcessTable.processes(withArgumentContaining: time).isEmpty)
    }

    @Test func aCancelledToolIsKilled() async throws {
        let time = unmistakable()
        let task = Task { try await runTool("/bin/sleep", [time], deadline: .seconds(60)) }
        task.cancel()
        let fault = await #expect(throws: Fault.self) { _ = try await task.value }
        #expect(fault?.reason == .opCancelled)
        #expect(ProcessTable.processes(withArgumentContaining: time).isEmpty)
    }

    @Test func outputIsBoundedAndTheToolStillEnds() async throws {
        let result = try await runTool(
            "/usr/bin/head",
            ["-c", "5000000", "/dev/zero"],
            deadline: .seconds(20),
            outputLimit: 1000
        )
        #expect(result.output.count == 1000 && result.succeeded)
    }

    @Test func aProgramThatIsNotThereIsNamed() async throws {
        let fault = await #expect(throws: Fault.self) {
            try await runTool("/nowhere/tool", [], deadline: .seconds(1))
        }
        #expect(fault?.metadata["path"] == "/nowhere/tool")
    }

    @Test func theEndOfAProcessTellsHowItEnded() async throws {
        let failed = try await runTool("/bin/false", [], deadline: .seconds(10))
        #expect(failed.end == .exited(code: 1))
        let plan = ProcessPlan(path: "/bin/sleep", arguments: ["sleep", "60"])
        let process = try ProcessSpawner.spawn(plan)
        #expect(await process.end(until: .now + .milliseconds(20)) == nil)
        try process.signal(SIGTERM)
        #expect(await process.end() == .killed(signal: SIGTERM))
        try process.signal(SIGTERM)
    }

    @Test func fourHundredToolsLeaveNoDescriptorBehind() async throws {
        _ = try await runTool("/bin/true", [], deadline: .seconds(10))
        let before = openDescriptors()
        for _ in 0..<100 {
            await withTaskGroup { group in
                for _ in 0..<4 {
                    group.addTask {
                        _ = try? await runTool("/bin/true", [], deadline: .seconds(10))
                    }
                }
            }
        }
        #expect(openDescriptors() <= before + 8, "other suites may hold a few")
    }
}

func openDescriptors() -> Int {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
}

/// Seconds that stand in no other process' arguments.
private func unmistakable() -> String { "\(UInt64.random(in: 70_000_000_000...79_999_999_999))" }
