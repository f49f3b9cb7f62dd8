import RoostModel
import RoostOperations

/// Kills, fails or delays a process where the product says that it may, as the seed says.
struct SeededFailpoints: Failpoints {
    let world: World
    let process: SimulatedProcess

    func pass(_ point: Failpoint) async throws(Fault) {
        let profile = world.profile
        if world.fault(.kill, profile.failpointKills) {
            world.mark("killed at \(point)")
            await process.kill()
        }
        if world.fault(.error, profile.failpointErrors) {
            world.mark("failed at \(point)")
            throw Fault(.ioFailed, "failpoint \(point)")
        }
        // A copy that begins late meets whoever removes its template.
        let isLate = point == .beforeStep("copy-template")
        if world.fault(.delay, profile.failpointDelays * (isLate ? 10 : 1)) {
            await world.pause(upTo: .seconds(2))
        }
    }

    func skips(_ point: Failpoint) -> Bool { world.sabotage == point }

    func mark(_ marker: Marker) { world.mark(marker.rawValue) }
}
