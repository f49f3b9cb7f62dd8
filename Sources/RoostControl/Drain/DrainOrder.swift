/// How a node is to be emptied.
package struct DrainOrder: Sendable, Hashable {
    /// For whoever reads it later; at most 1,024 characters.
    package var reason: String
    /// Keep the VMs' memory on disk.
    package var suspends: Bool
    /// How long each guest may take to shut down, in seconds.
    package var graceSeconds: Int
    /// Also when no other node takes VMs.
    package var force: Bool

    package init(
        reason: String = "",
        suspends: Bool = false,
        graceSeconds: Int = 30,
        force: Bool = false
    ) {
        self.reason = reason
        self.suspends = suspends
        self.graceSeconds = graceSeconds
        self.force = force
    }
}
