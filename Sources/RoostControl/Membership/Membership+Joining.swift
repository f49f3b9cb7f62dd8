import Logging
package import RoostModel
package import RoostOperations
import RoostStore
import Synchronization

/// Tokens, joining and leaving.
extension Membership {
    /// The most nodes that one token lets in.
    package static let largestUses = 1_000
    /// How long a token can be used: up to thirty days, in seconds.
    package static let ttlRange: ClosedRange<Int64> = 1...(30 * 86_400)
    /// The most tokens that there may be.
    static let largestTokens = 1_000
    /// The most nodes of a fleet.
    static let largestMembers = 10_000

    // MARK: Tokens

    /// Keeps a new token. `id` and secret follow from the op id: a repeat makes none, and is told of
    /// the first as it is now.
    ///
    /// - Throws: every violation; ``Reason/limitExceeded``; ``Reason/joinTokenInvalid`` for a repeat
    ///   when the token was removed since; ``Reason/opIDReused``, ``Reason/opIDExpired``.
    package func createToken(
        id: String,
        secretDigest: String,
        uses: Int,
        ttlSeconds: Int64,
        _ context: RequestContext
    ) async throws(Fault) -> JoinTokenRow {
        var violations: [FieldViolation] = []
        if !(1...Self.largestUses).contains(uses) {
            violations.append(.init("uses", "\(uses) is outside 1 … \(Self.largestUses)"))
        }
        if !Self.ttlRange.contains(ttlSeconds) {
            violations.append(.init("ttl", "\(ttlSeconds) s is outside 1 s … 30 days"))
        }
        guard violations.isEmpty else { throw .invalid(violations) }
        if try await vms.ledger.isRepeat(context) { return try await token(id) }
        let known = try await tokens()
        guard known.count < Self.largestTokens else {
            throw Fault(.limitExceeded, "there are \(known.count) join tokens; remove some")
        }
        let now = vms.now
        let row = JoinTokenRow(
            id: id,
            secretDigest: secretDigest,
            uses: uses,
            usesLeft: uses,
            createdAt: now,
            expiresAt: now.adding(seconds: ttlSeconds)
        )
        var batch = Batch()
        batch.insert(row)
        batch.insert(ClaimRow(context, at: now))
        // What ended a day ago is of interest to nobody.
        for old in known where old.expiresAt.adding(seconds: 86_400) < now {
            batch.delete(JoinTokenRow.self, old.key)
        }
        do throws(Fault) {
            try await vms.commit(batch)
        } catch {
            // Of two that come at once, one is the repeat.
            guard error.reason == .storeConflict, try await vms.ledger.isRepeat(context) else {
                throw error
            }
            return try await token(id)
        }
        return row
    }

    private func token(_ id: String) async throws(Fault) -> JoinTokenRow {
        guard let found = try await store.get(JoinTokenRow.self, id) else {
            throw Fault(.joinTokenInvalid, "there is no join token '\(shown(id))'")
        }
        return found.row
    }

    /// The tokens, oldest first.
    package func tokens() async throws(Fault) -> [JoinTokenRow] {
        try await store.list(JoinTokenRow.self, Query()).rows.map(\.row)
            .sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
    }

    /// Makes a token worthless.
    ///
    /// - Throws: ``Reason/joinTokenInvalid`` when there is none of that id.
    package func deleteToken(_ id: String) async throws(Fault) -> JoinTokenRow {
        let row = try await token(id)
        var batch = Batch()
        batch.delete(JoinTokenRow.self, id)
        try await vms.commit(batch)
        return row
    }

    /// Whether a node can join with `row` now.
    package func isUsable(_ row: JoinTokenRow) -> Bool { row.isUsable(at: vms.now) }

    // MARK: Joining

    /// Lets a host in: counts the token down and writes the member in one commit, so that the last
    /// use is nobody's twice. The same host with the same key and token is let in again for nothing:
    /// its answer was lost.
    ///
    /// - Throws: ``Reason/joinTokenInvalid``, ``Reason/joinTokenExpired``,
    ///   ``Reason/joinTokenUsedUp``; ``Reason/notThisNode`` for the id of a member with another key.
    package func join(
        token id: String,
        secretDigest: String,
        node: NodeID,
        name: String,
        keyDigest: String
    ) async throws(Fault) -> MemberRow {
        guard name.utf8.count <= 63, labelViolations(["name": name], field: "name").isEmpty else {
            throw .invalid(
                "name",
                "'\(shown(name))' is not 1 to 63 letters, digits, '-', '_' or '.'"
            )
        }
        while true {
            guard let token = try await store.get(JoinTokenRow.self, id),
                token.row.secretDigest == secretDigest
            else {
                throw Fault(.joinTokenInvalid, "nobody here knows the join token \(shown(id))")
            }
            if let member = try await store.get(MemberRow.self, MemberRow.key(node))?.row {
                guard member.keyDigest == keyDigest, member.token == id else {
                    throw Self.otherKey(node)
                }
                return member
            }
            guard vms.now < token.row.expiresAt else {
                throw Fault(.joinTokenExpired, "the join token \(id) has expired")
            }
            guard token.row.usesLeft > 0 else {
                throw Fault(
                    .joinTokenUsedUp,
                    "the join token \(id) has let in all of its \(token.row.uses) nodes"
                )
            }
            var counted = token.row
            counted.usesLeft -= 1
            let member = MemberRow(
                node: node,
                name: try await freeName(name.isEmpty ? node.short : name),
                token: id,
                keyDigest: keyDigest,
                joinedAt: vms.now
            )
            var batch = Batch()
            batch.replace(token, with: counted)
            batch.insert(member)
            do throws(Fault) {
                try await vms.commit(batch)
            } catch  where error.reason == .storeConflict {
                // Somebody else was let in meanwhile: look again at what is left.
                continue
            }
            vms.parts.log.notice(
                "a node has joined",
                metadata: ["node": "\(node)", "name": "\(member.name)", "token": "\(id)"]
            )
            return member
        }
    }

    /// `name`, or with a number behind it what no other member is called.
    private func freeName(_ name: String) async throws(Fault) -> String {
        let rows = try await store.list(MemberRow.self, Query()).rows
        guard rows.count < Self.largestMembers else {
            throw Fault(.limitExceeded, "the fleet has \(rows.count) nodes; that is the most")
        }
        let taken = Set(rows.map(\.row.name))
        if !taken.contains(name) { return name }
        var number = 2
        while taken.contains("\(name.prefix(58))-\(number)") { number += 1 }
        return "\(name.prefix(58))-\(number)"
    }

    /// Makes sure that `node` may have a new certificate for its key.
    ///
    /// - Throws: ``Reason/nodeRemoved``, ``Reason/notThisNode``.
    package func requireMember(_ node: NodeID, keyDigest: String) async throws(Fault) {
        _ = try await member(node, keyDigest)
    }

    // MARK: Leaving

    /// A node that left.
    package struct Departure: Sendable {
        package var node: NodeID
        /// Names of the VMs whose rows went with it.
        package var forgotten: [String]
    }

    /// Takes a node out of the fleet; what it says from then on is refused.
    ///
    /// - Throws: ``Reason/inUse`` while VMs are on it, unless `force`, with which their rows go;
    ///   as ``NodeDirectory/find(_:field:)``.
    package func remove(_ reference: String, force: Bool) async throws(Fault) -> Departure {
        let node = try await find(reference)
        let held = try await vms.all(on: node)
        guard held.isEmpty || force else {
            let names = held.prefix(5).map(\.row.name).joined(separator: ", ")
            throw Fault(
                .inUse,
                "node \(nodes.name(node)) has \(held.count) VMs, also those in the trash: \(names)",
                metadata: [
                    "users":
                        "roost rm -f --purge \(held.prefix(5).map(\.row.id.short).joined(separator: " "))"
                        + ", or leave them to the node: roost node rm --force \(reference)"
                ]
            )
        }
        // First, so that it says nothing more while its VMs go.
        var batch = Batch()
        batch.delete(MemberRow.self, MemberRow.key(node))
        batch.delete(NodeRow.self, NodeRow.key(node))
        batch.delete(DrainMark.self, node.description)
        try await vms.commit(batch)
        pulses.withLock { _ = $0.removeValue(forKey: node) }
        for found in held { try await vms.abandon(found) }
        nodes.leave(node)
        reach.remove(node)
        vms.parts.log.notice("a node was removed", metadata: ["node": "\(node)"])
        return Departure(node: node, forgotten: held.map(\.row.name).sorted())
    }

    /// The member that `reference` means, also one that has never registered.
    private func find(_ reference: String) async throws(Fault) -> NodeID {
        let rows = try await store.list(MemberRow.self, Query()).rows.map(\.row)
        let silent = rows.filter { !nodes.holds($0.node) }
        if let row = silent.first(where: { $0.name == reference || $0.key == reference }) {
            return row.node
        }
        let node = try nodes.find(reference)
        guard rows.contains(where: { $0.node == node }) else {
            throw Fault(
                .unsupported,
                "node \(nodes.name(node)) is this daemon's own and cannot leave"
            )
        }
        return node
    }
}
