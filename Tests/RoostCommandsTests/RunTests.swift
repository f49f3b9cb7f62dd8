import ArgumentParser
import RoostAPI
import RoostLinux
import RoostModel
import Synchronization
import Testing

@testable import RoostCommands

@Suite struct RunTests {
    @Test func anUnnamedVMIsGoneAfterItsCommandAndANamedOneStays() async throws {
        try await FakeDaemon.serving { daemon in
            let once = try await daemon.roost("run", "--", "exit", "7")
            #expect(once == .init(status: 7, output: "", errors: ""))
            #expect(daemon.vms.state.withLock { $0.vms.isEmpty && $0.trash.isEmpty })
            #expect(daemon.vms.state.withLock { $0.lastCreate?.spec.disposable } == true)
            #expect(daemon.vms.state.withLock { $0.lastDelete?.force } == true)
            let kept = try await daemon.roost("run", "--name", "box", "--", "exit", "0")
            #expect(kept.status == 0)
            #expect(daemon.vms.state.withLock { Array($0.vms.keys) } == ["box"])
        }
    }

    @Test func outputsStayApartAndInputIsPassedOnToItsEnd() async throws {
        try await FakeDaemon.serving { daemon in
            let both = try await daemon.roost("run", "--", "both")
            #expect(both == .init(status: 0, output: "out\n", errors: "err\n"))
            let text = String(repeating: "hello\n", count: 50_000)
            let cat = try await daemon.roost("run", "--", "cat", input: text)
            #expect(cat == .init(status: 0, output: text, errors: ""))
        }
    }

    @Test func theImagesEntrypointCountsUnlessAnotherIsNamed() async throws {
        try await FakeDaemon.serving { daemon in
            _ = try await daemon.roost("run", "debian", "--", "args", "a")
            _ = try await daemon.roost("run", "debian", "--entrypoint", "args", "--", "b")
            _ = try await daemon.roost("run", "debian", "--entrypoint", "", "--", "args")
            let starts = daemon.guest.starts.withLock { $0 }
            #expect(starts.map(\.imageCommand) == [true, false, false])
            #expect(starts.map(\.arguments) == [["args", "a"], ["args", "b"], ["args"]])
        }
    }

    @Test func theFlagsBecomeTheRequest() async throws {
        try await FakeDaemon.serving { daemon in
            let outcome = try await daemon.roost(
                "run",
                "debian",
                "--name",
                "box",
                "-c",
                "3",
                "-m",
                "1g",
                "--disk",
                "8",
                "-p",
                "8080:80/udp",
                "-l",
                "app=web",
                "--kernel",
                "k",
                "--no-net",
                "-d"
            )
            #expect(outcome == .init(status: 0, output: "box\n", errors: ""))
            let request = try #require(daemon.vms.state.withLock { $0.lastCreate })
            #expect(request.spec.cpu.cores == 3 && request.spec.memory.sizeMib == 1024)
            #expect(request.spec.disk.sizeGib == 8 && request.spec.image == "debian")
            #expect(request.spec.ports.map(portText) == ["127.0.0.1:8080->80/udp"])
            #expect(request.labels == ["app": "web"] && request.spec.kernel == "k")
            #expect(request.spec.network.mode == .none && request.startOnCreate)
            #expect(!request.spec.disposable)
        }
    }

    @Test func whatFailsBeforeTheCommandIs125AndLeavesNothing() async throws {
        try await FakeDaemon.serving { daemon in
            #expect(try await daemon.roost("run", "--", "nonsense").status == 127)
            #expect(daemon.vms.state.withLock { $0.vms.isEmpty })
            daemon.vms.state.withLock {
                $0.createFailure = Fault(.bootTimeout, "the guest did not answer")
            }
            let outcome = try await daemon.roost("run", "--name", "box", "--", "exit", "0")
            #expect(outcome.status == 125)
            #expect(daemon.vms.state.withLock { $0.lastDelete?.id } == "box")
            #expect(try await daemon.roost("run").status == 125)
            #expect(try await daemon.roost("run", "-t", "--", "cat").status == 125)
        }
    }

    @Test func aTakenNameLeavesTheOtherVMAlone() async throws {
        try await FakeDaemon.serving { daemon in
            daemon.vms.add(FakeVMs.vm("box"))
            let outcome = try await daemon.roost("run", "--name", "box", "--", "exit", "0")
            #expect(outcome.status == 125)
            #expect(
                outcome.errors.contains("hint: choose another name, or remove it: roost rm box")
            )
            #expect(daemon.vms.state.withLock { $0.vms.keys.contains("box") })
        }
    }

    @Test func aDryRunMakesNothing() async throws {
        try await FakeDaemon.serving { daemon in
            let outcome = try await daemon.roost("run", "--dry-run", "--name", "x", "--", "cat")
            #expect(outcome.status == 0)
            #expect(outcome.output.hasPrefix("id: "))
            #expect(daemon.vms.state.withLock { $0.vms.isEmpty && $0.lastDelete == nil })
        }
    }
}

@Suite struct ExecuteTests {
    @Test(arguments: [["box", "--", "args", "-x", "--", "y"], ["box", "args", "-x", "--", "y"]])
    func theTerminatorBehindTheVMIsOptional(words: [String]) async throws {
        try await FakeDaemon.serving { daemon in
            daemon.vms.add(FakeVMs.vm("box"))
            let arguments = ["exec", "-e", "A=1", "-e", "HOME", "-u", "me", "-w", "/d"] + words
            let outcome = try await daemon.roost(arguments)
            #expect(outcome.output == "-x -- y A=1 HOME=\(daemon.directory) me /d\n")
            let start = try #require(daemon.guest.starts.withLock { $0.first })
            #expect(start.killOnDetach && start.hasStdin_p && !start.hasTerminal)
            #expect(OperationID(start.session) != nil)
        }
    }

    @Test func aMissingVMIs125AndAMissingCommand127() async throws {
        try await FakeDaemon.serving { daemon in
            let missing = try await daemon.roost("exec", "box", "cat")
            #expect(missing.status == 125)
            daemon.vms.add(FakeVMs.vm("box"))
            #expect(try await daemon.roost("exec", "box", "nonsense").status == 127)
            #expect(try await daemon.roost("exec", "box", "--").status == 125)
        }
    }

    @Test func aDetachedCommandIsLeftAtOnce() async throws {
        try await FakeDaemon.serving { daemon in
            daemon.vms.add(FakeVMs.vm("box"))
            let outcome = try await daemon.roost("exec", "-d", "box", "wait-signal")
            #expect(outcome.status == 0)
            #expect(daemon.guest.starts.withLock { $0.first?.killOnDetach } == false)
        }
    }

    @Test func signalsReachTheCommandAndASecondInterruptGivesUp() async throws {
        try await FakeDaemon.serving { fake in
            fake.vms.add(FakeVMs.vm("box"))
            let ended = try await fake.session("wait-signal", signals: [15])
            #expect(ended == 128 + 15)
            // `cat` does not end by a signal.
            let givenUp = try await fake.session("cat", signals: [2, 2])
            #expect(givenUp == 130)
        }
    }
}

extension FakeDaemon {
    /// A command with input that stays open, and signals that come at once.
    func session(_ command: String, signals: [Int32]) async throws -> Int32 {
        let (ours, theirs) = try streamPair()
        let invocation = Invocation(environment: [:], input: theirs.number)
        let place = try DaemonPlace(
            socketFlag: socket,
            stateFlag: directory,
            environment: [:],
            isRoot: false,
            workingDirectory: "/"
        )
        let (stream, continuation) = AsyncStream<Int32>.makeStream()
        for signal in signals { continuation.yield(signal) }
        let status = try await Daemon.connected(to: place) { daemon in
            let options = try GuestCommandOptions.parse([])
            let command = try GuestCommand(
                vm: "box",
                project: "",
                arguments: [command],
                options: options,
                operation: OpTicket(newOperation()),
                in: invocation
            )
            return try await GuestSession(
                daemon: daemon,
                command: command,
                invocation: invocation,
                signals: stream
            ).run()
        }
        await ours.close()
        return status
    }

    func roost(_ arguments: [String]) async throws -> Outcome {
        try await roost(arguments, input: "", environment: [:])
    }
}
