import Foundation
import RoostModel
import RoostTestKit
import Testing

@testable import RoostAPI

/// Who may call what. A method of proto/ without a rule, or a rule without a method, fails here.
@Suite("The access table")
struct AccessTableTests {
    @Test("has one rule for every method that proto/ declares, and none for anything else")
    func isWhole() {
        #expect(declaredMethods.count > 80)
        let ruled = accessRows.flatMap { row in
            row.methods.split(separator: " ").map { "\(row.service)/\($0)" }
        }
        let (declared, known) = (Set(declaredMethods), Set(ruled))
        #expect(
            declared.subtracting(known).sorted() == [],
            "say who may call it: Sources/RoostAPI/Access/AccessTable.swift"
        )
        #expect(known.subtracting(declared).sorted() == [], "no such method")
        #expect(ruled.count == known.count, "a method has two rules")
        #expect(accessTable.count == known.count)
    }

    @Test("every change takes an operator at least, and only reads are a viewer's")
    func viewersOnlyRead() {
        let reads = [
            "Get", "List", "Watch", "Read", "Wait", "Plan", "Explain", "WhatIf", "Recommend",
            "RunDoctor",
        ]
        for (method, rule) in accessTable {
            guard case .role(.viewer, _) = rule, method.hasPrefix("roost.") else { continue }
            let name = method.split(separator: "/").last ?? ""
            #expect(reads.contains { name.hasPrefix($0) }, "\(method)")
        }
    }

    @Test("a caller below the role, or confined where the fleet is meant, is told what it takes")
    func refusals() throws {
        let rule = AccessRule.role(.operator, .fleet)
        let small = #expect(throws: Fault.self) {
            try rule.admit(.viewer, project: nil, method: "s/M")
        }
        #expect(small?.reason == .permissionDenied)
        #expect(small?.metadata == ["method": "s/M", "needs": "operator", "role": "viewer"])
        #expect(small?.message.contains("/s/M takes the role operator") == true)
        #expect(throws: Fault.self) { try rule.admit(nil, project: nil, method: "s/M") }
        let confined = #expect(throws: Fault.self) {
            try rule.admit(.operator, project: "web", method: "s/M")
        }
        #expect(confined?.metadata["project"] == "web")
        try rule.admit(.operator, project: nil, method: "s/M")
        try rule.admit(.admin, project: nil, method: "s/M")
        try AccessRule.role(.operator, .project).admit(.operator, project: "web", method: "s/M")
        #expect(throws: Fault.self) {
            try AccessRule.member.admit(.admin, project: nil, method: "s/M")
        }
    }

    // docs/METHODS.md is this file: who may call what is a changed line for people to see.
    @Test("the page says of every method who may call it, as the gate does")
    func page() throws {
        let callers: [(Role?, String?)] = [
            (nil, nil), (.viewer, nil), (.operator, nil), (.admin, nil), (.viewer, "p"),
            (.operator, "p"),
        ]
        var page = """
            # Who may call what

            One row for each method, as `Gate` decides it. "Of a project" is a token that is confined to
            one: its own project is all that there is for it. `members` are the daemons of the fleet, by
            certificate. The last column is what is in the audit trail (docs/AUDIT.md).

            | method | no token | viewer | operator | admin | viewer of a project | operator of a project | audit |
            |---|---|---|---|---|---|---|---|

            """
        for method in accessTable.keys.sorted() {
            let rule = try #require(accessTable[method])
            let cells = callers.map { role, project in
                if rule == .member { return "members" }
                do throws(Fault) {
                    try rule.admit(role, project: project, method: method)
                    return "yes"
                } catch { return "" }
            }
            let audit = rule.isAudited(method) ? "yes" : ""
            page += "| `\(method)` | \((cells + [audit]).joined(separator: " | ")) |\n"
        }
        let difference = try goldenDifference(
            page,
            at: URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../../docs/METHODS.md")
        )
        #expect(difference == nil)
    }
}
