import Foundation
import RoostDriver
import RoostDriverQEMU
import RoostHost
import RoostLinux
import RoostModel
import Testing

@Suite("A VMM's life", .serialized)
struct LifeTests {
    @Test func aStartedGuestRunsAndAKilledOneLeavesNothing() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        let launch = try await shop.launch(.counter, generation: 7)
        try await driver.start(launch)
        #expect(try await waitForConsole(launch, moreThan: 3) > 3)
        let status = try #require(await driver.inspect(launch.id))
        #expect(status.phase == .running && status.generation == 7)
        #expect(status.resident > .mebibytes(1))
        #expect(try await driver.running() == [launch.id])
        try await driver.start(launch)
        #expect(try await driver.inspect(launch.id)?.pid == status.pid, "started twice")
        try await driver.kill(launch.id)
        #expect(try await driver.inspect(launch.id) == nil)
        #expect(ProcessIdentity(pid: status.pid) == nil)
        try await driver.kill(launch.id)
        try await shop.close(driver)
    }

    @Test func aPausedGuestSaysNothingAndAResumedOneGoesOn() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        let launch = try await shop.launch(.counter)
        try await driver.start(launch)
        _ = try await waitForConsole(launch, moreThan: 3)
        try await driver.pause(launch.id)
        #expect(try await driver.inspect(launch.id)?.phase == .paused)
        let size = consoleSize(launch)
        let later = try await waitForConsole(launch, moreThan: size, within: .milliseconds(300))
        #expect(later == size)
        try await driver.resume(launch.id)
        #expect(try await driver.inspect(launch.id)?.phase == .running)
        #expect(try await waitForConsole(launch, moreThan: size) > size)
        try await shop.close(driver)
    }

    @Test func aResetGuestBeginsAgainInTheSameProcess() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        let launch = try await shop.launch(.counter)
        try await driver.start(launch)
        let pid = try #require(await driver.inspect(launch.id)).pid
        let size = try await waitForConsole(launch, moreThan: 5)
        try await driver.reset(launch.id)
        // A whole alphabet: on a busy host it says some more letters before it is reset.
        _ = try await waitForConsole(launch, moreThan: size + 52)
        let console = try String(contentsOfFile: "\(launch.directory)/console.log", encoding: .utf8)
        let breaks = zip(console, console.dropFirst()).filter { $0.1 == "a" && $0.0 != "z" }
        #expect(breaks.count == 1, "\(console)")
        let now = try await driver.inspect(launch.id)?.pid
        if now == nil { Issue.record("it ended: \(await driver.waitForExit(launch.id))") }
        #expect(now == pid)
        try await shop.close(driver)
    }

    @Test func aGuestThatPowersItselfOffIsKnownToHaveDoneSo() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        let launch = try await shop.launch(.powersOff)
        try await driver.start(launch)
        let exit = await driver.waitForExit(launch.id)
        #expect(exit.cause == .guestPoweredOff)
        #expect(try await driver.inspect(launch.id) == nil)
        // A daemon that was not there learns it from the log.
        #expect(await shop.driver().waitForExit(launch.id).cause == .guestPoweredOff)
        try await shop.close(driver)
    }

    @Test func aGuestThatResetsItselfForEverIsEnded() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        let launch = try await shop.launch(.resets)
        try await driver.start(launch)
        let exit = await driver.waitForExit(launch.id)
        #expect(exit.cause == .killed(signal: 9))
        #expect(exit.lastWords.contains("reset itself again and again"))
        try await shop.close(driver)
    }

    @Test func aVMMThatIsKilledFromOutsideIsNoticedAtOnce() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        var delays: [Duration] = []
        for _ in 0..<20 {
            let launch = try await shop.launch(.counter)
            try await driver.start(launch)
            let pid = try #require(await driver.inspect(launch.id)).pid
            async let exit = driver.waitForExit(launch.id)
            let began = ContinuousClock.now
            #expect(Foundation.kill(pid, SIGKILL) == 0)
            #expect(await exit.cause == .killed(signal: 9))
            delays.append(.now - began)
        }
        delays.sort()
        print("SIGKILL to waitForExit: p50 \(delays[10]), worst \(delays[19])")
        // The median: a host that stands still for a moment is no fault of the driver's.
        #expect(delays[10] < .seconds(1))
        try await shop.close(driver)
    }

    @Test func aVMMThatHasJustDiedIsNotTakenForARunningOne() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        let launch = try await shop.launch(.counter)
        try await driver.start(launch)
        for _ in 0..<5 {
            let pid = try #require(await driver.inspect(launch.id)).pid
            #expect(Foundation.kill(pid, SIGKILL) == 0)
            // The kernel takes a moment; the driver may hear of it later or earlier than this test.
            while ProcessIdentity(pid: pid) != nil {
                _ = await Reactor.shared.sleep(until: .now + .microseconds(200))
            }
            try await driver.start(launch)
            let status = try #require(await driver.inspect(launch.id))
            #expect(status.pid != pid && status.phase == .running)
        }
        try await shop.close(driver)
    }

    @Test func aSecondConnectionToTheAgentEndsTheFirst() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        let launch = try await shop.launch(.counter)
        try await driver.start(launch)
        let first = try await driver.guestChannel(launch.id)
        let second = try await driver.guestChannel(launch.id)
        #expect(try await first.read(upTo: 1) == [])
        try await second.write([1])
        try await driver.kill(launch.id)
        #expect(try await second.read(upTo: 1) == [])
        try await shop.close(driver)
    }

    @Test func aVMMThatStandsStillHoldsUpNobodyAndCanBeKilled() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        let stuck = try await shop.launch(.counter)
        let fine = try await shop.launch(.counter)
        try await driver.start(stuck)
        try await driver.start(fine)
        let pid = try #require(await driver.inspect(stuck.id)).pid
        #expect(Foundation.kill(pid, SIGSTOP) == 0)
        let command = Task { try await driver.pause(stuck.id) }
        try await driver.pause(fine.id)
        #expect(try await driver.inspect(stuck.id)?.pid == pid)
        try await driver.kill(stuck.id)
        await #expect(throws: Fault.self) { try await command.value }
        #expect(try await driver.running() == [fine.id])
        try await shop.close(driver)
    }

    @Test func twoHostsOfOnePortAreRefusedByName() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        let port = PublishedPort(hostPort: 18_477, guestPort: 80)
        var one = try await shop.launch(.counter, ports: [port])
        one.network = .user
        try await driver.start(one)
        var other = try await shop.launch(.counter, ports: [port])
        other.network = .user
        let fault = await #expect(throws: Fault.self) { try await driver.start(other) }
        #expect(fault?.reason == .portTaken)
        #expect(try await driver.running() == [one.id])
        try await shop.close(driver)
    }
}

@Suite("A VMM's confinement", .serialized)
struct ConfinementTests {
    @Test func aVMMHasNoCapabilityASeccompFilterAndItsOwnSession() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        let launch = try await shop.launch(.counter)
        // Not closed on exec: only the spawner's own closing keeps it from the VMM.
        let marker = "\(shop.root)/marker"
        let held = open(marker, O_RDWR | O_CREAT, 0o600)
        defer { close(held) }
        try await driver.start(launch)
        let pid = try #require(await driver.inspect(launch.id)).pid
        let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        let none = String(repeating: "0", count: 16)
        for set in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            #expect(status.contains("\(set):\t\(none)"), "\(set)")
        }
        #expect(status.contains("NoNewPrivs:\t1"))
        #expect(status.contains("Seccomp:\t2"))
        #expect(getsid(pid) == pid)
        let numbers = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd")
        let targets = numbers.compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/fd/\($0)")
        }
        #expect(targets.contains { $0.hasSuffix("vmm.log") })
        #expect(!targets.contains(marker), "the daemon's open file was inherited")
        #expect(driver.confinement().filter(\.isApplied).count == 3)
        try await shop.close(driver)
    }
}
