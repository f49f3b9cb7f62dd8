package import RoostLink
package import RoostModel
package import RoostStore

/// A join token as it is kept: never its secret.
package struct JoinTokenRow: Row {
    package static let table = "join_tokens"

    package var id: String
    /// SHA-256 of the secret.
    package var secretDigest: String
    package var uses: Int
    package var usesLeft: Int
    package var createdAt: Timestamp
    package var expiresAt: Timestamp

    package var key: String { id }
    package var indexes: [IndexEntry] { [] }

    /// Whether a node can join with it at `now`.
    package func isUsable(at now: Timestamp) -> Bool { usesLeft > 0 && now < expiresAt }
}

/// A node of the fleet: who it is, and what it last said of itself. Written when it joins and when
/// what it says changes; never by a heartbeat.
package struct MemberRow: Row {
    package static let table = "members"

    package var node: NodeID
    /// Given when it joined; no other member has it.
    package var name: String
    /// The token that it joined with.
    package var token: String
    /// SHA-256 of the key that it proved to hold.
    package var keyDigest: String
    package var joinedAt: Timestamp
    /// `nil` until it has registered.
    package var said: NodeSaid?

    package var key: String { Self.key(node) }
    package var indexes: [IndexEntry] { [] }

    /// The key of `node`.
    package static func key(_ node: NodeID) -> String { node.description }
}

/// What a node says of itself when it registers.
package struct NodeSaid: Sendable, Hashable, Codable {
    /// Numeric address or name.
    package var host: String
    package var port: Int
    package var capacity: NodeCapacity
    package var driver: String
    package var version: String
    package var labels: [String: String]
    package var policy: OvercommitPolicy

    package init(
        host: String,
        port: Int,
        capacity: NodeCapacity,
        driver: String,
        version: String,
        labels: [String: String],
        policy: OvercommitPolicy
    ) {
        self.host = host
        self.port = port
        self.capacity = capacity
        self.driver = driver
        self.version = version
        self.labels = labels
        self.policy = policy
    }

    /// Every field that cannot be used.
    package var violations: [FieldViolation] {
        var found = labelViolations(labels, field: "labels")
        if !(1...65_535).contains(port) {
            found.append(.init("address", "the port \(port) is outside 1 … 65535"))
        }
        if host.isEmpty || host.utf8.count > 253 {
            found.append(.init("address", "the host has \(host.utf8.count) bytes; 1 … 253"))
        }
        if !(1...65_536).contains(capacity.cores) {
            found.append(.init("cores", "\(capacity.cores) is outside 1 … 65536"))
        }
        if !(128...(1 << 30)).contains(capacity.memoryMiB) {
            found.append(.init("memory_mib", "\(capacity.memoryMiB) is outside 128 … \(1 << 30)"))
        }
        for (field, ratio) in [
            ("overcommit.cpu_ratio", policy.cpuRatio),
            ("overcommit.memory_ratio", policy.memoryRatio),
        ] where !(ratio > 0 && ratio <= 64) {
            found.append(.init(field, "\(ratio) is not above 0 and at most 64"))
        }
        if policy.reservedCores < 0 || policy.reservedMemoryMiB < 0 {
            found.append(.init("overcommit", "what is reserved is below 0"))
        }
        if driver.utf8.count > 63 || version.utf8.count > 63 {
            found.append(.init("version", "driver and version have at most 63 bytes each"))
        }
        return found
    }
}
