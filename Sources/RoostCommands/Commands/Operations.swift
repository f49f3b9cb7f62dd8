internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost ops`: what was asked, and what became of it.
struct OpsGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ops",
        abstract: "Look at operations.",
        discussion: """
            Examples:
              roost ops ls --vm box
              roost ops get op-7f3k2m
            """,
        subcommands: [OpsList.self, OpsGet.self, OpsWait.self, OpsCancel.self],
        aliases: ["op"]
    )
}

struct OpsList: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List operations, newest first.",
        discussion: """
            Examples:
              roost ops ls
              roost ops ls --vm box -n 5 -o wide
              roost ops ls --all -o json
            """,
        aliases: ["list"]
    )

    @Option(help: "Only those on this VM.", completion: Candidates.vms.completion)
    var vm: String?

    @Option(
        name: [.customShort("n"), .customLong("limit")],
        help: ArgumentHelp("At most this many; 20 without -n and --all.", valueName: "count")
    )
    var limit: Int32?

    @Flag(help: "All that are kept, page after page.")
    var all = false

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard limit ?? 1 > 0 else { throw ValidationError("-n is 1 or more.") }
        guard !all || limit == nil else {
            throw ValidationError("-n and --all exclude each other.")
        }
    }

    func run(in invocation: Invocation) async throws -> Int32 {
        let limit = all ? Int.max : Int(limit ?? 20)
        return try await withDaemon(invocation) { daemon in
            var found: [Roost_Ops_V1_Operation] = []
            var request = Roost_Ops_V1_ListOperationsRequest.with {
                $0.vm = vm ?? ""
                $0.project = project
            }
            repeat {
                request.pageSize = Int32(min(limit - found.count, 1000))
                let page = try await daemon.operations.listOperations(request)
                found += page.operations
                request.pageToken = page.nextPageToken
            } while !request.pageToken.isEmpty && found.count < limit
            try Printer(invocation, output.output).write(found)
            return ExitStatus.ok
        }
    }
}

struct OpsGet: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Show an operation with its steps.",
        discussion: """
            Examples:
              roost ops get op-7f3k2m
            """
    )

    @Argument(
        help: "The op id, or its last six characters or more.",
        completion: Candidates.operations.completion
    )
    var op: String

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let found = try await daemon.operations.getOperation(.with { $0.id = op })
            try Printer(invocation, output.output).write(found)
            return ExitStatus.ok
        }
    }
}

struct OpsWait: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait",
        abstract: "Wait until an operation has ended.",
        discussion: """
            The status is 1 when it failed or was cancelled, and 124 when the time was up.

            Examples:
              roost ops wait op-7f3k2m --timeout 1m
            """
    )

    @Argument(
        help: "The op id, or its last six characters or more.",
        completion: Candidates.operations.completion
    )
    var op: String

    @Option(help: "Give up after this long, such as 30s or 5m.")
    var timeout: String?

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let deadline = try timeout.map { text throws(Fault) in
            ContinuousClock.now + (try duration(text, flag: "--timeout"))
        }
        return try await withDaemon(invocation) { daemon in
            while true {
                let left = deadline.map { ($0 - ContinuousClock.now).wholeSeconds }
                let found = try await daemon.operations.waitOperation(
                    .with {
                        $0.id = op
                        $0.timeoutSeconds = min(left ?? WaitFor.callSeconds, WaitFor.callSeconds)
                    }
                )
                if found.done {
                    try Printer(invocation, output.output).write(found)
                    return found.state == .succeeded ? ExitStatus.ok : ExitStatus.failed
                }
                if let deadline, ContinuousClock.now >= deadline {
                    invocation.talk(
                        "error: '\(shown(op))' is still \(found.stateWord): the time is up"
                    )
                    return ExitStatus.deadline
                }
            }
        }
    }
}

struct OpsCancel: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel",
        abstract: "Stop an operation at its next step and undo what it did.",
        discussion: """
            Examples:
              roost ops cancel op-7f3k2m
            """
    )

    @Argument(
        help: "The op id, or its last six characters or more.",
        completion: Candidates.operations.completion
    )
    var op: String

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let found = try await daemon.operations.cancelOperation(.with { $0.id = op })
            try Printer(invocation, output.output).write(found)
            return ExitStatus.ok
        }
    }
}
