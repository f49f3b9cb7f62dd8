import RoostDriver
import RoostModel
import RoostTestKit
import Synchronization
import Testing

@Suite("Saved machines, simulated")
struct SimulatedForkingTests {
    @Test(arguments: ForkingConformance.all)
    func conforms(_ check: ForkingConformance) async throws {
        try await check.run(in: SimulatedForkingWorkshop())
    }

    @Test func aDaemonThatDiesInTheMiddleLeavesNoSavedMachineAndTheNextSaves() async throws {
        let shop = SimulatedForkingWorkshop()
        let launch = try await shop.newLaunch()
        try await shop.driver.start(launch)
        shop.host.work(launch.id, 4)
        let order = SaveOrder(folder: "/saves/1", memory: .onHost, afterwards: .ends)
        // What a daemon leaves that died after it had written the files.
        _ = shop.host.writeHalf(of: launch.id, order)
        #expect(shop.host.savedFolders.isEmpty && shop.host.savedFiles.count == 3)
        let saved = try await shop.nextDaemon().save(launch, order)
        #expect(shop.host.savedFolders == ["/saves/1"])
        #expect(shop.host.machines.isEmpty)
        try await shop.driver.discard(savedIn: saved.order.folder)
        #expect(shop.host.savedFiles.isEmpty)
    }
}

/// Guests that count when they are asked to.
final class SimulatedForkingWorkshop: ForkingWorkshop {
    let host = SimulatedHypervisor()
    private let drivers: Mutex<[SimulatedDriver]>
    private let number = Mutex(0)

    init() {
        drivers = Mutex([SimulatedDriver(host: host, clock: ContinuousClock())])
    }

    var driver: any Forking { drivers.withLock { $0[$0.count - 1] } }

    func nextDaemon() async throws -> any Forking {
        let next = SimulatedDriver(host: host, clock: ContinuousClock())
        drivers.withLock { $0.append(next) }
        return next
    }

    func newLaunch() async throws -> VMLaunch {
        let number = next()
        return VMLaunch(
            id: VMID(bits: UInt128(number)),
            name: "box",
            cores: 1,
            memoryMiB: 32,
            directory: "/vms/\(number)",
            kernelPath: "/kernel",
            initramfsPath: "/initramfs",
            modulesPath: nil,
            rootDiskPath: "/vms/\(number)/root.qcow2",
            network: .none,
            ports: [],
            memoryDirectory: "/memory",
            generation: 1
        )
    }

    func copy(of saved: SavedMachine) async throws -> VMLaunch { try await newLaunch() }
    func newFolder() async throws -> String { "/saves/\(next())" }
    func said(_ launch: VMLaunch) async throws -> [Int] { host.said(launch.id) }

    func waitUntilSaid(_ launch: VMLaunch, moreThan count: Int) async throws {
        host.work(launch.id, max(1, count + 1 - host.said(launch.id).count))
        guard host.said(launch.id).count > count else {
            throw ForkingConformance.Broken(description: "it stands still")
        }
    }

    func successor(of number: Int) -> Int { number + 1 }

    func damage(_ part: SavedMachine.Part, _ damage: ForkingDamage) async throws {
        host.damage(part.path, isMissing: damage == .missing, shortened: damage == .truncated)
    }

    func exists(_ part: SavedMachine.Part) async -> Bool { host.savedFiles.contains(part.path) }

    private func next() -> Int {
        number.withLock { number in
            number += 1
            return number
        }
    }
}
