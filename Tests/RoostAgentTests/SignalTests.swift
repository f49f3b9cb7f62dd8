import Glibc
import Testing

@testable import RoostAgent

@Suite("A signal to process 1")
struct SignalTests {
    /// As the kernel and busybox's `reboot`, `poweroff` and `halt` send them; `nil` is no order.
    static let senders: [(signal: Int32, reboots: Bool?)] = [
        (SIGINT, true), (SIGTERM, true), (SIGPWR, false), (SIGUSR1, false), (SIGUSR2, false),
        (SIGCHLD, nil), (SIGHUP, nil),
    ]

    @Test("is the order that its sender means")
    func orders() {
        for (signal, reboots) in Self.senders {
            #expect(rebootOrder(signal) == reboots, "signal \(signal)")
        }
    }
}
