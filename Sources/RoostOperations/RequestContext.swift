package import RoostModel

/// Who asks, under which op id, and how long they will wait.
package struct RequestContext: Sendable, Hashable {
    package var operation: OperationID
    /// `uid:1000`, `token:ci`, `system`.
    package var principal: String
    /// SHA-256 of method and the deterministic encoding of the decoded message.
    package var digest: String
    package var method: String
    /// Only check: nothing is changed, nothing is stored.
    package var validateOnly: Bool
    /// Answer when the operation is accepted, not when it has ended.
    package var answersWhenAccepted: Bool
    package var traceParent: String?
    /// The operation that it is a part of; `nil`: it was asked for by itself.
    package var parent: OperationID?

    package init(
        operation: OperationID,
        principal: String,
        method: String,
        digest: String,
        validateOnly: Bool = false,
        answersWhenAccepted: Bool = false,
        traceParent: String? = nil,
        parent: OperationID? = nil
    ) {
        self.operation = operation
        self.principal = principal
        self.method = method
        self.digest = digest
        self.validateOnly = validateOnly
        self.answersWhenAccepted = answersWhenAccepted
        self.traceParent = traceParent
        self.parent = parent
    }
}
