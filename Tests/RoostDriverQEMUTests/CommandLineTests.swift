import Foundation
import RoostDriver
import RoostDriverQEMU
import RoostModel
import Testing

@Suite("QEMU's command line")
struct CommandLineTests {
    private func launch() -> VMLaunch {
        VMLaunch(
            id: VMID(bits: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            name: "web",
            cores: 2,
            memoryMiB: 512,
            directory: "/state/vms/0123456789abcdef0123456789abcdef",
            kernelPath: "/k/vmlinuz",
            initramfsPath: "/k/initramfs",
            modulesPath: "/k/modules.img",
            rootDiskPath: "/state, with comma/root.qcow2",
            network: .user,
            ports: [
                PublishedPort(hostPort: 8080, guestPort: 80),
                PublishedPort(hostAddress: "0.0.0.0", hostPort: 53, guestPort: 53, transport: .udp),
            ],
            memoryDirectory: "/dev/shm",
            generation: 1
        )
    }

    private let life = ProcessLife(text: "W0123456789abcde")

    @Test func eachProcessShowsAnotherLifeOfOneSize() {
        let lives = (0..<100).flatMap { _ in
            [ProcessLife.goesOn().text, ProcessLife.another().text]
        }
        #expect(Set(lives).count == 200)
        #expect(lives.allSatisfy { $0.utf8.count == 16 })
        #expect(lives.map(\.first) == (0..<100).flatMap { _ in ["G", "W"] })
    }

    @Test(arguments: ["tcg", "kvm"])
    func isWhatTheGoldenFileSays(_ accelerator: String) throws {
        let context = CommandContext(
            accelerator: accelerator,
            memoryPath: "/dev/shm/a,b.mem",
            life: life
        )
        let text = qemuArguments(launch(), context).joined(separator: "\n") + "\n"
        let golden = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "Golden/arguments-\(accelerator).txt")
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
            try Data(text.utf8).write(to: golden)
        }
        #expect(try String(contentsOf: golden, encoding: .utf8) == text)
    }

    @Test func neverAsksForKVMOrElseSoftware() {
        let context = CommandContext(accelerator: "kvm", memoryPath: "/m", life: life)
        #expect(!qemuArguments(launch(), context).contains { $0.contains("kvm:tcg") })
    }

    @Test func aGuestWithoutNetworkOrModulesIsToldOfNeither() {
        var plain = launch()
        plain.network = .none
        plain.modulesPath = nil
        #expect(!kernelCommandLine(plain).contains("roost.ip"))
        #expect(!kernelCommandLine(plain).contains("roost.modules"))
        let context = CommandContext(accelerator: "tcg", memoryPath: "/m", life: life)
        let arguments = qemuArguments(plain, context)
        #expect(!arguments.contains { $0.contains("virtio-net") || $0.contains("modules") })
    }

    @Test func identitiesComeFromTheIDAlone() {
        let id = launch().id
        #expect(uuidText(id) == "01234567-89ab-cdef-0123-456789abcdef")
        #expect(ethernetAddress(id) == "52:54:89:ab:cd:ef")
    }
}
