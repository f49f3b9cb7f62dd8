/// What went wrong, in the terms of whoever asked.
///
/// Callers branch on ``reason`` (or its coarser ``code``); people read ``message`` and
/// ``remedy``; operators read ``cause``. The outer text never repeats the inner.
/// Equality ignores the cause, so a test can write the fault it expects.
package struct Fault: Error {
    /// Why, from the catalogue. Stable: clients may store and compare it.
    package var reason: Reason
    /// One sentence, lowercase, without a full stop, naming the subject and the refused value.
    package var message: String
    /// Every field that was refused, all of them at once. Empty unless the request was malformed.
    package var violations: [FieldViolation]
    /// Facts for programs, such as the running op id. Keys are lowerCamelCase, sorted when sent.
    package var metadata: [String: String]
    /// The error beneath this one. Logged, and never sent to a client.
    package var cause: (any Error)?

    /// Makes a fault for `reason` with a `message` for people.
    package init(
        _ reason: Reason,
        _ message: String,
        violations: [FieldViolation] = [],
        metadata: [String: String] = [:],
        cause: (any Error)? = nil
    ) {
        self.reason = reason
        self.message = message
        self.violations = violations
        self.metadata = metadata
        self.cause = cause
    }

    /// The kind of fault, as the transports say it.
    package var code: Code { reason.code }

    /// What a person can do about it: the catalogue's sentence, for the VM's `state` if the metadata
    /// has one, with the metadata filled in. What it does not have stands in capitals, as in `VM`.
    package var remedy: String {
        let state = metadata["state"].flatMap { VMState(rawValue: $0) }
        var text = state.flatMap { reason.remedy(in: $0) } ?? reason.remedy
        if reason == .staleEtag, metadata["node"] != nil {
            text = "read it again: roost node inspect {node} -o json, and send its etag"
        }
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            text = text.replacing("{\(key)}", with: value)
        }
        return capitalized(text)
    }

    /// `text` with each `{key}` that is left as a word in capitals.
    private func capitalized(_ text: String) -> String {
        var result = ""
        var rest = text[...]
        while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
            result += rest[..<open] + rest[rest.index(after: open)..<close].uppercased()
            rest = rest[rest.index(after: close)...]
        }
        return result + rest
    }

    /// The kinds of fault. Closed on purpose: the compiler finds every place that maps them.
    package enum Code: String, CaseIterable, Sendable {
        /// The request can never succeed as it stands.
        case invalidArgument
        /// The subject does not exist.
        case notFound
        /// The subject exists and should not.
        case alreadyExists
        /// The subject's state forbids it. Retry after changing that state.
        case failedPrecondition
        /// Somebody else was first. Re-read and retry.
        case aborted
        /// No room, or a quota. Retry later, or ask for less.
        case resourceExhausted
        /// A peer could not be reached. Retry the same call with the same op id.
        case unavailable
        /// The time ran out. The operation may still be running under its op id.
        case deadlineExceeded
        /// The caller went away, or another operation pre-empted this one.
        case canceled
        /// A page token or revision that is no longer kept.
        case outOfRange
        /// Nobody said who is asking.
        case unauthenticated
        /// Known, and not allowed.
        case permissionDenied
        /// Stored bytes are not what they were.
        case dataLoss
        /// This driver, build or host cannot do it. Never retry.
        case unimplemented
        /// A bug here. The message is safe to show; the cause is not.
        case internalError
    }
}

extension Fault: Equatable {
    /// Whether everything but the cause agrees.
    package static func == (left: Fault, right: Fault) -> Bool {
        left.reason == right.reason && left.message == right.message
            && left.violations == right.violations && left.metadata == right.metadata
    }
}

extension Fault: CustomStringConvertible {
    /// `REASON: message`, then the violations. The cause is left out.
    package var description: String {
        let fields = violations.map { "; \($0.field): \($0.problem)" }.joined()
        return "\(reason.rawValue): \(message)\(fields)"
    }
}

/// One field of a request that was refused.
package struct FieldViolation: Hashable, Sendable, Codable {
    /// The path as the API writes it, such as `spec.cpu.cores`.
    package var field: String
    /// What is wrong with the value and what would be right.
    package var problem: String

    package init(_ field: String, _ problem: String) {
        self.field = field
        self.problem = problem
    }
}

extension Fault {
    /// A request whose fields cannot be used, with every violation at once.
    ///
    /// - Precondition: `violations` is not empty.
    package static func invalid(_ violations: [FieldViolation]) -> Fault {
        precondition(!violations.isEmpty, "a refusal without a violation")
        let text = violations.map { "\($0.field): \($0.problem)" }.joined(separator: "; ")
        return Fault(.invalidFields, text, violations: violations)
    }

    /// A request with one field that cannot be used.
    package static func invalid(_ field: String, _ problem: String) -> Fault {
        invalid([FieldViolation(field, problem)])
    }
}
