import Foundation
import RoostModel
import RoostTestKit
import Testing

@Suite("The error page")
struct ErrorsPageTests {
    // docs/ERRORS.md is this file: a new reason is a changed line for people to see.
    @Test func thePageListsEveryReason() throws {
        var page = """
            # Errors

            Every error carries its reason (google.rpc.ErrorInfo, domain `roost`), the fields that were
            refused, a remedy and the op id. `{key}` is filled in from the error's metadata.

            | reason | code | remedy |
            |---|---|---|

            """
        for reason in Reason.allCases.sorted(by: { $0.rawValue < $1.rawValue }) {
            page += "| `\(reason.rawValue)` | \(reason.code.rawValue) | \(reason.remedy) |\n"
        }
        page += """

            Where the VM's state says more, the remedy is another:

            | reason | state | remedy |
            |---|---|---|

            """
        for reason in Reason.allCases.sorted(by: { $0.rawValue < $1.rawValue }) {
            for state in VMState.allCases {
                guard let remedy = reason.remedy(in: state) else { continue }
                page += "| `\(reason.rawValue)` | \(state.rawValue) | \(remedy) |\n"
            }
        }
        let difference = try goldenDifference(
            page,
            at: URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../../docs/ERRORS.md")
        )
        #expect(difference == nil)
    }
}
