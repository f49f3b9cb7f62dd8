internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// Reads a restart policy: `never`, `on-failure` or `always`; the last two with a bound if wanted, such
/// as `on-failure:3`.
///
/// - Throws: ``RoostModel/Reason/invalidFields`` for `--restart`.
func restartPolicy(_ text: String) throws(Fault) -> Roost_Compute_V1_Restart {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    let modes: [Substring: Roost_Compute_V1_Restart.Mode] = [
        "never": .never, "on-failure": .onFailure, "always": .always,
    ]
    let bound = parts.count == 2 ? Int32(parts[1]) : 0
    guard parts.count <= 2, let word = parts.first, let mode = modes[word], let bound,
        parts.count == 1 || (mode != .never && (1...1_000_000).contains(bound))
    else {
        throw .invalid(
            "--restart",
            "'\(shown(text))' is not never, on-failure, always, or one of the last two with a bound "
                + "such as on-failure:3"
        )
    }
    return .with {
        $0.mode = mode
        $0.maxRestarts = bound
    }
}
