package import GRPCCore
package import RoostAPI
package import RoostControl
import RoostModel
import SwiftProtobuf

/// `roost.ops.v1.AuditService` over the trail that ``VMService`` keeps.
package struct AuditServiceSkin: Roost_Ops_V1_AuditService.SimpleServiceProtocol {
    private let vms: VMService

    package init(_ vms: VMService) { self.vms = vms }

    package func listAudit(
        request: Roost_Ops_V1_ListAuditRequest,
        context: ServerContext
    ) async throws -> Roost_Ops_V1_ListAuditResponse {
        let limit = request.pageSize == 0 ? 100 : Int(request.pageSize)
        let token = request.pageToken
        guard token.utf8.count <= 64, token.utf8.allSatisfy({ (33...126).contains($0) }) else {
            throw Fault.invalid("page_token", "is none of this list's; begin again without one")
        }
        let page = try await vms.audit(
            try filter(request),
            token: token.isEmpty ? nil : token,
            limit: limit
        )
        return .with {
            $0.entries = page.rows.map { .init($0) }
            $0.nextPageToken = page.next ?? ""
        }
    }

    private func filter(_ request: Roost_Ops_V1_ListAuditRequest) throws(Fault) -> AuditFilter {
        for (field, text) in [
            ("principal", request.principal), ("method", request.method),
            ("subject", request.subject), ("operation", request.operation),
        ] where text.utf8.count > 255 {
            throw .invalid(field, "has \(text.utf8.count) bytes; at most 255")
        }
        let length = request.operation.utf8.count
        guard length == 0 || (6...29).contains(length) else {
            throw .invalid("operation", "is no op id, nor the last 6 characters of one")
        }
        return AuditFilter(
            since: request.hasStartTime ? Timestamp(request.startTime) : nil,
            before: request.hasEndTime ? Timestamp(request.endTime) : nil,
            principal: request.principal,
            method: request.method,
            subject: request.subject,
            operation: request.operation.lowercased()
        )
    }
}

extension Roost_Ops_V1_AuditEntry {
    fileprivate init(_ row: AuditRow) {
        self.init()
        time = .init(row.at)
        principal = row.principal
        method = row.method
        operation = row.operation.description
        if let its = row.subject {
            subject = .with {
                $0.kind = its.kind.rawValue
                $0.id = its.id
                $0.name = its.name
            }
            project = its.project ?? ""
        }
        detail = row.detail
        refusal = row.refusal ?? ""
    }
}
