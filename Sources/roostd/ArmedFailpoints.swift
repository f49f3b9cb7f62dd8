import Glibc
import RoostModel
import RoostOperations
import Synchronization

/// Failpoints as the environment arms them, for crash tests.
///
/// `ROOST_FAILPOINT=NAME:ACTION[@N]`, several joined by commas. Actions: `kill` (SIGKILL to this
/// process), `error` (throws IO_FAILED), `delay=MS`,
/// and `skip`, which leaves a protection out for good. `@N` means at the N-th pass, first is 1.
final class ArmedFailpoints: Failpoints {
    private enum Action: Equatable {
        case kill
        case error
        case skip
        case delay(Duration)
    }

    private struct Arm {
        var action: Action
        var atPass: Int
    }

    private let arms: [String: Arm]
    private let passes = Mutex<[String: Int]>([:])

    /// Reads the variable's value.
    ///
    /// - Throws: ``Reason/invalidFields`` for what it cannot read: a crash test with a typo in it
    ///   would prove nothing.
    init(_ text: String) throws(Fault) {
        var arms: [String: Arm] = [:]
        for part in text.split(separator: ",") {
            let sides = part.split(separator: ":", maxSplits: 1)
            guard sides.count == 2 else {
                throw .invalid("ROOST_FAILPOINT", "'\(part)' has no ':'")
            }
            let words = sides[1].split(separator: "@", maxSplits: 1)
            guard let action = Self.action(words[0]) else {
                throw .invalid(
                    "ROOST_FAILPOINT",
                    "'\(sides[1])' is not kill, error, skip or delay=MS"
                )
            }
            let pass = words.count == 2 ? Int(words[1]) : 1
            guard let pass, pass > 0 else {
                throw .invalid("ROOST_FAILPOINT", "'\(words[1])' is not a pass")
            }
            arms[String(sides[0])] = Arm(action: action, atPass: pass)
        }
        self.arms = arms
    }

    func pass(_ point: Failpoint) async throws(Fault) {
        guard let arm = arms[point.name] else { return }
        let count = passes.withLock { table in
            table[point.name, default: 0] += 1
            return table[point.name, default: 0]
        }
        guard count == arm.atPass else { return }
        switch arm.action {
        case .kill: kill(getpid(), SIGKILL)
        case .skip: return
        case .error: throw Fault(.ioFailed, "failpoint \(point)")
        case .delay(let duration): try? await Task.sleep(for: duration)
        }
    }

    func skips(_ point: Failpoint) -> Bool { arms[point.name]?.action == .skip }

    /// Crash tests look at what is so afterwards, not at the way there.
    func mark(_ marker: Marker) {}

    private static func action(_ text: Substring) -> Action? {
        switch text {
        case "kill": return .kill
        case "error": return .error
        case "skip": return .skip
        default:
            guard text.hasPrefix("delay="), let milliseconds = Int(text.dropFirst(6)) else {
                return nil
            }
            return .delay(.milliseconds(milliseconds))
        }
    }
}
