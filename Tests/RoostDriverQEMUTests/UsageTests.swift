import Foundation
import RoostDriver
import RoostDriverQEMU
import RoostHost
import RoostLinux
import RoostModel
import RoostNode
import Testing

/// Files of QEMU's and `du` beside them: what is said of a state directory is what it takes.
@Suite("What a state directory holds")
struct UsageTests {
    /// Bytes that `du` counts in `path`.
    private func measured(_ path: String) async throws -> UInt64 {
        let result = try await runTool(
            "/usr/bin/du",
            ["-s", "--block-size=1", "--", path],
            deadline: .seconds(20)
        )
        return try #require(result.text.split(separator: "\t").first.flatMap { UInt64($0) })
    }

    private func row(_ kind: UsageOwner.Kind, _ vm: VMID, _ usage: NodeUsage) throws -> UsageRow {
        try #require(usage.rows.first { $0.owner.kind == kind && $0.owner.vm == vm })
    }

    @Test("is what du says, and what goes with a VM is what was said to be its own")
    func addsUp() async throws {
        let shop = try Workshop(named: "-usage")
        defer { shop.remove() }
        try FileManager.default.createDirectory(
            atPath: "\(shop.root)/images/ab",
            withIntermediateDirectories: true
        )
        let some = [UInt8](repeating: 7, count: 1 << 20)
        try DurableFile.write("\(shop.root)/images/ab/root.ext4", some)
        let files = try NodeFiles(
            stateDirectory: shop.root,
            memoryDirectory: shop.memory,
            tools: diskTools(image: "\(shop.root)/images/ab/root.ext4")
        )
        let (box, copy) = (VMID(bits: 5), VMID(bits: 6))
        let spec = VMSpec(cores: 1, memoryMiB: 128, rootDiskGiB: 1, image: "i", kernel: "k")
        try await files.prepare(box, spec: spec)
        let driver = shop.driver()
        let launch = VMLaunch(
            id: box,
            name: "box",
            cores: 1,
            memoryMiB: 128,
            directory: "\(shop.root)/vms/\(box)",
            kernelPath: "/k",
            initramfsPath: "/i",
            modulesPath: nil,
            rootDiskPath: "\(shop.root)/vms/\(box)/root.qcow2",
            network: .none,
            ports: [],
            memoryDirectory: shop.memory,
            generation: 1
        )
        // Three moments of its disk, and a copy of the second.
        var kept: [String] = []
        for number in 1...3 {
            kept.append(
                "\(files.checkpointsFolder(box, .live))/\(CheckpointID(bits: UInt128(number)))"
            )
            let order = SaveOrder(folder: kept[number - 1], memory: .absent, afterwards: .goesOn)
            _ = try await driver.save(launch, order)
        }
        try await files.prepareFork(copy, from: kept[1], spec: spec)
        // A sparse file takes what was written to it, not what it is long.
        try DurableFile.write("\(shop.memory)/roost-\(box).mem", some)
        #expect(truncate("\(shop.memory)/roost-\(box).mem", 1 << 30) == 0)

        let before = account(try await files.stored())
        let disk = try await measured(shop.root)
        #expect(before.disk.bytes == disk)
        #expect(try await measured(shop.memory) == before.memory.bytes)
        #expect(try row(.vm, box, before).memory.bytes == 1 << 20)
        #expect(before.trees.map(\.vms) == [[box, copy]])
        let own = try row(.vm, box, before).disk
        #expect(own.unique > 0 && own.shared > 0)

        // A checkpoint alone, then the whole VM.
        let last = try #require(before.rows.last { $0.owner.kind == .checkpoint })
        try await driver.discard(savedIn: kept[2])
        let between = try await measured(shop.root)
        #expect(disk - between == last.disk.unique && last.disk.unique > 0)
        let rest = try row(.vm, box, account(try await files.stored())).disk.unique
        try await files.purge(box)
        #expect(between - (try await measured(shop.root)) == rest)
        let after = account(try await files.stored())
        #expect(after.disk.bytes == (try await measured(shop.root)))
        #expect(after.trees.isEmpty)
        #expect(try row(.vm, copy, after).disk.shared == 0)
    }
}
