package import RoostDriver
import RoostModel

/// A host for ``ForkingConformance``: its guests count, say each number once, and tell what they said.
package protocol ForkingWorkshop: Sendable {
    var driver: any Forking { get }
    /// The driver of a daemon that takes over now; the earlier one is not asked again.
    func nextDaemon() async throws -> any Forking
    /// A new VM with directory and disk, not started.
    func newLaunch() async throws -> VMLaunch
    /// A new VM with a fresh overlay over the saved disk, not started.
    func copy(of saved: SavedMachine) async throws -> VMLaunch
    /// A path for a saved machine, with nothing there yet.
    func newFolder() async throws -> String
    /// What its VMM has said so far: a run of numbers, the first of a booted guest being 0.
    func said(_ launch: VMLaunch) async throws -> [Int]
    /// Waits until it has said more than `count` numbers.
    func waitUntilSaid(_ launch: VMLaunch, moreThan count: Int) async throws
    /// The number after `number`.
    func successor(of number: Int) -> Int
    func damage(_ part: SavedMachine.Part, _ damage: ForkingDamage) async throws
    /// Whether the part's file is there, in whatever state.
    func exists(_ part: SavedMachine.Part) async -> Bool
}

/// What happens to a file on a bad day.
package enum ForkingDamage: String, CaseIterable, Sendable {
    case missing
    case truncated
    case changed
}

/// What every ``Forking`` driver must do: sentences, each a check that a new host passes or fails.
package struct ForkingConformance: Sendable, CustomStringConvertible {
    /// The claim.
    package let name: String
    private let body: @Sendable (any ForkingWorkshop) async throws -> Void

    init(_ name: String, _ body: @escaping @Sendable (any ForkingWorkshop) async throws -> Void) {
        self.name = name
        self.body = body
    }

    /// Runs the check in `shop`, which must be new. Throws ``Broken`` with what was
    /// found, or what the driver threw unasked.
    package func run(in shop: any ForkingWorkshop) async throws { try await body(shop) }

    package var description: String { name }

    /// Every check.
    package static let all: [ForkingConformance] =
        suspending + copying + refusing + goingOn + holding + goingBack + sharing

    private static let suspending: [ForkingConformance] = [
        ForkingConformance("a suspended machine ends and goes on where it stood") { shop in
            let launch = try await started(shop)
            let saved = try await suspend(launch, shop)
            let before = try await shop.said(launch)
            try await expect(shop.driver.inspect(launch.id) == nil, "it still runs")
            try await shop.driver.start(launch, from: saved)
            try await shop.waitUntilSaid(launch, moreThan: before.count + 3)
            try unbroken(try await shop.said(launch), shop)
            try await expect(shop.driver.inspect(launch.id)?.phase == .running, "it stands still")
        },
        ForkingConformance("it may be suspended again and again") { shop in
            let launch = try await started(shop)
            for _ in 0..<3 {
                let saved = try await suspend(launch, shop)
                let count = try await shop.said(launch).count
                try await shop.driver.start(launch, from: saved)
                try await expect(
                    shop.driver.savedMachine(in: saved.order.folder) == nil,
                    "memory older than its disk can be found"
                )
                try await shop.waitUntilSaid(launch, moreThan: count + 3)
            }
            try unbroken(try await shop.said(launch), shop)
        },
        ForkingConformance("a save that is repeated, by whichever daemon, changes nothing") {
            shop in
            let launch = try await started(shop)
            let saved = try await suspend(launch, shop)
            let again = try await shop.driver.save(launch, saved.order)
            try expect(again == saved, "another answer: \(again)")
            let next = try await shop.nextDaemon()
            let later = try await next.save(launch, saved.order)
            try expect(later == saved, "another answer by the next daemon: \(later)")
            try await next.start(launch, from: saved)
            let count = try await shop.said(launch).count
            try await shop.waitUntilSaid(launch, moreThan: count)
            try unbroken(try await shop.said(launch), shop)
            try await next.kill(launch.id)
        },
        ForkingConformance("a machine that stood paused can be suspended") { shop in
            let launch = try await started(shop)
            try await shop.driver.pause(launch.id)
            let saved = try await suspend(launch, shop)
            let count = try await shop.said(launch).count
            try await shop.driver.start(launch, from: saved)
            try await shop.waitUntilSaid(launch, moreThan: count)
            try unbroken(try await shop.said(launch), shop)
        },
    ]

    private static let copying: [ForkingConformance] = [
        ForkingConformance("every copy of a template goes on from its instant") { shop in
            let launch = try await started(shop)
            let saved = try await template(launch, shop)
            let last = try await shop.said(launch).last
            for _ in 0..<3 {
                let copy = try await shop.copy(of: saved)
                try await shop.driver.start(copy, from: saved)
                try await shop.waitUntilSaid(copy, moreThan: 3)
                try unbroken(try await shop.said(copy), shop, after: last)
            }
            try await expect(shop.driver.running().count == 3, "not all three run")
        },
        ForkingConformance("a copy outlives what it was started from") { shop in
            let launch = try await started(shop)
            let saved = try await template(launch, shop)
            let copy = try await shop.copy(of: saved)
            try await shop.driver.start(copy, from: saved)
            try await shop.driver.discard(savedIn: saved.order.folder)
            try await shop.driver.discard(savedIn: saved.order.folder)
            try await expect(
                shop.driver.savedMachine(in: saved.order.folder) == nil,
                "it is still there"
            )
            let count = try await shop.said(copy).count
            try await shop.waitUntilSaid(copy, moreThan: count + 3)
            try unbroken(try await shop.said(copy), shop)
        },
        ForkingConformance("a copy saved again holds what it did, on host and on disk") { shop in
            let launch = try await started(shop)
            var saved = try await template(launch, shop)
            var last = try await shop.said(launch).last
            for memory in [SaveOrder.Memory.onHost, .onDisk, .onHost] {
                let copy = try await shop.copy(of: saved)
                try await shop.driver.start(copy, from: saved)
                try await shop.waitUntilSaid(copy, moreThan: 3)
                try unbroken(try await shop.said(copy), shop, after: last)
                let order = SaveOrder(
                    folder: try await shop.newFolder(),
                    memory: memory,
                    afterwards: .ends
                )
                saved = try await shop.driver.save(copy, order)
                last = try await shop.said(copy).last
            }
        },
    ]

    private static let refusing: [ForkingConformance] =
        [SavedMachine.Part.Role.memory, .devices, .rootDisk].flatMap { role in
            ForkingDamage.allCases.map { damage in
                ForkingConformance("\(role) that is \(damage) is refused, nothing dropped") {
                    shop in
                    let launch = try await started(shop)
                    let order = SaveOrder(
                        folder: try await shop.newFolder(),
                        memory: .onDisk,
                        afterwards: .ends
                    )
                    let saved = try await shop.driver.save(launch, order)
                    let copy = try await shop.copy(of: saved)
                    guard let part = saved.part(role) else {
                        throw Broken(description: "no part \(role)")
                    }
                    try await shop.damage(part, damage)
                    for driver in [shop.driver, try await shop.nextDaemon()] {
                        try await refused(.savedStateDamaged) {
                            try await driver.start(copy, from: saved)
                        }
                        try await refused(.savedStateDamaged) { try await driver.verify(saved) }
                    }
                    for other in saved.parts where other.role != role || damage != .missing {
                        try await expect(shop.exists(other), "\(other.role) was dropped")
                    }
                }
            }
        } + [
            ForkingConformance("a machine of another shape is refused, saying what differs") {
                shop in
                let launch = try await started(shop)
                let saved = try await template(launch, shop)
                var copy = try await shop.copy(of: saved)
                copy.cores += 1
                let other = copy
                let fault = try await refused(.shapeDiffers) {
                    try await shop.driver.start(other, from: saved)
                }
                try expect(fault.message.contains("-smp"), "it does not say so: \(fault)")
                try await expect(shop.driver.inspect(copy.id) == nil, "a process is left")
            },
            ForkingConformance("a folder without a manifest is no saved machine") { shop in
                let folder = try await shop.newFolder()
                try await expect(shop.driver.savedMachine(in: folder) == nil, "there is one")
            },
            ForkingConformance("a save into another's folder is refused, and the machine runs") {
                shop in
                let launch = try await started(shop)
                let saved = try await template(launch, shop)
                let other = try await started(shop)
                try await refused(.inUse) { try await shop.driver.save(other, saved.order) }
                let count = try await shop.said(other).count
                try await shop.waitUntilSaid(other, moreThan: count)
                try await expect(
                    shop.driver.savedMachine(in: saved.order.folder) == saved,
                    "the other saved machine was touched"
                )
            },
            ForkingConformance("a machine that does not run cannot be saved") { shop in
                let launch = try await shop.newLaunch()
                let order = SaveOrder(
                    folder: try await shop.newFolder(),
                    memory: .onHost,
                    afterwards: .ends
                )
                try await refused(.wrongState) { try await shop.driver.save(launch, order) }
            },
        ]

    private static let goingOn: [ForkingConformance] =
        [SaveOrder.Memory.onHost, .onDisk].map { memory in
            ForkingConformance("a running machine is saved \(memory) and goes on, twice") { shop in
                let launch = try await started(shop)
                for _ in 0..<2 {
                    let order = SaveOrder(
                        folder: try await shop.newFolder(),
                        memory: memory,
                        afterwards: .goesOn
                    )
                    let saved = try await shop.driver.save(launch, order)
                    let count = try await shop.said(launch).count
                    let copy = try await shop.copy(of: saved)
                    try await shop.driver.start(copy, from: saved)
                    try await shop.waitUntilSaid(copy, moreThan: 3)
                    try await shop.waitUntilSaid(launch, moreThan: count + 3)
                    let all = try await shop.said(launch)
                    try unbroken(all, shop)
                    let first = try await shop.said(copy).first ?? -1
                    try expect(all.contains(first), "the copy began with \(first)")
                    try unbroken(try await shop.said(copy), shop)
                    try await shop.driver.discard(savedIn: order.folder)
                    try await shop.driver.kill(copy.id)
                }
                try await expect(shop.driver.running() == [launch.id], "something else runs")
            }
        } + [
            ForkingConformance("whoever waits for a machine that goes on waits on") { shop in
                let launch = try await started(shop)
                let order = SaveOrder(
                    folder: try await shop.newFolder(),
                    memory: .onHost,
                    afterwards: .goesOn
                )
                let driver = shop.driver
                async let exit = driver.waitForExit(launch.id)
                _ = try await driver.save(launch, order)
                let next = try await shop.said(launch).count
                try await shop.waitUntilSaid(launch, moreThan: next)
                let pid = try await driver.inspect(launch.id)?.pid
                try await driver.kill(launch.id)
                let cause = await exit.cause
                try expect(cause == .killed(signal: 9), "it ended as \(cause)")
                try expect(pid != nil, "it did not go on")
            }
        ]
}

extension ForkingConformance {
    /// Keeps the machine of `launch` as it is; it goes on, or stays stopped.
    static func keep(
        _ launch: VMLaunch,
        _ name: String,
        _ shop: any ForkingWorkshop,
        _ memory: SaveOrder.Memory = .onDisk
    ) async throws -> SavedMachine {
        let folder = "\(launch.directory)/checkpoints/\(name)"
        let order = SaveOrder(folder: folder, memory: memory, afterwards: .goesOn)
        return try await shop.driver.save(launch, order)
    }

    /// A claim that does not hold.
    package struct Broken: Error, CustomStringConvertible {
        package let description: String

        package init(description: String) { self.description = description }
    }

    static func started(_ shop: any ForkingWorkshop) async throws -> VMLaunch {
        let launch = try await shop.newLaunch()
        try await shop.driver.start(launch)
        try await shop.waitUntilSaid(launch, moreThan: 3)
        return launch
    }

    private static func suspend(
        _ launch: VMLaunch,
        _ shop: any ForkingWorkshop
    ) async throws -> SavedMachine {
        let folder = try await shop.newFolder()
        let order = SaveOrder(folder: folder, memory: .onDisk, afterwards: .endsInPlace)
        return try await shop.driver.save(launch, order)
    }

    static func template(
        _ launch: VMLaunch,
        _ shop: any ForkingWorkshop
    ) async throws -> SavedMachine {
        let folder = try await shop.newFolder()
        let order = SaveOrder(folder: folder, memory: .onHost, afterwards: .ends)
        return try await shop.driver.save(launch, order)
    }

    static func expect(_ holds: Bool, _ otherwise: String) throws {
        if !holds { throw Broken(description: otherwise) }
    }

    /// Nothing said twice, nothing left out: the guest noticed nothing.
    static func unbroken(
        _ said: [Int],
        _ shop: any ForkingWorkshop,
        after before: Int? = nil
    ) throws {
        let whole = (before.map { [$0] } ?? []) + said
        for (one, next) in zip(whole, whole.dropFirst()) where shop.successor(of: one) != next {
            throw Broken(description: "\(next) after \(one) in \(whole)")
        }
    }

    @discardableResult
    static func refused(
        _ reason: Reason,
        _ body: () async throws -> some Any
    ) async throws -> Fault {
        do {
            _ = try await body()
        } catch let fault as Fault {
            try expect(fault.reason == reason, "refused as \(fault)")
            return fault
        }
        throw Broken(description: "\(reason.rawValue) was expected, and it succeeded")
    }
}
