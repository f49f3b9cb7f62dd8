package import Logging
package import RoostAPI
package import RoostControl
package import RoostModel
import RoostTrust
import Synchronization

/// The listener for users: who has an access token of this fleet.
///
/// The token is compared at every call, so that one that is revoked or has expired ends what it could
/// do with the call before. Refusals are logged, without the token, and only so many a minute.
package final class TokenDoor: Door {
    private struct Count {
        var minute: Int64 = 0
        var refused = 0
    }

    private let tokens: AccessTokens
    private let fingerprint: String
    private let log: Logger
    private let count = Mutex(Count())

    /// The most refusals that are logged in a minute.
    static let loggedRefusals = 10
    /// The longest `authorization` header that is looked at, in bytes.
    static let largestHeader = 512

    /// `fingerprint` is that of the fleet's authority.
    package init(_ tokens: AccessTokens, fingerprint: String, log: Logger) {
        self.tokens = tokens
        self.fingerprint = fingerprint
        self.log = log
    }

    package func caller(
        _ authorization: [String],
        from peer: Peer
    ) async throws(Fault) -> Caller {
        do throws(Fault) {
            return try await known(authorization)
        } catch {
            note(error, peer)
            throw error
        }
    }

    private func known(_ headers: [String]) async throws(Fault) -> Caller {
        guard let header = headers.first else {
            throw Fault(
                .unauthenticated,
                "the call has no token: send the header authorization: Bearer roost-access-1.…"
            )
        }
        guard headers.count == 1, header.utf8.count <= Self.largestHeader else {
            throw Fault(
                .accessTokenInvalid,
                headers.count > 1
                    ? "the call has \(headers.count) authorization headers"
                    : "the authorization header has more than \(Self.largestHeader) bytes"
            )
        }
        let parts = header.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            throw Fault(.accessTokenInvalid, "the authorization header is not Bearer and a token")
        }
        let token = try AccessToken(String(parts[1]))
        guard token.fingerprint == fingerprint else {
            throw Fault(.accessTokenInvalid, "the access token is of another fleet")
        }
        let row = try await tokens.authenticate(id: token.id, secretDigest: token.secretDigest)
        return Caller(
            principal: "token:\(row.id)",
            role: row.role,
            project: row.project.isEmpty ? nil : row.project
        )
    }

    private func note(_ fault: Fault, _ peer: Peer) {
        let minute = tokens.now.milliseconds / 60_000
        let (number, missed) = count.withLock { count in
            var missed = 0
            if minute != count.minute {
                missed = max(count.refused - Self.loggedRefusals, 0)
                count = Count(minute: minute)
            }
            count.refused += 1
            return (count.refused, missed)
        }
        if missed > 0 {
            log.notice("more calls were refused", metadata: ["count": "\(missed)"])
        }
        guard number <= Self.loggedRefusals else { return }
        log.notice(
            "a call was refused",
            metadata: ["peer": "\(peer)", "reason": "\(fault.reason.rawValue)"]
        )
    }
}
