import Foundation
import RoostDriver
import RoostDriverQEMU
import RoostLinux
import RoostModel
import Testing

@Suite("Adoption", .serialized)
struct AdoptionTests {
    enum Damage: CaseIterable {
        case none
        case missing
        case corrupt
        case empty
        case huge
        case otherProcess
    }

    @Test(arguments: Damage.allCases)
    func aRunningVMMIsFoundWhateverTheScratchFileSays(_ damage: Damage) async throws {
        let shop = try Workshop()
        let launch = try await shop.launch(.counter, generation: 3)
        let earlier = shop.driver()
        try await earlier.start(launch)
        let pid = try #require(await earlier.inspect(launch.id)).pid
        let handles = "\(launch.directory)/handles.json"
        let text = try String(contentsOfFile: handles, encoding: .utf8)
        switch damage {
        case .none: break
        case .missing: try FileManager.default.removeItem(atPath: handles)
        case .corrupt: try DurableFile.write(handles, Array(text.utf8.prefix(60)))
        case .empty: try DurableFile.write(handles, [])
        case .huge: try DurableFile.write(handles, [UInt8](repeating: 32, count: 1 << 20))
        case .otherProcess:
            let other = text.replacing("\"pid\" : \(pid)", with: "\"pid\" : \(getpid())")
            #expect(other != text)
            try DurableFile.write(handles, Array(other.utf8))
        }
        // One client at a time: the earlier daemon's connection must end before, as its death does.
        await earlier.abandon(launch.id)
        let later = shop.driver()
        #expect(try await later.running() == [launch.id])
        let status = try #require(await later.inspect(launch.id))
        #expect(status.pid == pid && status.generation == 3 && status.phase == .running)
        let aside = try FileManager.default.contentsOfDirectory(atPath: launch.directory)
            .filter { $0.contains("unreadable") }
        #expect(aside.isEmpty == ![.corrupt, .empty, .huge].contains(damage))
        #expect(try String(contentsOfFile: handles, encoding: .utf8).contains("\"pid\" : \(pid)"))
        try await later.pause(launch.id)
        #expect(try await later.inspect(launch.id)?.phase == .paused)
        try await later.kill(launch.id)
        #expect(kill(getpid(), 0) == 0)
        try await shop.close(later)
    }

    @Test func aPausedGuestIsStillPausedForTheNextDaemon() async throws {
        let shop = try Workshop()
        let launch = try await shop.launch(.counter)
        let earlier = shop.driver()
        try await earlier.start(launch)
        try await earlier.pause(launch.id)
        await earlier.abandon(launch.id)
        let later = shop.driver()
        #expect(try await later.inspect(launch.id)?.phase == .paused)
        try await later.resume(launch.id)
        #expect(try await later.inspect(launch.id)?.phase == .running)
        try await shop.close(later)
    }

    /// One that went on for an earlier VMM, and whose own successor died with the daemon, which leaves its files.
    @Test func filesOfADeadSuccessorAreNotTakenForThoseOfItsSource() async throws {
        let shop = try Workshop()
        let launch = try await shop.launch(.counter)
        let earlier = shop.driver()
        try await earlier.start(launch)
        let order = SaveOrder(
            folder: "\(shop.root)/forks/one",
            memory: .onHost,
            afterwards: .goesOn
        )
        _ = try await earlier.save(launch, order)
        await earlier.abandon(launch.id)
        let folder = launch.directory
        let disk = try FileManager.default.attributesOfItem(atPath: "\(folder)/root.qcow2")
        for name in ["next-qmp.sock", "next-agent.sock", "root.next.qcow2"] {
            try DurableFile.write("\(folder)/\(name)", [1])
        }
        let later = shop.driver()
        #expect(try await later.inspect(launch.id)?.phase == .running)
        try await later.pause(launch.id)
        try await later.resume(launch.id)
        let present = try FileManager.default.attributesOfItem(atPath: "\(folder)/root.qcow2")
        #expect(present[.systemFileNumber] as? Int == disk[.systemFileNumber] as? Int)
        // And the next one does not stumble over them.
        let again = SaveOrder(
            folder: "\(shop.root)/forks/two",
            memory: .onHost,
            afterwards: .goesOn
        )
        _ = try await later.save(launch, again)
        #expect(try await later.inspect(launch.id)?.phase == .running)
        try await later.kill(launch.id)
        try await later.discard(savedIn: order.folder)
        try await later.discard(savedIn: again.folder)
        try await shop.close(later)
    }

    @Test func aDeadVMMsRemainsAreClearedAway() async throws {
        let shop = try Workshop()
        let launch = try await shop.launch(.counter)
        let folder = launch.directory
        let memory = "\(shop.memory)/roost-\(launch.id).mem"
        try DurableFile.write(memory, [1])
        try DurableFile.write("\(folder)/qmp.sock", [])
        // The pid is this test's own, as if the kernel had given it away again.
        let handles = """
            {"vm": "\(launch.id)", "process": {"pid": \(getpid()), "startTicks": 1},
             "bootID": "x", "controlSocket": "qmp.sock", "agentSocket": "agent.sock",
             "memoryPath": "\(memory)"}
            """
        try DurableFile.write("\(folder)/handles.json", Array(handles.utf8))
        let driver = shop.driver()
        #expect(try await driver.inspect(launch.id) == nil)
        #expect(await driver.waitForExit(launch.id).cause == .unknown)
        for path in [memory, "\(folder)/qmp.sock", "\(folder)/handles.json"] {
            #expect(!FileManager.default.fileExists(atPath: path), "\(path)")
        }
        try await shop.close(driver)
    }

    @Test func theScanFindsEachKindOfPlantedLeak() async throws {
        let shop = try Workshop()
        let launch = try await shop.launch(.counter)
        let driver = shop.driver()
        try await driver.start(launch)
        let stray = VMID(bits: 77)
        try DurableFile.write("\(shop.memory)/roost-\(stray).mem", [1])
        let trashed = VMID(bits: 78)
        try FileManager.default.createDirectory(
            atPath: "\(shop.root)/trash/\(trashed)",
            withIntermediateDirectories: true
        )
        let found = try await driver.leaks()
        let kinds = Set(found.map(\.kind))
        #expect(kinds == Set(HostTrace.Kind.allCases))
        #expect(found.contains { $0.vm == stray && $0.kind == .memoryFile })
        #expect(found.contains { $0.vm == trashed && $0.kind == .trash })
        try FileManager.default.removeItem(atPath: "\(shop.memory)/roost-\(stray).mem")
        try FileManager.default.removeItem(atPath: "\(shop.root)/trash")
        try await shop.close(driver)
    }
}
