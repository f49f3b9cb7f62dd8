package import RoostModel
package import RoostStore

/// An op id that a request took which is no operation on a VM: to make a token, to drain a node.
///
/// Written by the commit that does what was asked. With it a repeat is told from a reuse, and a
/// request about a VM cannot take the id again.
package struct ClaimRow: Row {
    package static let table = "claims"

    package var id: OperationID
    package var principal: String
    /// The API method, such as `CreateJoinToken`.
    package var method: String
    /// SHA-256 of method and request.
    package var digest: String
    package var at: Timestamp

    package var key: String { id.description }
    package var indexes: [IndexEntry] { [] }

    package init(_ context: RequestContext, at now: Timestamp) {
        id = context.operation
        principal = context.principal
        method = context.method
        digest = context.digest
        at = now
    }
}
