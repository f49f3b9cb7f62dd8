import Foundation
import RoostDriver
import RoostDriverQEMU
import RoostHost
import RoostLinux
import RoostModel
import Testing

@Suite("Many VMs", .serialized)
struct FigureTests {
    @Test func startsAndKillsAreQuickAndLeaveNoDescriptorOrProcess() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        var starts: [Duration] = []
        var kills: [Duration] = []
        var before = 0
        for round in 0..<30 {
            let launch = try await shop.launch(.counter)
            let began = ContinuousClock.now
            try await driver.start(launch)
            let running = ContinuousClock.now
            try await driver.kill(launch.id)
            starts.append(running - began)
            kills.append(.now - running)
            if round == 4 { before = descriptors() }
        }
        starts.sort()
        kills.sort()
        print("start to QMP answered: p50 \(starts[15]), worst \(starts[29])")
        print("kill to reaped and cleaned: p50 \(kills[15]), worst \(kills[29])")
        #expect(descriptors() <= before + 4)
        #expect(kills[15] < .seconds(1))
        try await shop.close(driver)
    }

    @Test func twelveAtOnceStartAndEndAndAreAdoptedTogether() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        var launches: [VMLaunch] = []
        for _ in 0..<12 { launches.append(try await shop.launch(.counter)) }
        try await withThrowingTaskGroup { group in
            for launch in launches { group.addTask { try await driver.start(launch) } }
            try await group.waitForAll()
        }
        for launch in launches { await driver.abandon(launch.id) }
        let later = shop.driver()
        let began = ContinuousClock.now
        #expect(try await later.running() == launches.map(\.id).sorted())
        print("12 VMs adopted in \(ContinuousClock.now - began)")
        let killing = ContinuousClock.now
        try await withThrowingTaskGroup { group in
            for launch in launches { group.addTask { try await later.kill(launch.id) } }
            try await group.waitForAll()
        }
        print("12 VMs killed in \(ContinuousClock.now - killing)")
        #expect(try await later.running() == [])
        try await shop.close(later)
    }

    @Test func aGuestThatFloodsItsConsoleIsHeldToABoundedLog() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        let launch = try await shop.launch(.flood)
        try await driver.start(launch)
        let path = "\(launch.directory)/console.log"
        // Under emulation 3 MiB take some seconds; the log keeps 1 … 2 MiB and a quarter second's worth.
        let size = try await waitForConsole(launch, moreThan: 2_400_000, within: .seconds(180))
        #expect(size > 2_400_000)
        var state = stat()
        let deadline = ContinuousClock.now + .seconds(30)
        repeat {
            _ = await Reactor.shared.sleep(until: .now + .milliseconds(50))
            stat(path, &state)
        } while state.st_blocks * 512 >= 2_300_000 && ContinuousClock.now < deadline
        #expect(state.st_blocks * 512 < 2_300_000)
        try await shop.close(driver)
    }

    private func descriptors() -> Int {
        (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
    }
}
