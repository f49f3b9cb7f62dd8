import Foundation
import RoostGuestWire
import RoostModel
import RoostNode
import Testing

@Suite("Exec", .serialized)
struct ExecTests {
    @Test func outputIsApartAndTheCodeIsTheCommands() async throws {
        try await withAgent { guest in
            let session = try await guest.exec(
                command("sh", "-c", "echo out; echo err >&2; exit 7")
            )
            let outcome = try await session.outcome()
            #expect(outcome == Outcome(stdout: "out\n", stderr: "err\n", status: .init(.code(7))))
        }
    }

    @Test func inputIsEndedByHalfClosing() async throws {
        try await withAgent { guest in
            var request = command("wc", "-c")
            request.hasInput = true
            let session = try await guest.exec(request)
            try await session.write(Array(repeating: 65, count: 1_000_000))
            try session.endInput()
            #expect(try await session.outcome().stdout == "1000000\n")
        }
    }

    @Test func aCommandWithoutInputReadsNothing() async throws {
        try await withAgent { guest in
            let outcome = try await guest.exec(command("cat")).outcome()
            #expect(outcome.status == .init(.code(0)))
        }
    }

    @Test func environmentDirectoryAndUserAreTheRequests() async throws {
        try await withAgent { guest in
            var request = command("sh", "-c", "echo $A $HOME $TERM; pwd; id -u; id -g")
            request.environment = ["A=1"]
            request.directory = "/usr"
            request.user = "12:34"
            let outcome = try await guest.exec(request).outcome()
            #expect(outcome.stdout == "1 /\n/usr\n12\n34\n" || getuid() != 0)
        }
    }

    @Test(arguments: [("no-such-command", "127"), ("/etc/passwd", "126"), ("/no/such", "127")])
    func whatCannotRunSaysSoWithTheShellsCode(name: String, code: String) async throws {
        try await withAgent { guest in
            await #expect {
                try await guest.exec(command(name))
            } throws: { error in
                let fault = error as? Fault
                return fault?.reason == .commandNotFound && fault?.metadata["exitCode"] == code
            }
        }
    }

    @Test func anUnknownUserOrDirectoryRunsNothing() async throws {
        try await withAgent { guest in
            var request = command("true")
            request.user = "nobody-here"
            await #expect { try await guest.exec(request) } throws: {
                ($0 as? Fault)?.reason == .invalidFields
            }
            request = command("true")
            request.directory = "/no/such"
            await #expect { try await guest.exec(request) } throws: {
                ($0 as? Fault)?.reason == .pathNotFound
            }
        }
    }

    @Test func aTerminalHasItsSizeItsCtrlCAndItsResize() async throws {
        try await withAgent { guest in
            var request = command("sh", "-c", "stty size; read x; stty size; exec sleep 60")
            request.terminal = TerminalSize(rows: 30, columns: 100)
            request.hasInput = true
            let session = try await guest.exec(request)
            var text = ""
            while !text.contains("30 100") {
                guard case .stdout(let bytes) = try await session.next() else { break }
                text += String(decoding: bytes, as: UTF8.self)
            }
            try session.resize(TerminalSize(rows: 40, columns: 120))
            try await session.write(Array("\n".utf8))
            while !text.contains("40 120") {
                guard case .stdout(let bytes) = try await session.next() else { break }
                text += String(decoding: bytes, as: UTF8.self)
            }
            try await session.write([3])
            #expect(try await session.outcome().status == .init(.signal(2)))
        }
    }

    @Test func signalsReachTheWholeGroupAndTimeoutsEndIt() async throws {
        try await withAgent { guest in
            let session = try await guest.exec(command("sh", "-c", "sleep 60; true"))
            try session.signal(15)
            #expect(try await session.outcome().status == .init(.signal(15)))
            var slow = command("sleep", "60")
            slow.timeoutMilliseconds = 20
            let status = try await guest.exec(slow).outcome().status
            #expect(status == CommandEnd(.signal(15), timedOut: true))
        }
    }

    // A grandchild that keeps the pipe must not keep the session.
    @Test func theEndDoesNotWaitForGrandchildren() async throws {
        try await withAgent { guest in
            let outcome = try await guest.exec(command("sh", "-c", "sleep 3 & echo x")).outcome()
            #expect(outcome == Outcome(stdout: "x\n", status: .init(.code(0))))
        }
    }

    @Test func aRepeatedIdAttachesAndNeverRunsTwice() async throws {
        try await withDirectory { directory in
            try await withAgent { guest in
                let request = command("sh", "-c", "echo run >> \(directory)/log; echo done")
                let first = try await guest.exec(request).outcome()
                let again = try await guest.exec(request)
                #expect(again.attached)
                #expect(try await again.outcome().status == first.status)
                #expect(try String(contentsOfFile: "\(directory)/log", encoding: .utf8) == "run\n")
                var other = request
                other.arguments = ["true"]
                await #expect(throws: Fault.self) { try await guest.exec(other) }
            }
        }
    }

    @Test func aDetachedSessionGoesOnAndIsReadAgainFromAnyKeptByte() async throws {
        try await withAgent { guest in
            var request = command("sh", "-c", "echo one; read x; echo two$x")
            request.hasInput = true
            let session = try await guest.exec(request)
            #expect(try await session.next() == .stdout(Array("one\n".utf8)))
            session.detach()
            #expect(try await guest.sessions().map(\.session) == [request.session])
            let again = try await guest.attach(request.session, from: 0)
            #expect(again.attached)
            try await again.write(Array("!\n".utf8))
            let outcome = try await again.outcome()
            #expect(outcome.stdout.hasSuffix("two!\n"))
            #expect(outcome.status == .init(.code(0)))
        }
    }

    @Test func whoeverIsDisplacedByALaterReaderHearsSo() async throws {
        try await withAgent { guest in
            var request = command("cat")
            request.hasInput = true
            let first = try await guest.exec(request)
            let second = try await guest.attach(request.session, from: 0)
            do throws(Fault) {
                while try await first.next() != nil {}
                Issue.record("the first reader heard nothing")
            } catch {
                #expect(error.reason == .sessionTakenOver)
                #expect(error.remedy.contains("the same op id attaches again"))
            }
            try await second.write(Array("on\n".utf8))
            try second.endInput()
            let outcome = try await second.outcome()
            #expect(outcome.stdout == "on\n")
            #expect(outcome.status == .init(.code(0)))
        }
    }

    @Test func killOnDetachKills() async throws {
        try await withAgent { guest in
            var request = command("sleep", "60")
            request.onDetach = .kill
            let session = try await guest.exec(request)
            session.detach()
            let status = try await guest.attach(request.session, from: 0).outcome().status
            #expect(status == .init(.signal(9)))
        }
    }

    @Test func aGibibyteThroughASlowReaderCostsNoMemoryToSpeakOf() async throws {
        try await withAgent { guest in
            let session = try await guest.exec(command("head", "-c", "1073741824", "/dev/zero"))
            let before = residentBytes()
            var count = 0
            var chunks = 0
            while let output = try await session.next() {
                if case .stdout(let bytes) = output { count += bytes.count }
                chunks += 1
                if chunks % 64 == 0 { await Task.yield() }
            }
            #expect(count == 1 << 30)
            #expect(residentBytes() - before < 64 << 20)
        }
    }

    @Test func manySessionsAtOnceAllGetTheirOwnOutput() async throws {
        try await withAgent { guest in
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<40 {
                    group.addTask {
                        let text = try await guest.exec(command("echo", "\(number)")).outcome()
                        return text.stdout == "\(number)\n"
                    }
                }
                for try await isRight in group { #expect(isRight) }
            }
        }
    }
}

private func residentBytes() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    return (status.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4_096
}
