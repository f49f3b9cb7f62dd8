import Foundation
import RoostDriverQEMU
import RoostHost
import RoostLinux
import RoostModel
import Testing

@Suite("The node's files")
struct FilesTests {
    private func spec() -> VMSpec {
        VMSpec(cores: 1, memoryMiB: 128, rootDiskGiB: 2, image: "sha256:i", kernel: "sha256:k")
    }

    private func files(
        _ shop: Workshop,
        failing: Bool = false
    ) throws -> NodeFiles {
        try DurableFile.write("\(shop.root)/image.raw", [UInt8](repeating: 0, count: 1 << 20))
        return try NodeFiles(
            stateDirectory: shop.root,
            memoryDirectory: shop.memory,
            tools: diskTools(image: "\(shop.root)/image.raw", failing: failing)
        )
    }

    @Test func aVMsDirectoryGoesThroughItsWholeLifeAndEachStepTwice() async throws {
        let shop = try Workshop(named: ", files")
        defer { shop.remove() }
        let files = try files(shop)
        let id = VMID(bits: 5)
        for _ in 0..<2 { try await files.prepare(id, spec: spec()) }
        #expect(try await files.inventory() == FileInventory(live: [id], trashed: [], strange: []))
        let paths = try await files.launch(id, name: "a", spec: spec(), generation: 1)
        #expect(FileManager.default.fileExists(atPath: paths.rootDisk))
        for _ in 0..<2 { try await files.growRootDisk(id, toGiB: 3) }
        try await files.growRootDisk(id, toGiB: 1)
        let info = try await runTool(
            "/usr/bin/qemu-img",
            ["info", "-f", "qcow2", paths.rootDisk],
            deadline: .seconds(10)
        )
        #expect(info.text.contains("virtual size: 3 GiB"))
        for _ in 0..<2 { try await files.discard(id) }
        #expect(try await files.inventory() == FileInventory(live: [], trashed: [id], strange: []))
        for _ in 0..<2 { try await files.restore(id) }
        #expect(try await files.inventory().live == [id])
        try await files.discard(id)
        for _ in 0..<2 { try await files.purge(id) }
        #expect(try await files.inventory() == FileInventory(live: [], trashed: [], strange: []))
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(shop.root)/trash") == [])
        let fault = await #expect(throws: Fault.self) { try await files.restore(id) }
        #expect(fault?.reason == .vmNotFound)
    }

    @Test func aFailedPrepareLeavesNothing() async throws {
        let shop = try Workshop()
        defer { shop.remove() }
        let files = try files(shop, failing: true)
        let fault = await #expect(throws: Fault.self) {
            try await files.prepare(VMID(bits: 6), spec: spec())
        }
        #expect(fault?.reason == .diskFull)
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(shop.root)/vms") == [])
    }

    @Test func whatACrashedPrepareLeftIsReplaced() async throws {
        let shop = try Workshop()
        defer { shop.remove() }
        let files = try files(shop)
        let id = VMID(bits: 7)
        let half = "\(shop.root)/vms/.new-\(id)"
        try FileManager.default.createDirectory(atPath: half, withIntermediateDirectories: true)
        try DurableFile.write("\(half)/root.qcow2", [1, 2, 3])
        #expect(try await files.inventory().live == [])
        try await files.prepare(id, spec: spec())
        #expect(try await files.inventory().live == [id])
        #expect(!FileManager.default.fileExists(atPath: half))
    }

    @Test func strangeEntriesAreReportedAndNeverTouched() async throws {
        let shop = try Workshop()
        defer { shop.remove() }
        let files = try files(shop)
        try DurableFile.write("\(shop.root)/vms/notes.txt", [1])
        try DurableFile.write("\(shop.root)/trash/\(VMID(bits: 1))", [1])
        let strange = try await files.inventory().strange
        #expect(strange == ["vms/notes.txt", "trash/\(VMID(bits: 1))"])
    }

    @Test func aDirectoryWithoutItsDiskIsUnreadableAndSaysWhere() async throws {
        let shop = try Workshop()
        defer { shop.remove() }
        let files = try files(shop)
        let id = VMID(bits: 8)
        let folder = "\(shop.root)/vms/\(id)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            atPath: "\(folder)/root.qcow2",
            withDestinationPath: "/etc/passwd"
        )
        let fault = await #expect(throws: Fault.self) {
            try await files.launch(id, name: "a", spec: spec(), generation: 1)
        }
        #expect(fault?.reason == .stateUnreadable)
        #expect(fault?.metadata["path"] == "\(folder)/root.qcow2")
    }

    @Test func aFollowedLogWaitsForTheFileAndThenForItsBytes() async throws {
        let shop = try Workshop()
        defer { shop.remove() }
        let files = try files(shop)
        let id = VMID(bits: 9)
        try await files.prepare(id, spec: spec())
        let empty = try await files.readLog(id, .console, from: 0, follow: false)
        #expect(empty == LogChunk(bytes: [], nextOffset: 0, isEnd: true))
        async let first = files.readLog(id, .console, from: 0, follow: true)
        let path = "\(shop.root)/vms/\(id)/console.log"
        try DurableFile.write(path, Array("boot".utf8))
        #expect(try await first.bytes == Array("boot".utf8))
        async let second = files.readLog(id, .console, from: 4, follow: true)
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data("ed".utf8))
        #expect(try await second == LogChunk(bytes: Array("ed".utf8), nextOffset: 6, isEnd: true))
        let waiting = Task { try await files.readLog(id, .console, from: 6, follow: true) }
        waiting.cancel()
        await #expect(throws: Fault.self) { _ = try await waiting.value }
    }
}
