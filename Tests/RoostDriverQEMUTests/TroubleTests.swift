import Foundation
import RoostDriver
import RoostDriverQEMU
import RoostLinux
import RoostModel
import Testing

@Suite("Trouble at a start", .serialized)
struct TroubleTests {
    @Test(arguments: [
        " with spaces, commas,,and=signs", "-" + String(repeating: "long/long-", count: 15),
    ])
    func aStateDirectoryMayHaveAnyPath(_ suffix: String) async throws {
        let shop = try Workshop(named: suffix)
        #expect(shop.root.utf8.count > 40)
        let driver = shop.driver()
        let launch = try await shop.launch(.counter, name: "a,b=c")
        try await driver.start(launch)
        #expect(try await waitForConsole(launch, moreThan: 0) > 0)
        _ = try await driver.guestChannel(launch.id)
        await driver.abandon(launch.id)
        let later = shop.driver()
        #expect(try await later.running() == [launch.id])
        try await shop.close(later)
    }

    @Test func aMissingQEMUIsNamed() async throws {
        let shop = try Workshop()
        let driver = QEMUDriver(shop.settings("/nowhere:/etc"))
        #expect(await driver.preflight().map(\.reason) == [.vmmMissing])
        let launch = try await shop.launch(.counter)
        let fault = await #expect(throws: Fault.self) { try await driver.start(launch) }
        #expect(fault?.reason == .vmmMissing)
        #expect(try await driver.inspect(launch.id) == nil)
        try await shop.close(driver)
    }

    @Test func aHostThatIsReadyHasNothingToSay() async throws {
        let shop = try Workshop()
        #expect(await shop.driver().preflight() == [])
        try await shop.close(shop.driver())
    }

    @Test func anOldQEMUIsRefused() async throws {
        let shop = try Workshop()
        try await shop.script(
            "echo 'QEMU emulator version 6.1.0 (Old)'",
            at: "\(shop.root)/qemu-system-x86_64"
        )
        let driver = QEMUDriver(shop.settings(shop.root))
        let faults = await driver.preflight()
        #expect(faults.map(\.reason) == [.vmmMissing])
        #expect(faults.first?.message.contains("6.1") == true)
        try await shop.close(driver)
    }

    @Test func whatQEMUSaysOfABadKernelIsInTheFault() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        let launch = try await shop.launch(.counter)
        try DurableFile.write(launch.rootDiskPath, Array("this is no disk image".utf8))
        let fault = await #expect(throws: Fault.self) { try await driver.start(launch) }
        #expect(fault?.reason == .vmmFailed)
        #expect(fault?.message.contains("qcow2") == true, "\(fault?.message ?? "")")
        #expect(fault?.metadata["vm"] == launch.id.description)
        #expect(try await driver.inspect(launch.id) == nil)
        try await shop.close(driver)
    }

    @Test func anUnreadableKernelIsRefusedBeforeAnythingIsMade() async throws {
        let shop = try Workshop()
        let driver = shop.driver()
        var launch = try await shop.launch(.counter)
        launch.kernelPath = "\(launch.directory)/missing"
        let fault = await #expect(throws: Fault.self) { try await driver.start(launch) }
        #expect(fault?.reason == .ioFailed)
        #expect(fault?.metadata["path"] == launch.kernelPath)
        try await shop.close(driver)
    }

    @Test func aFullTmpfsIsRefusedBeforeTheGuestCouldDieOfIt() async throws {
        let mount = "/tmp/roost-test-tmpfs-\(EntropySource().next())"
        try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: true)
        // Needs root, as the brief for this machine has it; elsewhere it fails and says so.
        let mounted = try await runTool(
            "/usr/bin/mount",
            ["-t", "tmpfs", "-o", "size=150m", "roost-test", mount],
            deadline: .seconds(10)
        )
        try #require(mounted.succeeded, "\(String(decoding: mounted.errorOutput, as: UTF8.self))")
        let shop = try Workshop(memory: "\(mount)/memory")
        let driver = shop.driver()
        let first = try await shop.launch(.counter, memoryMiB: 100)
        try await driver.start(first)
        // 150 MiB are nearly free still, but 100 of them are promised to the first guest.
        let second = try await shop.launch(.counter, memoryMiB: 100)
        let fault = await #expect(throws: Fault.self) { try await driver.start(second) }
        #expect(fault?.reason == .memoryFull)
        #expect(try await driver.running() == [first.id])
        try await shop.close(driver)
        _ = try await runTool("/usr/bin/umount", ["-l", mount], deadline: .seconds(10))
        try FileManager.default.removeItem(atPath: mount)
    }
}
