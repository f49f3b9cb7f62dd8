internal import Foundation
internal import Glibc
package import RoostDriver
internal import RoostLinux
package import RoostModel
internal import Synchronization

/// What the user wants guests to be run with.
package enum AccelerationChoice: String, CaseIterable, Sendable {
    /// KVM where a guest really runs under it, software emulation elsewhere.
    case auto
    case kvm
    case tcg
}

/// Finds out whether KVM really works, by running a guest: `/dev/kvm` may open and answer, and a
/// guest may still hang for ever or crawl (nested virtualization without hardware help).
///
/// The answer is kept in the state directory for as long as QEMU, kernel and boot stay the same, so
/// that only the first start pays for it.
package final class AccelerationProbe: Sendable {
    /// A working KVM runs the probe in under 0.3 s; a useless one needs 3 … 5 s or for ever.
    static let patience = Duration.seconds(2)

    private struct Kept: Codable {
        var key: String
        var answer: Acceleration
    }

    private struct State {
        var versions: [String: String] = [:]
        var answers: [String: Task<Acceleration, Never>] = [:]
    }

    private let stateDirectory: String
    private let choice: AccelerationChoice
    private let device: String
    private let state = Mutex(State())

    /// `device` is where KVM is looked for.
    package init(
        stateDirectory: String,
        choice: AccelerationChoice,
        device: String = "/dev/kvm"
    ) {
        self.stateDirectory = stateDirectory
        self.choice = choice
        self.device = device
    }

    /// What QEMU at `path` says of itself. Asked once for each state of that file.
    package func version(of path: String) async throws(Fault) -> String {
        var status = stat()
        guard stat(path, &status) == 0 else { throw systemFault("look at", path, errno) }
        let key = "\(path) \(status.st_ino) \(status.st_size) \(status.st_mtim.tv_sec)"
        if let known = state.withLock({ $0.versions[key] }) { return known }
        let result = try await runTool(path, ["--version"], deadline: .seconds(10))
        let line = String(result.text.prefix { $0 != "\n" })
        state.withLock { $0.versions[key] = line }
        return line
    }

    /// How guests are run with QEMU at `path`, and why. The same answer for the daemon's life.
    package func answer(emulator path: String) async -> Acceleration {
        switch choice {
        case .kvm: return Acceleration(kind: "kvm", why: "asked for; not probed")
        case .tcg: return Acceleration(kind: "tcg", why: "asked for")
        case .auto: break
        }
        let task = state.withLock { state in
            if let task = state.answers[path] { return task }
            let task = Task { await decide(path) }
            state.answers[path] = task
            return task
        }
        return await task.value
    }

    private var cachePath: String { "\(stateDirectory)/acceleration.json" }

    private func decide(_ path: String) async -> Acceleration {
        guard access(device, R_OK | W_OK) == 0 else {
            let problem = errorText(errno)
            return Acceleration(kind: "tcg", why: "'\(device)' cannot be used: \(problem)")
        }
        let version = (try? await version(of: path)) ?? ""
        let key = "\(path)|\(version)|\(HostFacts.kernelRelease)|\(HostFacts.bootID)"
        let file = cachePath
        let kept = try? await onItsOwnThread { () throws(Fault) in
            try DurableFile.read(file, limit: 64 << 10)
        }
        if let kept = kept ?? nil,
            let known = try? JSONDecoder().decode(Kept.self, from: Data(kept)), known.key == key
        {
            return known.answer
        }
        let answer = await run(path)
        if let data = try? JSONEncoder().encode(Kept(key: key, answer: answer)) {
            // Without the file the next daemon probes again: nothing else is lost.
            _ = try? await onItsOwnThread { () throws(Fault) in
                try DurableFile.write(file, Array(data), sync: false)
            }
        }
        return answer
    }

    private func run(_ path: String) async -> Acceleration {
        let (kind, took) = await Self.boots(path, accelerator: "kvm", within: Self.patience)
        let seconds = (took / .milliseconds(1)).rounded() / 1000
        switch kind {
        case .ran:
            return Acceleration(kind: "kvm", why: "a guest ran under KVM in \(seconds) s")
        case .silent:
            return Acceleration(
                kind: "tcg",
                why: "'\(device)' opens, but a guest under KVM did nothing for \(seconds) s"
            )
        case .refused(let words):
            return Acceleration(kind: "tcg", why: "QEMU refused KVM: \(shown(words))")
        }
    }

    /// What became of a probe.
    package enum Outcome: Sendable, Equatable {
        case ran
        case silent
        case refused(String)
    }

    /// Boots the probe guest and times it.
    package static func boots(
        _ path: String,
        accelerator: String,
        within time: Duration
    ) async -> (Outcome, Duration) {
        let began = ContinuousClock.now
        let word = "roost"
        let folder = FileManager.default.temporaryDirectory.path()
        let image = "\(folder)/roost-probe-\(EntropySource().next()).img"
        let arguments = [
            "-nodefaults", "-no-user-config",
            "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
            "-machine", "q35,accel=\(accelerator)", "-cpu", accelerator == "kvm" ? "host" : "max",
            "-m", "16M", "-display", "none", "-no-reboot",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-serial", "stdio",
            "-kernel", image,
        ]
        do throws(Fault) {
            try await onItsOwnThread { () throws(Fault) in
                try DurableFile.write(
                    image,
                    BootCode.kernel(BootCode.speakAndExit(word)),
                    sync: false
                )
            }
            defer { unlink(image) }
            let result = try await runTool(path, arguments, deadline: time)
            let took = ContinuousClock.now - began
            // isa-debug-exit makes it (0x21 << 1) | 1.
            if result.end == .exited(code: 0x43), result.text.contains(word) { return (.ran, took) }
            let words = String(decoding: result.errorOutput, as: UTF8.self)
            let last = words.split(separator: "\n").last.map(String.init)
            return (.refused(last ?? "it ended with \(result.end)"), took)
        } catch {
            let took = ContinuousClock.now - began
            return (error.reason == .deadline ? .silent : .refused(error.message), took)
        }
    }
}
