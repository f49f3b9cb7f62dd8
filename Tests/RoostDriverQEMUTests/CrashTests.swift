import Foundation
import RoostDriver
import RoostDriverQEMU
import RoostLinux
import RoostModel
import Testing

@Suite("A daemon that is killed", .serialized)
struct CrashTests {
    /// The miniature daemon, built beside this test.
    private func host() throws -> String {
        let path = try #require(readLink("/proc/self/exe"))
        // Swift Testing runs inside swiftpm's helper, so the products are looked for by argument.
        let candidates = CommandLine.arguments + [path]
        for candidate in candidates
        where candidate.contains("/debug") || candidate.contains("/release") {
            for kind in ["/debug", "/release"] {
                guard let range = candidate.range(of: kind) else { continue }
                let program = candidate[..<range.upperBound] + "/RoostDriverQEMUHost"
                if FileManager.default.isExecutableFile(atPath: String(program)) {
                    return String(program)
                }
            }
        }
        throw Fault(.commandNotFound, "RoostDriverQEMUHost is not built: \(candidates)")
    }

    private func readLink(_ path: String) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: path)
    }

    private func startedByAHostThatIsKilled(
        _ shop: Workshop,
        _ launch: VMLaunch
    ) async throws {
        let (output, end) = try streamPair()
        let program = try host()
        let process = try ProcessSpawner.spawn(
            ProcessPlan(
                path: program,
                arguments: [program, shop.root, shop.memory, launch.id.description],
                environment: ["PATH=/usr/bin:/bin"],
                descriptors: [nil, end, end]
            )
        )
        end.close()
        let said = try await output.read(upTo: 1000, until: .now + .seconds(20))
        #expect(String(decoding: said, as: UTF8.self) == "started\n")
        try process.signal(SIGKILL)
        #expect(await process.end() == .killed(signal: SIGKILL))
    }

    @Test func itsGuestsRunOnAndTheNextDaemonTakesThemOver() async throws {
        let shop = try Workshop()
        let launch = try await shop.launch(.counter)
        try await startedByAHostThatIsKilled(shop, launch)
        let size = consoleSize(launch)
        #expect(try await waitForConsole(launch, moreThan: size + 5) > size + 5)
        let driver = shop.driver()
        #expect(try await driver.running() == [launch.id])
        let status = try #require(await driver.inspect(launch.id))
        #expect(status.generation == 11 && status.phase == .running)
        try await driver.pause(launch.id)
        try await driver.resume(launch.id)
        _ = try await driver.guestChannel(launch.id)
        // No child of ours: nobody knows how it ended, but its end is seen.
        async let exit = driver.waitForExit(launch.id)
        #expect(kill(status.pid, SIGKILL) == 0)
        #expect(await exit.cause == .unknown)
        try await shop.close(driver)
    }

    @Test func aGuestThatPoweredOffMeanwhileIsKnownToHaveDoneSo() async throws {
        let shop = try Workshop()
        let launch = try await shop.launch(.powersOffLater)
        // Three seconds lie between the daemon's end and the guest's.
        try await startedByAHostThatIsKilled(shop, launch)
        let driver = shop.driver()
        #expect(await driver.waitForExit(launch.id).cause == .guestPoweredOff)
        #expect(try await driver.inspect(launch.id) == nil)
        try await shop.close(driver)
    }
}
