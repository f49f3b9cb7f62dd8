internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf
internal import Synchronization

/// `roost events`: what happened.
struct Events: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what happened: VMs, nodes, operations, fleets.",
        discussion: """
            With -f it goes on as things happen, also when the daemon was away for a
            while, and misses nothing: it goes on after the revision that it had read.
            Events that are not kept any more (7 days, or 1,000,000 commits) are said to
            be gone, with status 1; a reader that does not read is dropped, with status 4.

            Examples:
              roost events
              roost events --vm web-1 -n 5
              roost events --since 1042
              roost events -f --kind node-state
              roost events -f --since 1042 -o json
            """
    )

    @Option(
        help: "Only about this VM, also when it is gone.",
        completion: Candidates.vms.completion
    )
    var vm = ""

    @Option(help: "Only about this node.", completion: Candidates.nodes.completion)
    var node = ""

    @Option(help: ArgumentHelp("Only of this kind; may be repeated.", valueName: "kind"))
    var kind: [EventKindFlag] = []

    @Option(help: "Only of this operation, by its id or its last six characters or more.")
    var op = ""

    @Option(
        name: [.customShort("n"), .customLong("limit")],
        help: ArgumentHelp(
            "At most this many of the latest, or of the first after --since; 50 without.",
            valueName: "count"
        )
    )
    var limit: Int32?

    @Flag(name: .shortAndLong, help: "Go on as things happen.")
    var follow = false

    @Option(help: ArgumentHelp("What came after this revision.", valueName: "revision"))
    var since: Int64?

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard limit ?? 1 > 0 else { throw ValidationError("-n is 1 or more.") }
        guard since ?? 0 >= 0 else { throw ValidationError("--since is 0 or more.") }
        guard limit == nil || !follow else {
            throw ValidationError("-n and -f exclude each other.")
        }
    }

    private var filter: Roost_Ops_V1_EventFilter {
        .with {
            $0.project = project
            $0.vm = vm
            $0.node = node
            $0.kinds = kind.map(\.kind)
            $0.operation = op
        }
    }

    func run(in invocation: Invocation) async throws -> Int32 {
        if follow { return try await goOn(invocation) }
        return try await withDaemon(invocation) { daemon in
            let found = try await daemon.events.listEvents(
                .with {
                    $0.filter = filter
                    $0.pageSize = limit ?? 50
                    if let since { $0.sinceRevision = since }
                }
            )
            try Printer(invocation, output.output).write(found.events)
            return ExitStatus.ok
        }
    }

    /// Until it is interrupted. A daemon that was there is waited for.
    private func goOn(_ invocation: Invocation) async throws -> Int32 {
        let place = EventPlace(since)
        while true {
            do {
                try await withDaemon(invocation) { daemon in
                    try await read(daemon, place, invocation)
                }
            } catch let error as BrokenOutput {
                throw error
            } catch {
                let isAway = RoostCommands.reason(of: error).code == .unavailable
                guard isAway, let revision = place.revision, place.wasThere else {
                    if let revision = place.revision, place.wasThere {
                        invocation.talk("note: everything up to revision \(revision) was shown")
                    }
                    throw error
                }
                if place.isLostAnew() {
                    invocation.talk("note: the daemon is away; waiting, after revision \(revision)")
                }
            }
            try await Task.sleep(for: .milliseconds(300))
        }
    }

    private func read(
        _ daemon: Daemon,
        _ place: EventPlace,
        _ invocation: Invocation
    ) async throws {
        let request = Roost_Ops_V1_WatchEventsRequest.with {
            $0.filter = filter
            if let revision = place.revision { $0.sinceRevision = revision }
        }
        try await daemon.events.watchEvents(request) { response in
            for try await page in response.messages {
                for event in page.events { try invocation.write(try line(event)) }
                place.read(page.revision)
            }
        }
    }

    private func line(_ event: Roost_Ops_V1_Event) throws -> String {
        switch output.output {
        case .json: try event.orderedJSON() + "\n"
        case .yaml: "---\n" + (try yamlText(json: event.orderedJSON()))
        case .name: event.subject.name + "\n"
        case .table, .wide: event.line
        }
    }
}

/// A kind of event as people type it.
enum EventKindFlag: String, ExpressibleByArgument, CaseIterable {
    case vmState = "vm-state"
    case vmGone = "vm-gone"
    case nodeState = "node-state"
    case operationState = "operation-state"
    case fleetPublished = "fleet-published"

    var kind: Roost_Ops_V1_Event.Kind {
        switch self {
        case .vmState: .vmState
        case .vmGone: .vmGone
        case .nodeState: .nodeState
        case .operationState: .operationState
        case .fleetPublished: .fleetPublished
        }
    }
}

/// How far a watch has read.
private final class EventPlace: Sendable {
    private struct State {
        var revision: Int64?
        var wasThere = false
        var isLost = false
    }

    private let state: Mutex<State>

    init(_ revision: Int64?) { state = Mutex(State(revision: revision)) }

    /// Where to go on; `nil`: now.
    var revision: Int64? { state.withLock { $0.revision } }
    /// Whether anything was ever read.
    var wasThere: Bool { state.withLock { $0.wasThere } }

    func read(_ revision: Int64) {
        state.withLock { $0 = State(revision: revision, wasThere: true) }
    }

    /// Whether this is the first loss since something was read.
    func isLostAnew() -> Bool {
        state.withLock { state in
            defer { state.isLost = true }
            return !state.isLost
        }
    }
}

extension Roost_Ops_V1_Event: Printable {
    static func columns(wide: Bool) -> [String] {
        let short = ["REVISION", "TIME", "KIND", "NAME", "TO", "REASON"]
        return wide ? short + ["FROM", "PROJECT", "OPERATION", "BY"] : short
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        let cells: [Table.Cell] = [
            .init(text: String(revision)), .init(text: timeText(time)), .init(text: kindWord),
            .init(text: plainName), .init(text: to), .init(text: reason),
        ]
        guard wide else { return cells }
        return cells + [
            .init(text: from), .init(text: project), .init(text: operation),
            .init(text: principal),
        ]
    }

    var plainName: String { subject.name.isEmpty ? String(subject.id.prefix(12)) : subject.name }

    func details(now: Int64) -> [(String, String)] {
        [
            ("id", id), ("revision", String(revision)), ("time", timeText(time)),
            ("kind", kindWord), ("name", plainName), ("from", from), ("to", to),
            ("reason", reason), ("operation", operation),
        ]
    }

    /// One line as it happens.
    fileprivate var line: String {
        let words = ["\(revision)", timeText(time), kindWord, plainName, to, reason]
        return words.filter { !$0.isEmpty }.joined(separator: "  ") + "\n"
    }

    /// As it is typed after `--kind`.
    private var kindWord: String {
        EventKindFlag.allCases.first { $0.kind == kind }?.rawValue ?? "unknown"
    }
}
