internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost token`: what hosts need to become nodes.
struct TokenGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Let hosts join the fleet as nodes.",
        discussion: """
            For a daemon with --role control. A token is shown once, when it is made; what is kept is a \
            digest.

            Examples:
              roost token create --uses 3 --ttl 1h
              roost token ls
              roost token rm 0123456789ab
            """,
        subcommands: [TokenCreate.self, TokenList.self, TokenRemove.self],
        aliases: ["tokens"]
    )
}

struct TokenCreate: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a join token and print it.",
        discussion: """
            Examples:
              roost token create
              roost token create --uses 3 --ttl 1h
              ROOST_JOIN=$(roost token create -q) roostd --role node --control HOST:8443
            """
    )

    @Option(help: "How many nodes may join with it: 1 to 1000.")
    var uses: Int = 1

    @Option(help: "How long it can be used, such as 30m, 1h, 24h; at most 30 days.")
    var ttl = "1h"

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: OperationOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        guard (1...1000).contains(uses) else {
            throw Fault.invalid("--uses", "\(uses) is outside 1 … 1000")
        }
        let lifetime = try duration(ttl, flag: "--ttl")
        let operation = try change.operation()
        return try await withDaemon(invocation) { daemon in
            let made = try await daemon.tokens.createJoinToken(
                .with {
                    $0.uses = Int32(uses)
                    $0.ttl = .init(lifetime)
                },
                metadata: metadata(operation)
            )
            // Nothing but the token, for a variable of a shell.
            try Printer(invocation, output.output == .table ? .name : output.output).write(made)
            invocation.remark(
                "on the host: ROOST_JOIN=TOKEN roostd --role node --control \(made.controlAddress)"
            )
            return ExitStatus.ok
        }
    }
}

struct TokenList: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List join tokens.",
        discussion: """
            Examples:
              roost token ls
            """,
        aliases: ["list"]
    )

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let found = try await daemon.tokens.listJoinTokens(.init())
            try Printer(invocation, output.output).write(found.joinTokens)
            return ExitStatus.ok
        }
    }
}

struct TokenRemove: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Make a join token worthless; nodes that joined with it stay.",
        discussion: """
            Examples:
              roost token rm 0123456789ab
            """
    )

    @Argument(help: "The token's id, as token ls shows it.")
    var id: String

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let gone = try await daemon.tokens.deleteJoinToken(.with { $0.id = id })
            invocation.remark("removed \(gone.joinToken.id)")
            return ExitStatus.ok
        }
    }
}

struct NodeRemove: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Take a node out of the fleet.",
        discussion: """
            Refused while VMs are on it, unless --force; their rows go then, and what the node still \
            runs is nobody's.

            Examples:
              roost node rm node2
              roost node rm --force node2
            """
    )

    @Argument(
        help: "The node's name, id or unique id prefix.",
        completion: Candidates.nodes.completion
    )
    var node: String

    @Flag(name: .shortAndLong, help: "Also with VMs on it.")
    var force = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let gone = try await daemon.tokens.removeNode(
                .with {
                    $0.node = node
                    $0.force = force
                }
            )
            invocation.remark("removed \(node)")
            for name in gone.forgottenVms { invocation.talk("forgotten: \(name)") }
            return ExitStatus.ok
        }
    }
}

extension Roost_Fleet_V1_JoinToken: Printable {
    static func columns(wide: Bool) -> [String] { ["ID", "USES", "LEFT", "EXPIRES", "USABLE"] }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        [
            .init(text: id), .init(text: String(uses)), .init(text: String(usesLeft)),
            .init(text: timeText(expireTime)),
            .init(text: usable ? "yes" : "no", color: usable ? .green : .yellow),
        ]
    }

    var plainName: String { id }

    func details(now: Int64) -> [(String, String)] {
        [
            ("id", id), ("uses", "\(usesLeft) of \(uses) left"), ("made", timeText(createTime)),
            ("expires", timeText(expireTime)), ("usable", usable ? "yes" : "no"),
        ]
    }
}

extension Roost_Fleet_V1_CreateJoinTokenResponse: Printable {
    static func columns(wide: Bool) -> [String] { ["TOKEN"] }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] { [.init(text: token)] }

    var plainName: String { token }

    func details(now: Int64) -> [(String, String)] {
        [("token", token), ("control", controlAddress)] + joinToken.details(now: now)
    }
}
