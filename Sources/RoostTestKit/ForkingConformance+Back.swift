import RoostDriver
import RoostModel

/// What every ``Forking`` driver must do about the way back to a saved machine.
extension ForkingConformance {
    static let goingBack: [ForkingConformance] = [
        ForkingConformance("a machine goes back to where it was saved, and again, running or not") {
            shop in
            let launch = try await started(shop)
            try await shop.driver.pause(launch.id)
            let saved = try await keep(launch, "a", shop)
            guard let last = try await shop.said(launch).last else {
                throw Broken(description: "it has said nothing")
            }
            try await shop.driver.resume(launch.id)
            for round in ["running", "paused", "dead", "running"] {
                let count = try await shop.said(launch).count
                try await shop.waitUntilSaid(launch, moreThan: count + 3)
                if round == "paused" { try await shop.driver.pause(launch.id) }
                if round == "dead" { try await shop.driver.kill(launch.id) }
                let before = try await shop.said(launch).count
                try await shop.driver.revert(launch, to: saved)
                try await isBack(launch, shop, after: last, since: before)
                try await expect(
                    shop.driver.inspect(launch.id)?.phase == .running,
                    "\(round): it stands still"
                )
                try await expect(shop.driver.running() == [launch.id], "something else runs")
                try await shop.driver.verify(saved)
            }
        },
        ForkingConformance("a machine that has become larger goes back to the smaller one") {
            shop in
            let small = try await started(shop)
            try await shop.driver.pause(small.id)
            let saved = try await keep(small, "a", shop)
            try await expect(shop.driver.inspect(small.id)?.phase == .paused, "it goes on")
            let last = try await shop.said(small).last
            var large = small
            large.memoryMiB += 32
            for isUp in [true, false] {
                try await shop.driver.kill(small.id)
                try await shop.driver.start(large)
                let count = try await shop.said(small).count
                try await shop.waitUntilSaid(small, moreThan: count + 3)
                if !isUp { try await shop.driver.kill(small.id) }
                let before = try await shop.said(small).count
                try await shop.driver.revert(small, to: saved)
                try await isBack(small, shop, after: last ?? -1, since: before)
            }
            // It is the small one in whatever is kept from here on.
            try await shop.driver.pause(small.id)
            let again = try await keep(small, "b", shop)
            try expect(again.shape == saved.shape, "another shape: \(again.shape)")
        },
        ForkingConformance("a machine goes back and forth in its tree, and keeps each moment") {
            shop in
            let launch = try await started(shop)
            var moments: [(SavedMachine, Int)] = []
            for name in ["a", "b", "c"] {
                let count = try await shop.said(launch).count
                try await shop.waitUntilSaid(launch, moreThan: count + 3)
                try await shop.driver.pause(launch.id)
                let saved = try await keep(launch, name, shop)
                moments.append((saved, try await shop.said(launch).last ?? -1))
                try await shop.driver.resume(launch.id)
            }
            // The fourth is the child of the first, beside the second.
            for (index, name) in [(0, "d"), (2, "e"), (3, "f"), (1, ""), (3, "")] {
                let (saved, last) = moments[index]
                let before = try await shop.said(launch).count
                try await shop.driver.revert(launch, to: saved)
                try await isBack(launch, shop, after: last, since: before)
                guard !name.isEmpty else { continue }
                try await shop.driver.pause(launch.id)
                let next = try await keep(launch, name, shop)
                moments.append((next, try await shop.said(launch).last ?? -1))
                try await shop.driver.resume(launch.id)
            }
            for (saved, _) in moments { try await shop.driver.verify(saved) }
        },
        ForkingConformance("a disk kept alone is what a machine goes back to, stopped") { shop in
            let launch = try await started(shop)
            try await refused(.wrongState) { try await keep(launch, "a", shop, .absent) }
            try await shop.driver.kill(launch.id)
            let saved = try await keep(launch, "a", shop, .absent)
            try expect(!saved.hasMemory && saved.part(.memory) == nil, "it has memory: \(saved)")
            for isUp in [true, false] {
                if isUp { try await shop.driver.start(launch) }
                try await shop.driver.revert(launch, to: saved)
                try await expect(shop.driver.inspect(launch.id) == nil, "it runs")
                try await shop.driver.verify(saved)
            }
            let count = try await shop.said(launch).count
            try await shop.driver.start(launch)
            try await shop.waitUntilSaid(launch, moreThan: count + 3)
        },
        ForkingConformance("a way back to another shape is refused, and the machine goes on") {
            shop in
            let launch = try await started(shop)
            let saved = try await keep(launch, "a", shop)
            var other = launch
            other.cores += 1
            let wrong = other
            try await refused(.shapeDiffers) { try await shop.driver.revert(wrong, to: saved) }
            let count = try await shop.said(launch).count
            try await shop.waitUntilSaid(launch, moreThan: count + 3)
            try unbroken(try await shop.said(launch), shop)
        },
    ]

    /// It goes on after the number `last`, once it has perhaps said a little more than the first
    /// `before` numbers.
    private static func isBack(
        _ launch: VMLaunch,
        _ shop: any ForkingWorkshop,
        after last: Int,
        since before: Int
    ) async throws {
        let count = try await shop.said(launch).count
        try await shop.waitUntilSaid(launch, moreThan: count + 3)
        let said = try await shop.said(launch)
        let back = (max(before, 1)..<said.count).first { index in
            shop.successor(of: said[index - 1]) != said[index]
        }
        // Without a break it went back to where it was just then, or nowhere.
        guard let back else {
            let isThere = said[before...].contains(shop.successor(of: last))
            return try expect(isThere, "not back after \(last): \(said)")
        }
        try unbroken(Array(said[back...]), shop, after: last)
    }

    static let sharing: [ForkingConformance] =
        ForkingDamage.allCases.flatMap { damage in
            [SavedMachine.Part.Role.memory, .devices, .rootDisk].map { role in
                ForkingConformance("a way back whose \(role) is \(damage) is refused") { shop in
                    let launch = try await started(shop)
                    let saved = try await keep(launch, "a", shop)
                    guard let part = saved.part(role) else {
                        throw Broken(description: "no part \(role)")
                    }
                    try await shop.damage(part, damage)
                    try await refused(.savedStateDamaged) {
                        try await shop.driver.revert(launch, to: saved)
                    }
                    let count = try await shop.said(launch).count
                    try await shop.waitUntilSaid(launch, moreThan: count + 3)
                    try unbroken(try await shop.said(launch), shop)
                }
            }
        } + [
            ForkingConformance("one of several moments may go: the others are whole") { shop in
                let launch = try await started(shop)
                let first = try await keep(launch, "a", shop)
                let second = try await keep(launch, "b", shop)
                try await shop.driver.discard(savedIn: first.order.folder)
                try await shop.driver.verify(second)
                let before = try await shop.said(launch).count
                try await shop.driver.revert(launch, to: second)
                try await shop.waitUntilSaid(launch, moreThan: before + 3)
                let third = try await keep(launch, "c", shop)
                try await shop.driver.discard(savedIn: second.order.folder)
                try await shop.driver.verify(third)
                let count = try await shop.said(launch).count
                try await shop.driver.revert(launch, to: third)
                try await shop.waitUntilSaid(launch, moreThan: count + 3)
            },
            ForkingConformance("a moment under a further name outlives its first, with copies") {
                shop in
                let launch = try await started(shop)
                try await shop.driver.pause(launch.id)
                let saved = try await keep(launch, "a", shop)
                let last = try await shop.said(launch).last
                let folder = try await shop.newFolder()
                for _ in 0..<2 { try await shop.driver.share(saved, in: folder) }
                try await shop.driver.kill(launch.id)
                try await shop.driver.discard(savedIn: saved.order.folder)
                guard let shared = try await shop.driver.savedMachine(in: folder) else {
                    throw Broken(description: "it is not there")
                }
                let copy = try await shop.copy(of: shared)
                try await shop.driver.start(copy, from: shared)
                try await shop.waitUntilSaid(copy, moreThan: 3)
                try unbroken(try await shop.said(copy), shop, after: last)
            },
        ]
}
