internal import ArgumentParser
internal import RoostModel
internal import RoostTrust

/// `roost context`: which daemon the other commands speak with.
struct ContextGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "context",
        abstract: "Choose the daemon that commands talk to.",
        discussion: """
            A context is a daemon with a name. --context is stronger than ROOST_CONTEXT, and that than \
            roost context use. --socket, --state-dir, ROOST_SOCKET and ROOST_STATE_DIR mean this host's \
            own daemon, and are stronger than ROOST_CONTEXT and roost context use. The context \
            'default' is this host's own daemon; only it is started when it does not answer. They are \
            kept in ${XDG_CONFIG_HOME:-~/.config}/roost/contexts.json.

            Examples:
              roost context create prod --access FILE
              roost context use prod
              roost ls --context default
            """,
        subcommands: [
            ContextCreate.self, ContextList.self, ContextUse.self, ContextShow.self,
            ContextRemove.self,
        ],
        aliases: ["contexts"]
    )
}

struct ContextCreate: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Give a daemon a name.",
        discussion: """
            With --access it is a control plane elsewhere: what roost access create printed there, in a \
            file or on standard input, names it and is the token to call it with. The token is kept in \
            a file of mode 0600 beside the contexts. Plain http is for this host's loopback only.

            Examples:
              ssh control roost access create --role operator | roost context create prod --access -
              roost context create prod --endpoint https://control:8444 --access TOKEN-FILE
              roost context create try --endpoint http://127.0.0.1:8080
              roost context create lab --endpoint unix:///run/lab/roost.sock
            """
    )

    @Argument(help: "A name: a–z, 0–9 and '-', beginning with a letter.")
    var name: String

    @Option(
        help: ArgumentHelp(
            "unix:///PATH of a socket, http://127.0.0.1:PORT, or https://HOST:PORT with --access.",
            valueName: "url"
        )
    )
    var endpoint: String?

    @Option(
        help: ArgumentHelp(
            "A file with what roost access create printed; - is standard input.",
            valueName: "file"
        ),
        completion: .file()
    )
    var access: String?

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        var (token, url): (AccessToken?, String?) = (nil, endpoint)
        if let access {
            let text = try await TokenFile.text(of: access, invocation)
            let found = try AccessText(text)
            if let address = found.endpoint {
                guard endpoint == nil || endpoint == address else {
                    throw Fault.invalid(
                        "--endpoint",
                        "and --access name two addresses; leave one out"
                    )
                }
                url = address
            }
            token = found.token
        }
        guard let url else {
            throw Fault.invalid("--endpoint", "is required, unless --access names an address")
        }
        if case .fleet = try Endpoint(url) {
            guard token != nil else { throw Fault.invalid("--access", "is required with https") }
        } else if token != nil {
            throw Fault.invalid("--access", "is for https: nothing else asks for a token")
        }
        let context = Context(name: name, endpoint: url)
        let (file, made) = (TokenFile(environment: invocation.environment, context: name), token)
        try await ContextFile(environment: invocation.environment)
            .change { contexts throws(Fault) in
                try contexts.add(context)
                // Before the context is there: one without its token would be of no use.
                if let made { try file.write(made) }
            }
        invocation.remark("created the context \(name)")
        return ExitStatus.ok
    }
}

struct ContextList: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List the contexts.",
        discussion: """
            Examples:
              roost context ls
              roost context ls -o json
            """,
        aliases: ["list"]
    )

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let effective = try connection.flags.effectiveContext(invocation.environment)
        let contexts = try ContextFile(environment: invocation.environment).read()
        let local = ContextRow.local(connection.flags, effective, invocation)
        let others = contexts.all.map { context in
            let isCurrent = context == effective.context
            return ContextRow(
                name: context.name,
                endpoint: context.endpoint,
                isCurrent: isCurrent,
                reason: isCurrent ? effective.reason : ""
            )
        }
        try Printer(invocation, output.output).write([local] + others)
        return ExitStatus.ok
    }
}

struct ContextUse: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "use",
        abstract: "Let commands talk to a context from now on.",
        discussion: """
            Examples:
              roost context use try
              roost context use default
            """
    )

    @Argument(
        help: "A context, or default for this host's own daemon.",
        completion: Candidates.contexts.completion
    )
    var name: String

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let name = name
        try await ContextFile(environment: invocation.environment)
            .change { contexts throws(Fault) in try contexts.use(name) }
        let effective = try connection.flags.effectiveContext(invocation.environment)
        if (effective.context?.name ?? Contexts.localName) != name {
            let now = effective.context?.name ?? "this host's own daemon"
            invocation.talk("note: here \(effective.reason) is stronger and means \(now)")
        }
        return ExitStatus.ok
    }
}

struct ContextShow: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show the current context, or one by name.",
        discussion: """
            Examples:
              roost context show
              roost context show try -o json
            """
    )

    @Argument(
        help: "A context; without one the current.",
        completion: Candidates.contexts.completion
    )
    var name: String?

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let effective = try connection.flags.effectiveContext(invocation.environment)
        let row: ContextRow
        let wanted = name ?? effective.context?.name ?? Contexts.localName
        if wanted == Contexts.localName {
            row = .local(connection.flags, effective, invocation)
        } else {
            let file = ContextFile(environment: invocation.environment)
            let context = try file.read().named(wanted)
            let isCurrent = context == effective.context
            row = ContextRow(
                name: context.name,
                endpoint: context.endpoint,
                isCurrent: isCurrent,
                reason: isCurrent ? effective.reason : ""
            )
        }
        try Printer(invocation, output.output).write(row)
        return ExitStatus.ok
    }
}

struct ContextRemove: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Forget contexts; their daemons go on.",
        discussion: """
            Examples:
              roost context rm try
            """
    )

    @Argument(
        help: ArgumentHelp("Contexts that are not in use.", valueName: "name"),
        completion: Candidates.contexts.completion
    )
    var names: [String]

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let names = names
        // All or none: the file is written once.
        try await ContextFile(environment: invocation.environment)
            .change { contexts throws(Fault) in
                for name in names { try contexts.remove(name) }
            }
        for name in names {
            try TokenFile(environment: invocation.environment, context: name).remove()
        }
        return ExitStatus.ok
    }
}

extension ContextRow {
    /// The row of this host's own daemon.
    fileprivate static func local(
        _ flags: DaemonFlags,
        _ effective: EffectiveContext,
        _ invocation: Invocation
    ) -> ContextRow {
        var local = flags
        local.context = Contexts.localName
        if flags.socket != nil || flags.stateDir != nil { local.context = nil }
        // Without a home directory there is no such daemon, and nothing to show of it.
        let endpoint = try? local.target(invocation.environment).endpoint
        let isCurrent = effective.context == nil
        return ContextRow(
            name: Contexts.localName,
            endpoint: endpoint?.description ?? "",
            isCurrent: isCurrent,
            reason: isCurrent ? effective.reason : ""
        )
    }
}
