import Glibc
import RoostGuestWire

/// The image's word when it is copied: every executable of /etc/roost/on-fork.d, in the order of their
/// names, one after the other, as root, without input.
///
///     next ▶ runs ▶ status 0 ▶ next …            ▶ done(nil)
///              ├──▶ another status, or a signal ──▶ done(what and its last words)
///              └──▶ too late: its group is killed ─▶ done(likewise)
///
/// What a hook leaves running goes on, and is part of the machine.
final class ForkHooks {
    static let folder = "/etc/roost/on-fork.d"
    /// How long one may take, and all of them together, in milliseconds.
    static let patience: UInt64 = 10_000
    static let patienceForAll: UInt64 = 30_000
    /// More are refused.
    static let limit = 64
    /// How much of its output's end is told, in bytes.
    private static let words = 240

    private let loop: EventLoop
    private let environment: [String]
    private let done: (GuestFailure?) -> Void
    private var waiting: [String] = []
    private var present: Hook?
    private var deadline: UInt64 = 0
    private var isAbandoned = false

    private final class Hook {
        let name: String
        let process: SpawnedProcess
        var said: [UInt8] = []
        var timer: Int?
        var isLate = false

        init(_ name: String, _ process: SpawnedProcess) {
            self.name = name
            self.process = process
        }
    }

    /// `done` is called once, unless this is abandoned: with what a hook refused, or `nil`.
    init(
        on loop: EventLoop,
        environment: [String],
        done: @escaping (GuestFailure?) -> Void
    ) {
        self.loop = loop
        self.environment = environment
        self.done = done
    }

    /// Begins. Whoever calls keeps this object until `done`.
    func run(whenEnded: @escaping (Int32, @escaping (Int32) -> Void) -> Void) {
        waiting = Self.executables().reversed()
        guard waiting.count <= Self.limit else {
            return done(
                GuestFailure(
                    .hookFailed,
                    "\(Self.folder) has \(waiting.count) hooks; there may be \(Self.limit)"
                )
            )
        }
        deadline = bootNanoseconds() + Self.patienceForAll * 1_000_000
        next(whenEnded)
    }

    /// Ends what runs; `done` is not called any more.
    func abandon() {
        isAbandoned = true
        if let present { kill(-present.process.pid, SIGKILL) }
    }

    /// The names, sorted by their bytes. Hidden files and what nobody may execute are no hooks.
    private static func executables() -> [String] {
        entries(of: folder).sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
            .filter { name in
                guard !name.hasPrefix(".") else { return false }
                var state = stat()
                guard stat("\(folder)/\(name)", &state) == 0, state.st_mode & S_IFMT == S_IFREG,
                    state.st_mode & 0o111 != 0
                else {
                    say("\(folder)/\(name) is no executable file: left out")
                    return false
                }
                return true
            }
    }

    private func next(_ whenEnded: @escaping (Int32, @escaping (Int32) -> Void) -> Void) {
        guard !isAbandoned else { return }
        guard let name = waiting.popLast() else { return done(nil) }
        let now = bootNanoseconds()
        guard now < deadline else {
            let text =
                "there was no time left for hook \(name): all have "
                + "\(Self.patienceForAll / 1_000) s"
            return done(GuestFailure(.hookFailed, text))
        }
        var request = ExecRequest(
            session: Array(repeating: 0, count: 16),
            arguments: ["\(Self.folder)/\(name)"]
        )
        request.environment = environment
        request.directory = "/"
        let hook: Hook
        do throws(GuestFailure) {
            hook = Hook(name, try spawn(request))
        } catch {
            return done(GuestFailure(.hookFailed, "hook \(name) cannot be run: \(error.text)"))
        }
        present = hook
        for end in [hook.process.output, hook.process.error] {
            loop.watch(end, EventLoop.readable) { [self] _ in
                if !read(end, of: hook) { loop.forget(end) }
            }
        }
        let left = min(Self.patience, (deadline - now) / 1_000_000 + 1)
        hook.timer = loop.after(left) {
            hook.isLate = true
            kill(-hook.process.pid, SIGKILL)
        }
        // Held until the process has ended, also by one that is abandoned.
        whenEnded(hook.process.pid) { [self] status in
            ended(hook, status)
            guard let failure = Self.failure(of: hook, status, after: left) else {
                return next(whenEnded)
            }
            if !isAbandoned { done(failure) }
        }
    }

    private func ended(_ hook: Hook, _ status: Int32) {
        present = nil
        if let timer = hook.timer { loop.cancel(timer) }
        for end in [hook.process.output, hook.process.error] {
            // Bounded: what it left running may write for ever.
            for _ in 0..<16 where read(end, of: hook) {}
            loop.forget(end)
            close(end)
        }
    }

    /// Takes what a hook said; `false` when there is nothing more now.
    private func read(_ end: Int32, of hook: Hook) -> Bool {
        guard let bytes = readSome(end, 4_096), !bytes.isEmpty else { return false }
        hook.said = Array((hook.said + bytes).suffix(Self.words))
        return true
    }

    private static func failure(
        of hook: Hook,
        _ status: Int32,
        after milliseconds: UInt64
    ) -> GuestFailure? {
        let signal = status & 0x7F
        let end: String
        if hook.isLate {
            end = "did not end within \(milliseconds / 1_000) s"
        } else if signal != 0 {
            end = "was ended by signal \(signal)"
        } else if status >> 8 != 0 {
            end = "ended with status \(status >> 8 & 0xFF)"
        } else {
            return nil
        }
        let lines = String(decoding: hook.said, as: UTF8.self)
            .split(whereSeparator: \.isNewline).joined(separator: " | ")
        let words = lines.isEmpty ? "it said nothing" : "its last words: \(lines)"
        return GuestFailure(.hookFailed, "hook \(hook.name) \(end); \(words)")
    }
}
