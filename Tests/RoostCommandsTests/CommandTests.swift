import RoostAPI
import RoostModel
import RoostTestKit
import SwiftProtobuf
import Synchronization
import Testing

@testable import RoostCommands

@Suite struct CommandTests {
    @Test func listsAreOneArrayAndEmptyIsAnEmptyArray() async throws {
        try await FakeDaemon.serving { daemon in
            let empty = try await daemon.roost("ls", "-o", "json")
            #expect(empty == .init(status: 0, output: "[]\n", errors: ""))
            for name in ["c", "a", "b"] { daemon.vms.add(FakeVMs.vm(name)) }
            let names = try await daemon.roost("ps", "-q")
            #expect(names.output == "a\nb\nc\n")
            let json = try await daemon.roost("ls", "-o", "json")
            #expect(try goldenDifference(json.output, named: "ls.json") == nil)
            let yaml = try await daemon.roost("ls", "-o", "yaml")
            #expect(try goldenDifference(yaml.output, named: "ls.yaml") == nil)
        }
    }

    @Test func everyPageOfAListIsFetched() async throws {
        try await FakeDaemon.serving { daemon in
            for name in ["a", "b", "c"] { daemon.vms.add(FakeVMs.vm(name)) }
            _ = try await daemon.roost("ls")
            #expect(daemon.vms.state.withLock { $0.pageSizes } == [1000, 1000])
        }
    }

    @Test func anErrorSaysWhatAndTheOpAndTheRemedyAndHasItsStatus() async throws {
        try await FakeDaemon.serving { daemon in
            let id = "op-01jd0000000000000000abcdef"
            let outcome = try await daemon.roost("--op-id", id, "start", "box")
            #expect(outcome.status == 3)
            #expect(outcome.output.isEmpty)
            let wanted =
                "error: there is no VM 'box' (op-abcdef)\nhint: list the VMs: roost ls -a\n"
            #expect(outcome.errors == wanted)
            #expect(daemon.vms.state.withLock { $0.operations.map(\.description) } == [id])
        }
    }

    @Test func eachTargetOfABulkCommandIsReported() async throws {
        try await FakeDaemon.serving { daemon in
            for name in ["a", "b"] {
                var vm = FakeVMs.vm(name)
                vm.labels = ["app": "web"]
                daemon.vms.add(vm)
            }
            let some = try await daemon.roost("stop", "a", "gone", "b", "-t", "5s")
            #expect(some.status == 3)
            #expect(some.output == "a  stopped\nb  stopped\n")
            #expect(some.errors.hasPrefix("error: gone: there is no VM 'gone'"))
            let again = try await daemon.roost("stop", "-l", "app=web")
            #expect(
                Set(again.output.split(separator: "\n")) == [
                    "a  already stopped", "b  already stopped",
                ]
            )
            #expect(daemon.vms.state.withLock { $0.requests }.contains("stop grace 5 a"))
            let ids = daemon.vms.state.withLock { $0.operations }
            #expect(Set(ids).count == ids.count)
            let none = try await daemon.roost("stop", "-l", "app=none")
            #expect(none.status == 0)
            #expect(none.errors == "note: no VM matches 'app=none'\n")
        }
    }

    @Test func aVMIsChangedByMaskAndLabelsKeepTheOthers() async throws {
        try await FakeDaemon.serving { daemon in
            var vm = FakeVMs.vm("box")
            vm.labels = ["keep": "1", "old": "2"]
            daemon.vms.add(vm)
            let outcome = try await daemon.roost(
                "set",
                "box",
                "-m",
                "1g",
                "-p",
                "8080:80",
                "--label",
                "new=3",
                "--label",
                "old-"
            )
            #expect(outcome.status == 0)
            let request = try #require(daemon.vms.state.withLock { $0.lastUpdate })
            #expect(request.updateMask.paths == ["spec.memory", "spec.ports", "labels"])
            #expect(request.vm.spec.memory.sizeMib == 1024)
            #expect(request.vm.labels == ["keep": "1", "new": "3"])
            #expect(request.etag == "e1")
            #expect(try await daemon.roost("set", "box").status == 2)
        }
    }

    @Test func removedVMsComeBackOrGoForGood() async throws {
        try await FakeDaemon.serving { daemon in
            daemon.vms.add(FakeVMs.vm("box"))
            let removed = try await daemon.roost("rm", "-f", "box")
            #expect(removed.status == 0)
            #expect(daemon.vms.state.withLock { $0.lastDelete?.force } == true)
            #expect(daemon.vms.state.withLock { $0.lastDelete?.purge } == false)
            #expect(try await daemon.roost("ls", "-q").output == "")
            #expect(try await daemon.roost("ls", "-a", "-q").output == "box\n")
            #expect(try await daemon.roost("undelete", "box").status == 0)
            #expect(try await daemon.roost("rm", "box").status == 0)
            #expect(try await daemon.roost("purge", "--all").status == 0)
            #expect(try await daemon.roost("undelete", "box").status == 3)
        }
    }

    @Test func waitingEndsWithTheStateOrWithTheTime() async throws {
        try await FakeDaemon.serving { daemon in
            daemon.vms.add(FakeVMs.vm("up"))
            daemon.vms.add(FakeVMs.vm("broken", .failed))
            let up = try await daemon.roost("wait", "up", "--for", "running,paused")
            #expect(up == .init(status: 0, output: "RUNNING\n", errors: ""))
            let broken = try await daemon.roost("wait", "broken", "--for", "running")
            #expect(broken.status == 1)
            #expect(broken.errors.contains("'broken' is FAILED: asked for"))
            let late = try await daemon.roost("wait", "up", "--for", "stopped", "--timeout", "1ms")
            #expect(late.status == 124)
            #expect(try await daemon.roost("wait", "up", "--for", "happy").status == 2)
        }
    }

    @Test func logsShowAllOrTheLastLinesAndGoOn() async throws {
        try await FakeDaemon.serving { daemon in
            let all = try await daemon.roost("logs", "box")
            #expect(all.output.hasSuffix("line 100\n"))
            let tail = try await daemon.roost("logs", "box", "--tail", "2")
            #expect(tail.output == "line 99\nline 100\n")
            let following = try await daemon.roost("logs", "-f", "box", "--tail", "1")
            #expect(following.output == "line 100\nmore\n")
        }
    }

    @Test func theDoctorFailsWhenACheckDoesOrSomethingLeaks() async throws {
        try await FakeDaemon.serving { daemon in
            let healthy = try await daemon.roost("doctor")
            #expect(healthy.status == 0)
            #expect(try await daemon.roost("doctor", "--leaks").output == "no leaks\n")
            daemon.about.findings.withLock {
                $0 = [
                    .with {
                        $0.id = "qemu.version"
                        $0.title = "QEMU"
                        $0.verdict = .fail
                        $0.detail = "missing"
                        $0.fix = "apt-get install qemu-system-x86"
                    }
                ]
            }
            daemon.about.leaks.withLock { $0 = [.with { $0.kind = "process" }] }
            let sick = try await daemon.roost("doctor")
            #expect(sick.status == 1)
            #expect(sick.output.contains("fix for qemu.version: apt-get install qemu-system-x86"))
            #expect(try await daemon.roost("doctor", "--leaks", "-o", "json").status == 1)
        }
    }

    @Test func diskUsageIsATableWithItsTotalAndSaysWhoDidNotAnswer() async throws {
        try await FakeDaemon.serving { daemon in
            let share = { (bytes: Int64, unique: Int64) in
                Roost_Ops_V1_UsageShare.with {
                    $0.bytes = bytes
                    $0.uniqueBytes = unique
                    $0.sharedBytes = bytes - unique
                }
            }
            daemon.usage.answer.withLock {
                $0.items = [
                    .with {
                        $0.kind = .vm
                        $0.name = "box"
                        $0.state = "RUNNING"
                        $0.id = String(repeating: "b", count: 32)
                        $0.disk = share(3 << 20, 1 << 20)
                        $0.memory = share(64 << 20, 64 << 20)
                        $0.sharedWith = ["copy"]
                        $0.node = "node1"
                    },
                    .with {
                        $0.kind = .checkpoint
                        $0.name = "box@1a2b3c4d"
                        $0.disk = share(2 << 20, 512 << 10)
                        $0.sharedWith = ["box", "copy"]
                        $0.node = "node1"
                    },
                    .with {
                        $0.kind = .total
                        $0.name = "total"
                        $0.disk = share(5 << 20, 3 << 20)
                        $0.memory = share(64 << 20, 64 << 20)
                        $0.node = "node1"
                        $0.diskFreeBytes = 7 << 30
                        $0.memoryFreeBytes = 1 << 30
                    },
                ]
            }
            let short = try await daemon.roost("df")
            let wide = try await daemon.roost("df", "-o", "wide")
            let json = try await daemon.roost("df", "-o", "json")
            #expect(short.status == 0)
            let text = short.output + "\n" + wide.output + "\n" + json.output
            #expect(try goldenDifference(text, named: "df.txt") == nil)
            daemon.usage.answer.withLock {
                $0.gaps = [
                    .with {
                        $0.node = "node2"
                        $0.problem = "it is away"
                    }
                ]
            }
            let partial = try await daemon.roost("df", "-o", "name")
            #expect(partial.status == 1 && partial.output == "box\nbox@1a2b3c4d\ntotal\n")
            #expect(partial.errors.contains("node2 did not answer: it is away"))
        }
    }

    @Test func aWatchWritesALineForEachChange() async throws {
        try await FakeDaemon.serving { daemon in
            daemon.vms.add(FakeVMs.vm("a"))
            let outcome = try await daemon.roost("ls", "--watch")
            #expect(outcome.output == "a  RUNNING  asked for\n")
        }
    }

    @Test func aBusyOlderDaemonIsNamedAndUsed() async throws {
        try await FakeDaemon.serving { daemon in
            daemon.about.info.withLock {
                $0.version = "0.0.1"
                $0.busy = true
                $0.busyWith = ["2 operations"]
            }
            let outcome = try await daemon.roost("ls", "-q")
            #expect(outcome.status == 0)
            #expect(outcome.errors.contains("busy with 2 operations"))
            let stop = try await daemon.roost("daemon", "stop")
            #expect(stop.status == 4)
        }
    }

    @Test func withoutADaemonTheStatusIsUnavailable() async throws {
        try await FakeDaemon.serving { daemon in
            let nobody = ["ROOST_SOCKET": daemon.directory + "/none.sock", "PATH": "/nonexistent"]
            let status = try await daemon.roost("daemon", "status", environment: nobody)
            #expect(status.status == 6)
            #expect(status.errors.contains("hint: start it: roost daemon start"))
            let list = try await daemon.roost("ls", environment: nobody)
            #expect(list.status == 6)
            let version = try await daemon.roost("version", environment: nobody)
            #expect(version.output.contains("not running"))
        }
    }

    static let usages: [([String], Int32)] = [
        (["frobnicate"], 2), (["ls", "--nope"], 2), (["run", "--nope"], 125), (["exec"], 125),
        (["start"], 2), (["--version"], 0), (["help", "run"], 0), (["image"], 0),
        (["completion", "frob"], 2), (["ls", "--socket", "/x", "--op-id", "1"], 2),
    ]

    @Test(arguments: usages)
    func usageErrorsHaveTheirOwnStatus(words: [String], status: Int32) async {
        let quiet = Invocation(environment: [:], output: -1, errors: -1)
        let found = await roostMain(words, in: quiet)
        // Help goes to an output that is not there; that is no usage error.
        #expect(status == 0 ? [0, 141].contains(found) : found == status)
    }
}

@Suite struct ExitStatusTests {
    @Test func everyReasonHasTheStatusOfTheTable() throws {
        let lines = Reason.allCases.map { reason in
            "\(reason.rawValue) \(ExitStatus.of(reason)) \(ExitStatus.ofCommand(Fault(reason, "")))\n"
        }
        let text = "REASON STATUS STATUS-OF-RUN\n" + lines.joined()
        #expect(try goldenDifference(text, named: "exit-status.txt") == nil)
    }

    @Test func aWholeHasTheStatusThatItsPartsShare() {
        #expect(ExitStatus.ofAll([]) == 0)
        #expect(ExitStatus.ofAll([0, 3, 0, 3]) == 3)
        #expect(ExitStatus.ofAll([3, 4]) == 1)
    }
}
