import Foundation
import RoostDriver
import RoostDriverQEMU
import RoostHost
import RoostLinux
import RoostModel
import Testing

/// A state directory of a test's own, with everything that a VM needs; ends its VMMs when asked.
struct Workshop {
    let root: String
    /// What is removed: `root`, or the first directory of a deep one.
    private var base: String { root.split(separator: "/").prefix(2).map { "/" + $0 }.joined() }
    let memory: String

    init(named suffix: String = "", memory: String? = nil) throws {
        let random = String(EntropySource().next(), radix: 36)
        root = "/tmp/roost-test-\(random)\(suffix)"
        self.memory = memory ?? "/dev/shm/roost-test-\(random)"
        try FileManager.default.createDirectory(
            atPath: self.memory,
            withIntermediateDirectories: true
        )
        try FileManager.default.createDirectory(
            atPath: "\(root)/vms",
            withIntermediateDirectories: true
        )
    }

    func settings(_ searchPath: String = "/usr/local/bin:/usr/bin:/bin") -> QEMUSettings {
        QEMUSettings(
            stateDirectory: root,
            memoryDirectory: memory,
            searchPath: searchPath,
            acceleration: .tcg
        )
    }

    func driver() -> QEMUDriver { QEMUDriver(settings()) }

    /// Makes the directory of a new VM that runs `guest`.
    func launch(
        _ guest: BootGuest,
        name: String = "box",
        memoryMiB: Int = 32,
        generation: Int = 1,
        ports: [PublishedPort] = []
    ) async throws -> VMLaunch {
        let entropy = EntropySource()
        let id = VMID(bits: UInt128(entropy.next()) << 64 | UInt128(entropy.next()))
        let folder = "\(root)/vms/\(id)"
        try FileManager.default.createDirectory(
            atPath: folder,
            withIntermediateDirectories: true
        )
        try DurableFile.write("\(folder)/kernel", guest.kernel, sync: false)
        try DurableFile.write("\(folder)/initramfs", [0], sync: false)
        let disk = "\(folder)/root.qcow2"
        let made = try await runTool(
            "/usr/bin/qemu-img",
            ["create", "-q", "-f", "qcow2", disk, "1M"],
            deadline: .seconds(20)
        )
        try #require(made.succeeded, "\(String(decoding: made.errorOutput, as: UTF8.self))")
        return VMLaunch(
            id: id,
            name: name,
            cores: 1,
            memoryMiB: memoryMiB,
            directory: folder,
            kernelPath: "\(folder)/kernel",
            initramfsPath: "\(folder)/initramfs",
            modulesPath: nil,
            rootDiskPath: disk,
            network: .none,
            ports: ports,
            memoryDirectory: memory,
            generation: generation
        )
    }

    /// Makes an executable script. Copied by a program: a file that this process has open for writing
    /// could not be run while another test starts a process ("text file busy").
    func script(_ text: String, at path: String) async throws {
        try DurableFile.write("\(path).txt", Array("#!/bin/sh\n\(text)\n".utf8))
        let copied = try await runTool(
            "/usr/bin/install",
            ["-m", "755", "\(path).txt", path],
            deadline: .seconds(10)
        )
        try #require(copied.succeeded)
    }

    /// Removes the directories; for tests that start no VM.
    func remove() {
        for path in [base, memory] { try? FileManager.default.removeItem(atPath: path) }
    }

    /// Ends every VMM of this directory, asserts that nothing is left of them, and removes it.
    func close(_ driver: QEMUDriver) async throws {
        for id in try await driver.running() { try await driver.kill(id) }
        let left = try await driver.leaks().filter { $0.kind != .directory }
        #expect(left.isEmpty, "\(left)")
        try FileManager.default.removeItem(atPath: base)
        #expect(try FileManager.default.contentsOfDirectory(atPath: memory).isEmpty)
        try FileManager.default.removeItem(atPath: memory)
    }
}

/// Bytes that the guest's console has said.
func consoleSize(_ launch: VMLaunch) -> Int {
    let path = "\(launch.directory)/console.log"
    let attributes = try? FileManager.default.attributesOfItem(atPath: path)
    return (attributes?[.size] as? Int) ?? 0
}

/// Waits until the console has more than `size` bytes; returns how many, or what there is at the
/// deadline.
func waitForConsole(
    _ launch: VMLaunch,
    moreThan size: Int,
    within time: Duration = .seconds(60)
) async throws -> Int {
    let deadline = ContinuousClock.now + time
    while true {
        let watch = try FileWatch("\(launch.directory)/console.log", .contents)
        let now = consoleSize(launch)
        if now > size || ContinuousClock.now > deadline { return now }
        let timer = Task { _ = await Reactor.shared.sleep(until: deadline) }
        await withTaskGroup { group in
            group.addTask { await watch.changed() }
            group.addTask { await timer.value }
            await group.next()
            timer.cancel()
            group.cancelAll()
        }
    }
}

/// Disks made by QEMU's own tool, over the file `image`. `failing`: an overlay is begun, and then there is
/// no more room.
func diskTools(image: String, failing: Bool = false) -> NodeFileTools {
    let disks = DiskTool()
    return NodeFileTools(
        makeOverlay: { path, backing, format, size async throws(Fault) in
            if failing {
                try DurableFile.write(path, [1])
                throw Fault(.diskFull, "no room", metadata: ["path": path])
            }
            try await disks.makeOverlay(
                path,
                over: backing,
                format: format.rawValue,
                gibibytes: size
            )
        },
        flattenDisk: { source, path async throws(Fault) in
            try await disks.flatten(source, to: path)
        },
        growDisk: { path, size async throws(Fault) in
            try await disks.grow(path, toGiB: size)
        },
        imagePath: { _ in image },
        kernelPaths: { _ in KernelPaths(kernel: "/k", initramfs: "/i", modules: nil) }
    )
}
