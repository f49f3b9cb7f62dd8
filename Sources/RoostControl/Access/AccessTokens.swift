import Logging
package import RoostModel
package import RoostOperations
import RoostStore

/// The tokens that people and programs call a control plane with.
///
/// ```text
///  (made) ──▶ usable ──ttl──▶ expired ──a day──▶ gone
///               └──────── removed ──────────────▶ gone
/// ```
/// Nothing is cached: a token that is removed opens nothing from the next call on.
package struct AccessTokens: Sendable {
    private let vms: VMService

    /// How long a token can be used: up to 366 days, in seconds.
    package static let ttlRange: ClosedRange<Int64> = 1...(366 * 86_400)
    /// Thirty days, in seconds.
    package static let usualTTL: Int64 = 30 * 86_400
    /// The most tokens that there may be.
    package static let largestCount = 1_000
    /// The longest name, in bytes.
    package static let longestName = 63

    package init(_ vms: VMService) { self.vms = vms }

    /// The time by which tokens expire.
    package var now: Timestamp { vms.now }

    private var store: any Store { vms.parts.store }

    /// What a new token is to be.
    package struct Order: Sendable {
        package var name: String
        package var role: Role
        /// Empty: every project.
        package var project: String
        package var ttlSeconds: Int64

        package init(name: String, role: Role, project: String, ttlSeconds: Int64) {
            self.name = name
            self.role = role
            self.project = project
            self.ttlSeconds = ttlSeconds
        }

        var violations: [FieldViolation] {
            var found: [FieldViolation] = []
            if !name.isEmpty, name.utf8.count > AccessTokens.longestName || nameProblem(name) != nil
            {
                found.append(.init("name", nameProblem(name) ?? "it has more than 63 bytes"))
            }
            if !project.isEmpty, let problem = nameProblem(project) {
                found.append(.init("project", problem))
            }
            // An admin's methods are about the whole fleet: such a token could do nothing of them.
            if role == .admin, !project.isEmpty {
                found.append(.init("role", "admin is of every project: leave the project out"))
            }
            if !AccessTokens.ttlRange.contains(ttlSeconds) {
                found.append(.init("ttl", "\(ttlSeconds) s is outside 1 s … 366 days"))
            }
            return found
        }
    }

    /// Keeps a new token. `id` and secret follow from the op id: a repeat makes none, and is told of
    /// the first.
    ///
    /// - Throws: every violation; ``Reason/limitExceeded``; ``Reason/accessTokenNotFound`` for a repeat
    ///   when the token was removed since; ``Reason/opIDReused``, ``Reason/opIDExpired``.
    package func create(
        id: String,
        secretDigest: String,
        _ order: Order,
        _ context: RequestContext
    ) async throws(Fault) -> AccessTokenRow {
        let violations = order.violations
        guard violations.isEmpty else { throw .invalid(violations) }
        if try await vms.ledger.isRepeat(context) { return try await get(id) }
        do throws(Fault) {
            return try await insert(id: id, secretDigest: secretDigest, order, context)
        } catch {
            // Of two that come at once, one is the repeat.
            guard error.reason == .storeConflict, try await vms.ledger.isRepeat(context) else {
                throw error
            }
            return try await get(id)
        }
    }

    private func insert(
        id: String,
        secretDigest: String,
        _ order: Order,
        _ context: RequestContext
    ) async throws(Fault) -> AccessTokenRow {
        let known = try await all()
        // What ended a day ago is of interest to nobody.
        let old = known.filter { $0.expiresAt.adding(seconds: 86_400) < now }
        guard known.count - old.count < Self.largestCount else {
            throw Fault(.limitExceeded, "there are \(known.count) access tokens; remove some")
        }
        let row = AccessTokenRow(
            id: id,
            name: order.name,
            secretDigest: secretDigest,
            role: order.role,
            project: order.project,
            createdAt: now,
            createdBy: context.principal,
            expiresAt: now.adding(seconds: order.ttlSeconds)
        )
        var batch = Batch()
        batch.insert(row)
        batch.insert(ClaimRow(context, at: now))
        for row in old { batch.delete(AccessTokenRow.self, row.key) }
        try await vms.commit(batch)
        note("an access token was made", row, context.principal)
        return row
    }

    private func get(_ id: String) async throws(Fault) -> AccessTokenRow {
        guard let found = try await store.get(AccessTokenRow.self, id) else {
            throw Fault(.accessTokenNotFound, "there is no access token '\(shown(id))'")
        }
        return found.row
    }

    /// The tokens, oldest first.
    package func all() async throws(Fault) -> [AccessTokenRow] {
        try await store.list(AccessTokenRow.self, Query()).rows.map(\.row)
            .sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
    }

    /// Makes a token worthless: nothing more is opened with it.
    ///
    /// - Throws: ``Reason/accessTokenNotFound``.
    package func delete(
        _ id: String,
        by principal: String
    ) async throws(Fault) -> AccessTokenRow {
        let row = try await get(id)
        var batch = Batch()
        batch.delete(AccessTokenRow.self, id)
        try await vms.commit(batch)
        note("an access token was removed", row, principal)
        return row
    }

    /// The token of this id and secret, as it is now.
    ///
    /// - Throws: ``Reason/accessTokenInvalid`` for one that nobody here knows, such as a removed one;
    ///   ``Reason/accessTokenExpired``.
    package func authenticate(
        id: String,
        secretDigest: String
    ) async throws(Fault) -> AccessTokenRow {
        let found = try await store.get(AccessTokenRow.self, id)?.row
        // An unknown id takes as long as a wrong secret.
        let kept = found?.secretDigest ?? String(repeating: "0", count: secretDigest.utf8.count)
        guard isEqualInConstantTime(kept, secretDigest), let row = found else {
            throw Fault(.accessTokenInvalid, "nobody here knows the access token \(shown(id))")
        }
        guard row.isUsable(at: now) else {
            throw Fault(.accessTokenExpired, "the access token \(id) has expired")
        }
        return row
    }

    private func note(_ what: String, _ row: AccessTokenRow, _ principal: String) {
        vms.parts.log.notice(
            "\(what)",
            metadata: [
                "token": "\(row.id)", "name": "\(row.name)", "role": "\(row.role.rawValue)",
                "project": "\(row.project)", "by": "\(principal)",
            ]
        )
    }
}
