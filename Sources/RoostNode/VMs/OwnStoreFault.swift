import RoostModel
import RoostOperations

extension Fault {
    /// What a node answers when it cannot `verb` in its own store: nobody knows what became of the order,
    /// an earlier attempt of which may have been carried out, so that whoever gave it asks again under
    /// the same op id. Answered as it is, it would be taken for the order's end.
    func ofOwnStore(
        _ verb: String,
        for operation: OperationID?,
        _ failpoints: any Failpoints
    ) -> Fault {
        if failpoints.skips(.ownStore) { return self }
        failpoints.mark(.ownStore)
        return Fault(
            .nodeUnreachable,
            "the node cannot \(verb): \(message)",
            metadata: ["op": operation?.description ?? ""],
            cause: self
        )
    }
}
