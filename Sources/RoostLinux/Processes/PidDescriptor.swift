internal import CRoostLinux
internal import Glibc
package import RoostModel

/// How a child ended.
package enum ProcessEnd: Sendable, Hashable {
    case exited(code: Int32)
    case killed(signal: Int32)
    /// It was not our child, so the kernel does not tell.
    case unknown
}

/// A process that cannot be mistaken for another: signals and waiting go through its pidfd.
package final class PidDescriptor: Sendable {
    package let pid: Int32
    private let descriptor: Descriptor

    init(pid: Int32, descriptor: Descriptor) {
        self.pid = pid
        self.descriptor = descriptor
    }

    /// Opens the very process `identity`; `nil` when it is gone. The pid may have been given away
    /// between looking and opening, so it is looked at again afterwards.
    package init?(_ identity: ProcessIdentity) {
        let number = roost_host_pidfd_open(identity.pid)
        guard number >= 0 else { return nil }
        descriptor = Descriptor(number)
        pid = identity.pid
        guard identity.isAlive else { return nil }
    }

    deinit { Reactor.shared.forget(descriptor.number) }

    /// Sends a signal. A process that has ended is fine.
    package func signal(_ signal: Int32) throws(Fault) {
        let problem = roost_host_pidfd_signal(descriptor.number, signal)
        guard problem == 0 || problem == -ESRCH else {
            throw systemFault("signal", "process \(pid)", -problem)
        }
    }

    /// Waits until it has ended, and reaps it if it is our child. Returns `nil` when the deadline
    /// passes or the task is cancelled first. May be called again.
    package func end(until deadline: ContinuousClock.Instant? = nil) async -> ProcessEnd? {
        guard await Reactor.shared.wait(descriptor.number, for: .read, until: deadline) == .ready
        else { return nil }
        var code: Int32 = 0
        var status: Int32 = 0
        guard roost_host_pidfd_reap(descriptor.number, &code, &status) == 1 else { return .unknown }
        return code == 1 ? .exited(code: status) : .killed(signal: status)
    }
}
