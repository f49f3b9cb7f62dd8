import RoostDriver
import RoostModel
import Synchronization

extension ForkingConformance {
    static let holding: [ForkingConformance] = [
        ForkingConformance("a guest is held for the instant alone, before anything is sealed") {
            shop in
            let launch = try await started(shop)
            let order = try await goingOn(shop)
            let driver = shop.driver
            let watch = Watch { () async throws(Fault) in
                let phase = try await driver.inspect(launch.id).map { "\($0.phase)" } ?? "absent"
                let isKept = try await driver.savedMachine(in: order.folder) != nil
                return isKept ? "\(phase), kept" : phase
            }
            _ = try await driver.save(launch, order, holding: watch)
            try expect(watch.seen == ["hold: running", "let go: running"], "\(watch.seen)")
            // What is there already needs no guest.
            _ = try await driver.save(launch, order, holding: watch)
            try expect(watch.seen.count == 2, "held for nothing: \(watch.seen)")
        },
        ForkingConformance("a guest that cannot be held is not kept, and its machine runs") {
            shop in
            let launch = try await started(shop)
            let order = try await goingOn(shop)
            let driver = shop.driver
            let deaf = Watch { () async throws(Fault) in
                throw Fault(.guestUnreachable, "it does not answer")
            }
            try await refused(.guestUnreachable) {
                try await driver.save(launch, order, holding: deaf)
            }
            try expect(deaf.seen.isEmpty, "it was let go: \(deaf.seen)")
            try await expect(driver.savedMachine(in: order.folder) == nil, "it was kept")
            let count = try await shop.said(launch).count
            try await shop.waitUntilSaid(launch, moreThan: count + 3)
            try unbroken(try await shop.said(launch), shop)
            _ = try await driver.save(launch, order)
        },
        ForkingConformance("a machine that stands paused is kept without its guest, and stands") {
            shop in
            let launch = try await started(shop)
            let order = try await goingOn(shop)
            try await shop.driver.pause(launch.id)
            let watch = Watch { () async throws(Fault) in "" }
            _ = try await shop.driver.save(launch, order, holding: watch)
            try expect(watch.seen.isEmpty, "a guest that stands was asked: \(watch.seen)")
            try await expect(shop.driver.inspect(launch.id)?.phase == .paused, "it runs")
        },
    ]

    private static func goingOn(_ shop: any ForkingWorkshop) async throws -> SaveOrder {
        SaveOrder(folder: try await shop.newFolder(), memory: .onHost, afterwards: .goesOn)
    }
}

/// Notes what it sees when a guest is held, and let go.
private final class Watch: GuestHold {
    private let look: @Sendable () async throws(Fault) -> String
    private let notes = Mutex<[String]>([])

    init(_ look: @escaping @Sendable () async throws(Fault) -> String) { self.look = look }

    var seen: [String] { notes.withLock(\.self) }

    func hold() async throws(Fault) { try await note("hold") }
    func letGo() async throws(Fault) { try await note("let go") }

    private func note(_ call: String) async throws(Fault) {
        let words = try await look()
        notes.withLock { $0.append("\(call): \(words)") }
    }
}
