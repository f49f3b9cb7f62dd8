import RoostModel
import Testing

@testable import RoostNode

@Suite("The clocks of guests")
struct ClockWatchTests {
    /// Milliseconds that pass awake and on the wall from one look to the next, and whether guests are
    /// off then.
    static let days: [(name: String, [(awake: Int64, wall: Int64, isOff: Bool)])] = [
        ("awake all day", [(15_000, 15_000, false), (86_400_000, 86_400_000, false)]),
        ("asleep for an hour", [(15_000, 3_615_000, true), (15_000, 15_000, false)]),
        ("asleep for two seconds", [(15_000, 17_000, true)]),
        ("a nap within what is tolerated", [(15_000, 15_900, false)]),
        ("many naps", [(15_000, 15_600, false), (15_000, 15_600, true), (15_000, 15_600, false)]),
        ("the host's clock is set ahead", [(15_000, 115_000, true), (15_000, 15_000, false)]),
        ("the host's clock is set back", [(15_000, -3_600_000, true), (15_000, 15_000, false)]),
        ("set ahead and back between two looks", [(15_000, 15_000, false)]),
        ("drifting by 50 ms a look", [(15_000, 15_050, false), (285_000, 285_950, false)]),
        ("drifting on", [(300_000, 301_000, false), (15_000, 15_050, true)]),
    ]

    @Test("are set when they are off, once, by whatever it came", arguments: days.indices)
    func steps(_ index: Int) {
        let (name, looks) = Self.days[index]
        var now = ClockWatch.Reading(
            wall: Timestamp(milliseconds: 1_800_000_000_000),
            awake: .seconds(77)
        )
        var watch = ClockWatch(now)
        for (number, look) in looks.enumerated() {
            now.wall = Timestamp(milliseconds: now.wall.milliseconds + look.wall)
            now.awake += .milliseconds(look.awake)
            #expect(watch.isOff(at: now) == look.isOff, "\(name), look \(number)")
        }
    }
}
