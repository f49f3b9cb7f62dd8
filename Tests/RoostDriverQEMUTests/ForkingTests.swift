import Foundation
import RoostDriver
import RoostDriverQEMU
import RoostLinux
import RoostModel
import RoostTestKit
import Synchronization
import Testing

@Suite("Saved machines, with QEMU", .serialized)
struct ForkingTests {
    @Test(arguments: ForkingConformance.all)
    func conforms(_ check: ForkingConformance) async throws {
        let shop = try QEMUForkingWorkshop()
        let result: Result<Void, any Error>
        do {
            try await check.run(in: shop)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        try await shop.close()
        try result.get()
    }

    @Test("a channel to the agent goes on with the machine, and ends with it")
    func channel() async throws {
        let shop = try QEMUForkingWorkshop()
        let result: Result<Void, any Error>
        do {
            let launch = try await shop.newLaunch()
            try await shop.driver.start(launch)
            let channel = try await shop.qemu.guestChannel(launch.id)
            let guest = NobodyToHold()
            for _ in 0..<2 {
                let order = SaveOrder(
                    folder: try await shop.newFolder(),
                    memory: .onHost,
                    afterwards: .goesOn
                )
                _ = try await shop.driver.save(launch, order, holding: guest)
                // Refused where the other end is closed.
                try await channel.write([1, 2, 3])
            }
            try await shop.qemu.kill(launch.id)
            let end = try await channel.read(upTo: 1)
            #expect(end.isEmpty)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        try await shop.close()
        try result.get()
    }
}

/// A guest without programs.
private struct NobodyToHold: GuestHold {
    func hold() async throws(Fault) {}
    func letGo() async throws(Fault) {}
}

/// Guests that say a … z; numbers are 0 … 25.
final class QEMUForkingWorkshop: ForkingWorkshop {
    let shop: Workshop
    private let drivers: Mutex<[QEMUDriver]>
    private let folders = Mutex(0)

    init() throws {
        shop = try Workshop()
        drivers = Mutex([shop.driver()])
    }

    var qemu: QEMUDriver { drivers.withLock { $0[$0.count - 1] } }
    var driver: any Forking { qemu }

    func nextDaemon() async throws -> any Forking {
        let earlier = qemu
        for id in try await earlier.running() { await earlier.abandon(id) }
        let next = shop.driver()
        drivers.withLock { $0.append(next) }
        return next
    }

    func newLaunch() async throws -> VMLaunch { try await shop.launch(.counter) }

    func copy(of saved: SavedMachine) async throws -> VMLaunch {
        let launch = try await shop.launch(.counter)
        let made = try await runTool(
            "/usr/bin/qemu-img",
            [
                "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", saved.rootDiskPath,
                launch.rootDiskPath, "1M",
            ],
            deadline: .seconds(20)
        )
        try #require(made.succeeded)
        return launch
    }

    func newFolder() async throws -> String {
        let number = folders.withLock { number in
            number += 1
            return number
        }
        return "\(shop.root)/checkpoints/\(number)"
    }

    func said(_ launch: VMLaunch) async throws -> [Int] {
        let text = try Data(contentsOf: URL(filePath: "\(launch.directory)/console.log"))
        return text.map { Int($0) - 97 }
    }

    func waitUntilSaid(_ launch: VMLaunch, moreThan count: Int) async throws {
        let size = try await waitForConsole(launch, moreThan: count)
        guard size > count else {
            let words = await qemu.waitForExitIfAny(launch.id)
            throw ForkingConformance.Broken(description: "it says nothing any more \(words)")
        }
    }

    func successor(of number: Int) -> Int { (number + 1) % 26 }

    func damage(_ part: SavedMachine.Part, _ damage: ForkingDamage) async throws {
        switch damage {
        case .missing: try FileManager.default.removeItem(atPath: part.path)
        case .truncated: try #require(truncate(part.path, Int(part.bytes) - 1) == 0)
        case .changed:
            let file = try FileHandle(forUpdating: URL(filePath: part.path))
            try file.seek(toOffset: part.bytes / 2)
            let byte = try file.read(upToCount: 1)?.first ?? 0
            try file.seek(toOffset: part.bytes / 2)
            try file.write(contentsOf: [byte ^ 1])
            try file.close()
        }
    }

    func exists(_ part: SavedMachine.Part) async -> Bool {
        FileManager.default.fileExists(atPath: part.path)
    }

    func close() async throws {
        let driver = qemu
        for number in 1...folders.withLock({ max($0, 1) }) {
            try await driver.discard(savedIn: "\(shop.root)/checkpoints/\(number)")
        }
        try await shop.close(driver)
    }
}

extension QEMUDriver {
    /// How it ended, if it has; for messages.
    fileprivate func waitForExitIfAny(_ id: VMID) async -> String {
        guard (try? await inspect(id)) == nil else { return "" }
        return "\(await waitForExit(id))"
    }
}
