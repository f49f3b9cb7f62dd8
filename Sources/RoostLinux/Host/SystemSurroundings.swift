internal import CRoostLinux
internal import Glibc
package import RoostModel

/// The kernel's random numbers (getrandom(2)).
package struct EntropySource: Entropy {
    package init() {}

    package func next() -> UInt64 {
        var bits: UInt64 = 0
        roost_host_random(&bits, 8)
        return bits
    }
}

/// The host's time of day.
package struct SystemWallClock: WallClock {
    package init() {}

    package func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }
}
