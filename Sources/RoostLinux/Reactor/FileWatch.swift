internal import CRoostLinux
internal import Glibc
package import RoostModel
internal import Synchronization

/// Notices changes of one file or directory (inotify).
///
/// Watch first, then look, then wait: a change between looking and waiting is not missed.
/// All watches share one inotify instance, since a user may have few of them. One waiter at a time.
package final class FileWatch: Sendable {
    /// What to notice.
    package enum Subject: Sendable {
        /// Bytes written to a file, or the file moved or removed.
        case contents
        /// Entries made, moved in or removed in a directory.
        case entries
    }

    private let descriptor: Int32
    private let signal = ChangeSignal()

    /// Begins to watch. Throws ``Reason/ioFailed`` when the path is missing or watches run out.
    package init(_ path: String, _ subject: Subject) throws(Fault) {
        let mask =
            switch subject {
            case .contents: IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF
            case .entries: IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF
            }
        descriptor = try InotifyHub.shared.add(path, UInt32(mask), signal)
    }

    deinit { InotifyHub.shared.remove(descriptor, signal) }

    /// Waits until something has changed since the last call, or the task is cancelled.
    package func changed() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { signal.wait($0) }
        } onCancel: {
            signal.note()
        }
    }
}

/// Remembers one change until somebody waits for it.
private final class ChangeSignal: Sendable {
    private struct State {
        var changed = false
        var waiting: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func wait(_ continuation: CheckedContinuation<Void, Never>) {
        let now = state.withLock { state -> Bool in
            if state.changed {
                state.changed = false
                return true
            }
            state.waiting = continuation
            return false
        }
        if now { continuation.resume() }
    }

    func note() {
        let waiting = state.withLock { state -> CheckedContinuation<Void, Never>? in
            defer { state.waiting = nil }
            state.changed = state.waiting == nil
            return state.waiting
        }
        waiting?.resume()
    }
}

/// The one inotify instance of this process.
private final class InotifyHub: Sendable {
    static let shared = InotifyHub()

    private let inotify = inotify_init1(O_CLOEXEC | O_NONBLOCK)
    private let signals = Mutex<[Int32: [ChangeSignal]]>([:])

    private init() {
        _ = Reactor.shared.handle(inotify) { [self] in drain() }
    }

    // Adding and removing hold the lock over the system call: the kernel gives two watches of one
    // file the same number, and removing the first must not take the second's away.
    func add(_ path: String, _ mask: UInt32, _ signal: ChangeSignal) throws(Fault) -> Int32 {
        let (descriptor, problem) = signals.withLock { signals -> (Int32, Int32) in
            let descriptor = inotify_add_watch(inotify, path, mask)
            guard descriptor >= 0 else { return (descriptor, errno) }
            signals[descriptor, default: []].append(signal)
            return (descriptor, 0)
        }
        guard descriptor >= 0 else { throw systemFault("watch", path, problem) }
        return descriptor
    }

    func remove(_ descriptor: Int32, _ signal: ChangeSignal) {
        signals.withLock { signals in
            signals[descriptor]?.removeAll { $0 === signal }
            if signals[descriptor]?.isEmpty == true {
                signals[descriptor] = nil
                inotify_rm_watch(inotify, descriptor)
            }
        }
    }

    private func drain() {
        let size = MemoryLayout<inotify_event>.size
        withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 8) { buffer in
            guard let base = buffer.baseAddress else { return }
            while case let count = read(inotify, base, buffer.count), count > 0 {
                var at = 0
                while at + size <= count {
                    let event = UnsafeRawBufferPointer(buffer)
                        .loadUnaligned(fromByteOffset: at, as: inotify_event.self)
                    at += size + Int(event.len)
                    // An overflow (-1) says only that something was lost: everybody looks.
                    let hit = signals.withLock { signals in
                        event.wd < 0 ? signals.values.flatMap(\.self) : signals[event.wd] ?? []
                    }
                    for signal in hit { signal.note() }
                }
            }
        }
    }
}
