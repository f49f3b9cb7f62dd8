import RoostLink
import RoostModel
import RoostOperations
import RoostStore
import Testing

@testable import RoostControl

@Suite("The audit trail", .timeLimit(.minutes(1)))
struct AuditTests {
    /// What was served as a call of `method`, and ended, as the gate does it.
    @discardableResult
    private func call<Result: Sendable>(
        _ desk: Desk,
        _ method: String,
        by principal: String = "uid:7",
        _ number: UInt64 = 1,
        _ body: () async throws -> Result
    ) async throws -> Result {
        let id = OperationID(bits: UInt128(number))
        let call = try desk.vms.auditedCall(
            by: principal,
            "roost.compute.v1.VMService/\(method)",
            id
        )
        do {
            let result = try await AuditedCall.$current.withValue(call) { try await body() }
            desk.vms.endAudit(call)
            return result
        } catch {
            desk.vms.endAudit(call, refusal: (error as? Fault)?.reason.rawValue)
            throw error
        }
    }

    private func trail(
        _ desk: Desk,
        _ filter: AuditFilter = AuditFilter()
    ) async throws -> [AuditRow] {
        try await desk.vms.audit(filter, limit: 1000).rows
    }

    /// The trail when it has `count` rows: nobody waits for some of them.
    private func trail(_ desk: Desk, of count: Int) async throws -> [AuditRow] {
        while true {
            let rows = try await trail(desk)
            if rows.count >= count { return rows }
            try Task.checkCancellation()
            await Task.yield()
        }
    }

    @Test("what is done is written by the commit that accepts it, once, with who and what")
    func accepted() async throws {
        try await withDesk { desk in
            try await desk.place("vm")
            let vm = try await desk.vms.get("vm", project: "default").row
            let before = try await desk.vms.parts.store.revision()
            try await call(desk, "StopVM") { try await desk.power(.stop, "vm") }
            let rows = try await trail(desk)
            #expect(rows.count == 1)
            let row = try #require(rows.first)
            #expect(row.principal == "uid:7")
            #expect(row.method == "roost.compute.v1.VMService/StopVM")
            #expect(row.operation == OperationID(bits: 1))
            let subject = Event.Subject(
                kind: .vm,
                id: vm.id.description,
                name: "vm",
                project: "default"
            )
            #expect(row.subject == subject)
            #expect(row.refusal == nil)
            let changes = try await desk.vms.parts.store.changes(after: before, limit: 100).changes
            let told = changes.first { $0.table == AuditRow.table }
            let asked = changes.first { $0.table == OperationRow.table }
            #expect(told != nil && told?.revision == asked?.revision)
        }
    }

    @Test("what nobody asks for from outside leaves nothing")
    func own() async throws {
        try await withDesk { desk in
            try await desk.place("vm")
            try await desk.power(.stop, "vm")
            #expect(try await trail(desk).isEmpty)
        }
    }

    @Test("what was refused has the reason, and what had nothing to change is there too")
    func refused() async throws {
        try await withDesk { desk in
            try await desk.create("vm")
            await #expect(throws: Fault.self) {
                try await call(desk, "StopVM", by: "uid:7", 1) {
                    try await desk.power(.stop, "none")
                }
            }
            try await call(desk, "StopVM", 2) { try await desk.power(.stop, "vm") }
            let rows = try await trail(desk, of: 2)
            #expect(rows.map(\.refusal) == ["VM_NOT_FOUND", nil])
            #expect(rows.map { $0.operation.bits } == [1, 2])
        }
    }

    @Test("a trial leaves nothing")
    func trial() async throws {
        try await withDesk { desk in
            try await call(desk, "StartVM", 1) { AuditedCall.current?.leaveNothing() }
            try await call(desk, "StartVM", 2) {}
            #expect(try await trail(desk, of: 1).map { $0.operation.bits } == [2])
        }
    }

    @Test("whoever goes into a guest is written down with the words, also when nobody is in")
    func entry() async throws {
        try await withDesk { desk in
            try await desk.place("vm")
            let words = ["sh", "-c", String(repeating: "x", count: 2000)]
            await #expect(throws: Fault.self) {
                try await call(desk, "Exec") {
                    _ = try await desk.guests.exec(
                        "vm",
                        project: "default",
                        ExecRequest(session: OperationID(bits: 1), arguments: words)
                    )
                }
            }
            let rows = try await trail(desk, of: 1)
            #expect(rows.count == 1)
            #expect(rows.first?.subject?.name == "vm")
            #expect(rows.first?.detail.hasPrefix("sh -c xxx") == true)
            #expect(rows.first?.detail.utf8.count == AuditRow.detailBytes)
        }
    }

    @Test("a node is there by its name, when it is cordoned and when it leaves")
    func node() async throws {
        try await withDesk(nodes: 2) { desk in
            try await call(desk, "CordonNode") {
                _ = try await desk.fleet.change("node2", .cordon(reason: ""))
            }
            let rows = try await trail(desk)
            #expect(rows.map { $0.subject?.name } == ["node2"])
            #expect(try await trail(desk, AuditFilter(subject: "node2")) == rows)
            let id = try desk.fleet.get("node2").row.node
            var batch = Batch()
            batch.delete(MemberRow.self, id.description)
            #expect(batch.audited(names: { _ in "two" })?.name == "two")
        }
    }

    @Test("while 10,000 rows wait for the store nothing is let in")
    func bound() async throws {
        try await withDesk { desk in
            var parts = desk.vms.parts
            // Nobody runs what is handed to it: nothing is ever written.
            parts.spawner = Spawner()
            let vms = VMService(parts)
            let id = OperationID(bits: 1)
            for _ in 0..<VMService.unwrittenAudit {
                vms.endAudit(try vms.auditedCall(by: "uid:7", "DeleteImage", id), refusal: "x")
            }
            let met = await fault { () async throws(Fault) in
                _ = try vms.auditedCall(by: "uid:7", "DeleteImage", id)
            }
            #expect(met?.reason == .ioFailed)
            #expect(met?.message.contains("audit trail") == true)
        }
    }

    @Test("is filtered by who, method, subject, op id and time, and read page after page")
    func filters() async throws {
        try await withDesk { desk in
            for number in 1...5 { try await desk.create("vm\(number)") }
            for number: UInt64 in 1...5 {
                desk.wall.pass(days: 1)
                let by = number == 3 ? "token:a" : "uid:7"
                try await call(desk, "StartVM", by: by, number) {
                    try await desk.power(.start, "vm\(number)")
                }
            }
            let all = try await trail(desk)
            #expect(all.map { $0.subject?.name } == (1...5).map { "vm\($0)" })
            let id = try #require(all.last?.subject?.id)
            let expectations: [(AuditFilter, [UInt64])] = [
                (AuditFilter(principal: "token:a"), [3]),
                (AuditFilter(method: "StartVM"), [1, 2, 3, 4, 5]),
                (AuditFilter(method: "artVM"), []),
                (AuditFilter(subject: "vm2"), [2]),
                (AuditFilter(subject: id), [5]),
                (AuditFilter(operation: String(all[3].operation.description.suffix(6))), [4]),
                (AuditFilter(since: all[3].at), [4, 5]),
                (AuditFilter(before: all[1].at), [1]),
            ]
            for (filter, numbers) in expectations {
                let found = try await trail(desk, filter).map { UInt64($0.operation.bits) }
                #expect(found == numbers, "\(filter)")
            }
            var (token, paged): (String?, [AuditRow]) = (nil, [])
            repeat {
                let page = try await desk.vms.audit(AuditFilter(), token: token, limit: 2)
                paged += page.rows
                token = page.next
            } while token != nil
            #expect(paged == all)
        }
    }

    @Test("is kept for ninety days, longer than what it tells of")
    func kept() async throws {
        try await withDesk { desk in
            try await desk.create("vm")
            try await call(desk, "StartVM") { try await desk.power(.start, "vm") }
            desk.wall.pass(days: 89)
            await desk.vms.keepHouse()
            await desk.vms.forgetAudit()
            #expect(try await trail(desk).count == 1)
            #expect(try await desk.vms.operations(of: nil, before: nil, limit: 10).0.isEmpty)
            desk.wall.pass(days: 2)
            await desk.vms.forgetAudit()
            #expect(try await trail(desk).isEmpty)
        }
    }
}
