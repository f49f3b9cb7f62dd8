package import RoostModel
package import RoostStore

/// What a fleet shall be, as it was published last.
package struct FleetStateRow: Row {
    package static let table = "fleets"

    package var state: FleetState
    /// The same as it came: a `FleetState` of the API in JSON.
    package var document: String
    /// Rises with every publication. Starts at 1.
    package var generation: Int64
    /// SHA-256 of what was published, in hexadecimal digits.
    package var hash: String
    package var publishedAt: Timestamp
    /// Who published it.
    package var principal: String
    package var operation: OperationID

    package var key: String { Self.key(state.project, state.name) }
    package var indexes: [IndexEntry] { [IndexEntry("project", state.project)] }

    /// The key of the fleet `name` in `project`.
    package static func key(_ project: String, _ name: String) -> String { "\(project)/\(name)" }
}
