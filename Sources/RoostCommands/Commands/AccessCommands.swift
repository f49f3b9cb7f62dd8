internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost access`: who may call a control plane over TCP. Join tokens, which are for hosts, are
/// `roost token`.
struct AccessGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "access",
        abstract: "Let people and programs call the fleet over TCP.",
        discussion: """
            For a daemon with --role control and --api-listen. A token is shown once, when it is made; \
            what is kept is a digest. Tokens for hosts that become nodes are roost token.

              viewer    sees states, lists and logs; changes nothing, enters no guest
              operator  makes, changes, enters and removes VMs
              admin     everything: nodes, tokens, the daemon

            Examples:
              roost access create --role operator --name ci --project web --ttl 30d
              roost access ls
              roost access rm 0123456789ab
              roost access whoami --context prod
            """,
        subcommands: [
            AccessCreate.self, AccessList.self, AccessRemove.self, AccessWhoAmI.self,
            AccessAuthority.self,
        ]
    )
}

struct AccessCreate: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make an access token and print it, with where it is for.",
        discussion: """
            With --project the token sees and changes what is in that project only. What is printed is \
            for roost context create --access; -o json has the token by itself, for the header \
            authorization: Bearer TOKEN.

            Examples:
              roost access create --role viewer
              roost access create --role operator --name ci --project web --ttl 30d
              ssh control roost access create --role operator | roost context create prod --access -
            """
    )

    /// The roles, as people type them.
    enum RoleChoice: String, ExpressibleByArgument, CaseIterable {
        case viewer
        case `operator`
        case admin

        var message: Roost_Fleet_V1_Access.Role {
            switch self {
            case .viewer: .viewer
            case .operator: .operator
            case .admin: .admin
            }
        }
    }

    @Option(help: "What may be done with it.")
    var role: RoleChoice

    @Option(help: "How long it can be used, such as 1h or 30d; at most 366 days.")
    var ttl = "30d"

    @Option(help: "What people call it: a–z, 0–9 and '-', beginning with a letter.")
    var name: String?

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: OperationOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let lifetime = try duration(ttl, flag: "--ttl")
        let operation = try change.operation()
        return try await withDaemon(invocation) { daemon in
            let made = try await daemon.access.createAccessToken(
                .with {
                    $0.role = role.message
                    $0.project = project
                    $0.ttl = .init(lifetime)
                    $0.name = name ?? ""
                },
                metadata: metadata(operation)
            )
            // Nothing but what to hand on, for a pipe or a file.
            try Printer(invocation, output.output == .table ? .name : output.output).write(made)
            invocation.remark(
                made.url.isEmpty
                    ? "this control plane does not listen for users: roostd --api-listen 0.0.0.0:8444"
                    : "for: roost context create NAME --access FILE"
            )
            return ExitStatus.ok
        }
    }
}

struct AccessList: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List access tokens.",
        discussion: """
            Examples:
              roost access ls
            """,
        aliases: ["list"]
    )

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let found = try await daemon.access.listAccessTokens(.init())
            try Printer(invocation, output.output).write(found.accessTokens)
            return ExitStatus.ok
        }
    }
}

struct AccessRemove: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Make an access token worthless from the next call on.",
        discussion: """
            Examples:
              roost access rm 0123456789ab
            """
    )

    @Argument(help: "The token's id, as access ls shows it.")
    var id: String

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let gone = try await daemon.access.deleteAccessToken(.with { $0.id = id })
            invocation.remark("removed \(gone.accessToken.id)")
            return ExitStatus.ok
        }
    }
}

struct AccessWhoAmI: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "whoami",
        abstract: "Show whom the control plane takes this user for.",
        discussion: """
            Examples:
              roost access whoami
              roost access whoami --context prod -o json
            """
    )

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            try Printer(invocation, output.output).write(
                try await daemon.access.getCaller(.init())
            )
            return ExitStatus.ok
        }
    }
}

struct AccessAuthority: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "authority",
        abstract: "Print the fleet's certificate authority, for clients that are not roost.",
        discussion: """
            Examples:
              roost access authority > roost.pem
              curl --cacert roost.pem -H "authorization: Bearer $TOKEN" \
            https://control:8444/roost.compute.v1.VMService/ListVMs -d '{}' --json
            """
    )

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let found = try await daemon.access.getAuthority(.init())
            try Printer(invocation, output.output == .table ? .name : output.output).write(found)
            return ExitStatus.ok
        }
    }
}
