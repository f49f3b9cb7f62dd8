package import GRPCCore
internal import Synchronization

/// How many calls of each method ended how, and how long they took: what Prometheus asks a daemon for.
///
/// Names and labels are those that gRPC's middleware for Prometheus made usual, so that dashboards for it
/// fit. As large as there are methods, whatever callers do.
package final class CallTally: Sendable {
    /// Whose calls these are, as the names of families begin.
    package enum Side: String, Sendable {
        /// Calls that this process answers.
        case server = "grpc_server"
        /// Calls that it makes.
        case client = "grpc_client"
    }

    /// Up to how many seconds the buckets go; what took longer is in none but the last.
    static let bounds = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60]

    private struct Series {
        var endings: [Status.Code: Int] = [:]
        /// By ``bounds``, and what took longer.
        var counts = Array(repeating: 0, count: CallTally.bounds.count + 1)
        var seconds = 0.0

        mutating func add(_ ending: Status.Code, _ bucket: Int, _ time: Double) {
            endings[ending, default: 0] += 1
            counts[bucket] += 1
            seconds += time
        }
    }

    private let side: Side
    private let methods = Mutex<[MethodDescriptor: Series]>([:])

    package init(_ side: Side) { self.side = side }

    /// A call of `method` has ended after `time`, with `code` or well.
    package func add(_ method: MethodDescriptor, _ code: RPCError.Code?, after time: Duration) {
        let (whole, attoseconds) = time.components
        let seconds = Double(whole) + Double(attoseconds) / 1e18
        let bucket = Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count
        let ending = code.map(Status.Code.init) ?? .ok
        methods.withLock { $0[method, default: Series()].add(ending, bucket, seconds) }
    }

    /// Two families, a line for each number; `isOpenMetrics`: where a counter's family is named without
    /// `_total`, as in OpenMetrics 1.0.
    package func exposition(isOpenMetrics: Bool) -> String {
        let all = methods.withLock { $0 }.sorted {
            $0.key.fullyQualifiedMethod < $1.key.fullyQualifiedMethod
        }
        let (handled, handling) = ("\(side.rawValue)_handled", "\(side.rawValue)_handling_seconds")
        let family = isOpenMetrics ? handled : "\(handled)_total"
        let verb = side == .server ? "answered" : "made to nodes"
        var text = "# HELP \(family) Calls \(verb), by how they ended.\n# TYPE \(family) counter\n"
        for (method, series) in all {
            for (code, count) in series.endings.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
                text += "\(handled)_total{\(labels(method)),grpc_code=\"\(name(code))\"} \(count)\n"
            }
        }
        text += "# HELP \(handling) How long calls \(verb) took.\n# TYPE \(handling) histogram\n"
        for (method, series) in all {
            var sum = 0
            for (index, count) in series.counts.enumerated() {
                sum += count
                let bound = index < Self.bounds.count ? "\(Self.bounds[index])" : "+Inf"
                text += "\(handling)_bucket{\(labels(method)),le=\"\(bound)\"} \(sum)\n"
            }
            text += "\(handling)_sum{\(labels(method))} \(series.seconds)\n"
            text += "\(handling)_count{\(labels(method))} \(sum)\n"
        }
        return text
    }

    private func labels(_ method: MethodDescriptor) -> String {
        "grpc_service=\"\(method.service.fullyQualifiedService)\",grpc_method=\"\(method.method)\""
    }

    /// A code as others write it: `OK`, `NotFound`, `Canceled`.
    private func name(_ code: Status.Code) -> String {
        switch code {
        case .ok: return "OK"
        case .cancelled: return "Canceled"
        case .internalError: return "Internal"
        default:
            let text = code.description
            return text.prefix(1).uppercased() + text.dropFirst()
        }
    }
}
