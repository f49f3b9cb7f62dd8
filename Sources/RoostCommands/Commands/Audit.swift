internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost audit`: who did what.
struct Audit: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show who did what: every change, and every entry into a guest.",
        discussion: """
            The oldest first. What only reads is not in it. A call that was refused has
            the reason; what came of one that was accepted, `roost ops get` says for 30
            days. The trail is kept for 90.

            Examples:
              roost audit
              roost audit --since 7d --subject web-1
              roost audit --by token:3fb1c09a2e77 --method Exec -o wide
              roost audit --op 7f3k2m -o json
            """
    )

    @Option(help: ArgumentHelp("What came in the last this long; 24h without.", valueName: "time"))
    var since: String?

    @Option(
        help: ArgumentHelp("Only what this caller did, as in column BY.", valueName: "caller")
    )
    var by = ""

    @Option(help: ArgumentHelp("Only calls of this method, such as DeleteVM.", valueName: "name"))
    var method = ""

    @Option(
        help: ArgumentHelp("Only about the VM or other thing of this name.", valueName: "name"),
        completion: Candidates.vms.completion
    )
    var subject = ""

    @Option(help: "Only of this operation, by its id or its last six characters or more.")
    var op = ""

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let span = try duration(since ?? "24h", flag: "--since")
        var request = Roost_Ops_V1_ListAuditRequest()
        let begin = (secondsNow() - span.components.seconds) * 1000
        request.startTime = .init(Timestamp(milliseconds: max(begin, 0)))
        request.principal = by
        request.method = method
        request.subject = subject
        request.operation = op
        request.pageSize = 1000
        let first = request
        return try await withDaemon(invocation) { daemon in
            var request = first
            var found: [Roost_Ops_V1_AuditEntry] = []
            repeat {
                let page = try await daemon.audit.listAudit(request)
                found += page.entries
                request.pageToken = page.nextPageToken
            } while !request.pageToken.isEmpty
            try Printer(invocation, output.output).write(found)
            return ExitStatus.ok
        }
    }
}

extension Roost_Ops_V1_AuditEntry: Printable {
    static func columns(wide: Bool) -> [String] {
        let short = ["TIME", "BY", "METHOD", "NAME", "DETAIL", "REFUSED"]
        return wide ? short + ["PROJECT", "OPERATION"] : short
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        let cells: [Table.Cell] = [
            .init(text: timeText(time)), .init(text: principal), .init(text: verb),
            .init(text: plainName), .init(text: wide ? detail : String(detail.prefix(40))),
            .init(text: refusal),
        ]
        return wide ? cells + [.init(text: project), .init(text: operation)] : cells
    }

    var plainName: String { subject.name.isEmpty ? String(subject.id.prefix(12)) : subject.name }

    func details(now: Int64) -> [(String, String)] {
        [
            ("time", timeText(time)), ("by", principal), ("method", method),
            ("kind", subject.kind), ("name", plainName), ("project", project), ("detail", detail),
            ("refused", refusal), ("operation", operation),
        ]
    }

    /// What follows the service.
    private var verb: String {
        method.split(separator: "/").last.map(String.init) ?? method
    }
}
