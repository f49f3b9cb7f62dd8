import RoostModel
import RoostOperations
import RoostStore
import Testing

@testable import RoostControl

/// Access tokens as they are kept, and what is there for who is confined to a project.
@Suite("Access", .timeLimit(.minutes(1)))
struct AccessTests {
    private static func order(
        _ role: Role = .operator,
        project: String = "",
        ttl: Int64 = 60,
        name: String = ""
    ) -> AccessTokens.Order {
        AccessTokens.Order(name: name, role: role, project: project, ttlSeconds: ttl)
    }

    @Test("a token opens until it expires or is removed, and only with its own secret")
    func lives() async throws {
        try await withDesk { desk in
            let tokens = AccessTokens(desk.vms)
            let made = try await tokens.create(
                id: "a",
                secretDigest: "digest",
                Self.order(project: "web", name: "ci"),
                desk.request("CreateAccessToken")
            )
            #expect(made.createdBy == "uid:0")
            let found = try await tokens.authenticate(id: "a", secretDigest: "digest")
            #expect(found.role == .operator && found.project == "web")
            for (id, digest) in [("a", "digesT"), ("a", ""), ("b", "digest"), ("", "")] {
                let fault = await #expect(throws: Fault.self) {
                    try await tokens.authenticate(id: id, secretDigest: digest)
                }
                #expect(fault?.reason == .accessTokenInvalid, "\(id) \(digest)")
            }
            desk.wall.pass(seconds: 59)
            _ = try await tokens.authenticate(id: "a", secretDigest: "digest")
            desk.wall.pass(seconds: 1)
            let late = await #expect(throws: Fault.self) {
                try await tokens.authenticate(id: "a", secretDigest: "digest")
            }
            #expect(late?.reason == .accessTokenExpired)
            _ = try await tokens.delete("a", by: "uid:0")
            let gone = await #expect(throws: Fault.self) {
                try await tokens.authenticate(id: "a", secretDigest: "digest")
            }
            #expect(gone?.reason == .accessTokenInvalid)
            let unknown = await #expect(throws: Fault.self) {
                try await tokens.delete("a", by: "x")
            }
            #expect(unknown?.reason == .accessTokenNotFound)
        }
    }

    @Test("what a token cannot be is refused by field, and one that ended a day ago is forgotten")
    func limits() async throws {
        try await withDesk { desk in
            let tokens = AccessTokens(desk.vms)
            let cases: [(AccessTokens.Order, String)] = [
                (Self.order(ttl: 0), "ttl"), (Self.order(ttl: 366 * 86_400 + 1), "ttl"),
                (Self.order(name: "No Name"), "name"), (Self.order(project: "a/b"), "project"),
                (Self.order(.admin, project: "web"), "role"),
            ]
            for (order, field) in cases {
                let fault = await #expect(throws: Fault.self) {
                    try await tokens.create(
                        id: "a",
                        secretDigest: "d",
                        order,
                        desk.request("CreateAccessToken")
                    )
                }
                #expect(fault?.violations.map(\.field) == [field])
            }
            for id in ["a", "b"] {
                _ = try await tokens.create(
                    id: id,
                    secretDigest: "d",
                    Self.order(),
                    desk.request("CreateAccessToken")
                )
                desk.wall.pass(seconds: 86_400 + 61)
            }
            #expect(try await tokens.all().map(\.id) == ["b"])
        }
    }

    @Test("a token that is asked for twice is made once, and its op id is taken")
    func once() async throws {
        try await withDesk { desk in
            let tokens = AccessTokens(desk.vms)
            let asked = desk.request("CreateAccessToken", "a")
            let make = { @Sendable (context: RequestContext) async throws(Fault) in
                try await tokens.create(id: "a", secretDigest: "d", Self.order(), context)
            }
            async let one = make(asked)
            async let other = make(asked)
            #expect(try await one == other)
            #expect(try await tokens.all().map(\.id) == ["a"])
            var reused = asked
            reused.digest = "b"
            let fault = await #expect(throws: Fault.self) { try await make(reused) }
            #expect(fault?.reason == .opIDReused)
            reused = asked
            reused.principal = "token:ci"
            let foreign = await #expect(throws: Fault.self) { try await make(reused) }
            #expect(foreign?.reason == .opIDReused)
            // Nor can a request about a VM have it, nor this one a VM's.
            let draft = VMDraft(name: "box", cores: 1, memoryMiB: 512)
            let taken = await #expect(throws: Fault.self) {
                try await desk.vms.create(draft, asked)
            }
            #expect(taken?.reason == .opIDReused)
            let creates = desk.request("CreateVM", "box")
            _ = try await desk.vms.create(draft, creates)
            let late = await #expect(throws: Fault.self) { try await make(creates) }
            #expect(late?.reason == .opIDReused)
            _ = try await tokens.delete("a", by: "uid:0")
            let removed = await #expect(throws: Fault.self) { try await make(asked) }
            #expect(removed?.reason == .accessTokenNotFound)
        }
    }

    @Test("for who is confined to a project, nothing outside of it is there by name, id or prefix")
    func confined() async throws {
        try await withDesk { desk in
            let own = try await desk.create("box").vm
            let view: (String) -> ProjectView = { ProjectView($0, isConfined: true) }
            for reference in [own.name, own.id.description, String(own.id.description.prefix(8))] {
                let found = try await desk.vms.get(reference, project: view("default")).row
                #expect(found.id == own.id)
                // An id means its VM wherever that is, unless the asker is confined.
                let fault = await #expect(throws: Fault.self) {
                    try await desk.vms.get(reference, project: view("web"))
                }
                #expect(fault?.reason == .vmNotFound, "\(reference)")
            }
            #expect(
                try await desk.vms.get(own.id.description, project: ProjectView("web")).row.id
                    == own.id
            )
            let rows = try await desk.vms.operations(of: nil, limit: 10).rows
            #expect(!rows.isEmpty)
            #expect(try await desk.vms.operations(rows, admittedTo: view("web")).isEmpty)
            #expect(try await desk.vms.operations(rows, admittedTo: view("default")) == rows)
        }
    }

    @Test("a watch that goes on from a revision tells a confined watcher of no other project's VM")
    func watching() async throws {
        try await withDesk { desk in
            let vm = try await desk.create("box").vm
            #expect(!VMFilter(project: "web").mayHaveHeld(vm))
            #expect(VMFilter(project: "default").mayHaveHeld(vm))
            #expect(VMFilter().mayHaveHeld(vm))
            // What is gone has no project any more: its id is all that is told of it.
            #expect(VMFilter(project: "web").mayHaveHeld(nil))
        }
    }
}
