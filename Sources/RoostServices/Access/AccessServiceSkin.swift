package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostModel
import RoostOperations
package import RoostTrust
import SwiftProtobuf

/// `roost.fleet.v1.AccessService`: who may call over TCP.
package struct AccessServiceSkin: Roost_Fleet_V1_AccessService.SimpleServiceProtocol {
    private let tokens: AccessTokens
    private let authority: Authority
    private let address: String

    /// `address` is where users call, empty where nobody listens.
    package init(_ tokens: AccessTokens, _ authority: Authority, address: String) {
        self.tokens = tokens
        self.authority = authority
        self.address = address
    }

    package func createAccessToken(
        request: Roost_Fleet_V1_CreateAccessTokenRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_CreateAccessTokenResponse {
        let asked = try requestContext("CreateAccessToken", request)
        let token = AccessToken(of: asked.operation, authority)
        let row = try await tokens.create(
            id: token.id,
            secretDigest: token.secretDigest,
            AccessTokens.Order(
                name: request.name,
                role: try Role(request.role),
                project: request.project,
                ttlSeconds: request.hasTtl ? request.ttl.seconds : AccessTokens.usualTTL
            ),
            asked
        )
        let text = token.text.reveal()
        return .with {
            $0.token = text
            $0.accessToken = message(row)
            $0.url = address.isEmpty ? "" : "https://\(text)@\(address)"
        }
    }

    package func listAccessTokens(
        request: Roost_Fleet_V1_ListAccessTokensRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_ListAccessTokensResponse {
        let rows = try await tokens.all()
        return .with { $0.accessTokens = rows.map(message) }
    }

    package func deleteAccessToken(
        request: Roost_Fleet_V1_DeleteAccessTokenRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_DeleteAccessTokenResponse {
        let row = try await tokens.delete(request.id, by: Caller.current.principal)
        return .with { $0.accessToken = message(row) }
    }

    package func getCaller(
        request: Roost_Fleet_V1_GetCallerRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_Caller {
        let caller = Caller.current
        return .with {
            $0.principal = caller.principal
            $0.role = caller.role.map(Roost_Fleet_V1_Access.Role.init(_:)) ?? .unspecified
            $0.project = caller.project ?? ""
        }
    }

    package func getAuthority(
        request: Roost_Fleet_V1_GetAuthorityRequest,
        context: ServerContext
    ) async throws -> Roost_Fleet_V1_GetAuthorityResponse {
        .with {
            $0.certificate = authority.trust.pem
            $0.fingerprint = authority.trust.fingerprint
            $0.address = address
        }
    }

    private func message(_ row: AccessTokenRow) -> Roost_Fleet_V1_AccessToken {
        .with {
            $0.id = row.id
            $0.name = row.name
            $0.role = .init(row.role)
            $0.project = row.project
            $0.createTime = .init(row.createdAt)
            $0.expireTime = .init(row.expiresAt)
            $0.createdBy = row.createdBy
            $0.usable = row.isUsable(at: tokens.now)
        }
    }
}

extension Roost_Fleet_V1_Access.Role {
    fileprivate init(_ role: RoostModel.Role) {
        self =
            switch role {
            case .viewer: .viewer
            case .operator: .operator
            case .admin: .admin
            }
    }
}

extension Role {
    fileprivate init(_ role: Roost_Fleet_V1_Access.Role) throws(Fault) {
        switch role {
        case .viewer: self = .viewer
        case .operator: self = .operator
        case .admin: self = .admin
        case .unspecified:
            throw .invalid("role", "is required: one of VIEWER, OPERATOR, ADMIN")
        case .UNRECOGNIZED(let number): throw .invalid("role", "\(number) is no role")
        }
    }
}
