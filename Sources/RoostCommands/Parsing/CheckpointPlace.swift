internal import RoostModel

/// `VM` or `VM@CHECKPOINT`, as people type it.
struct CheckpointPlace: Equatable {
    let vm: String
    /// As it was typed, a prefix of an id; empty when none was.
    let checkpoint: String

    /// Reads it. Names and ids have no `@`.
    init(reading text: String) throws(Fault) {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 2, parts.allSatisfy({ !$0.isEmpty }) else {
            throw .invalid("vm", "'\(shown(text))' is not VM or VM@CHECKPOINT, such as box@1a2b")
        }
        vm = parts[0]
        checkpoint = parts.count == 2 ? parts[1] : ""
    }

    /// Likewise where a checkpoint must be named.
    init(requiredIn text: String) throws(Fault) {
        try self.init(reading: text)
        guard !checkpoint.isEmpty else {
            throw .invalid(
                "vm",
                "'\(shown(text))' names no checkpoint: \(shown(vm))@1a2b does; "
                    + "roost log \(shown(vm)) lists them"
            )
        }
    }
}
