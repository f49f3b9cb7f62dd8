internal import ArgumentParser
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// The flags of a command in a guest, the same for `run`, `exec` and `sh`.
struct GuestCommandOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Hand on standard input even from a terminal.")
    var interactive = false

    @Flag(name: .shortAndLong, help: "Give the command a terminal.")
    var tty = false

    @Option(name: .shortAndLong, help: ArgumentHelp("Set a variable.", valueName: "name=value"))
    var env: [String] = []

    @Option(
        help: ArgumentHelp("Set the variables of a file.", valueName: "file"),
        completion: .file()
    )
    var envFile: [String] = []

    @Flag(help: "Set this shell's proxy variables; loopback becomes 10.0.2.2.")
    var proxy = false

    @Option(name: .shortAndLong, help: ArgumentHelp("Run as this user.", valueName: "user"))
    var user: String?

    @Option(name: .shortAndLong, help: ArgumentHelp("Run in this directory.", valueName: "dir"))
    var workdir: String?

    @Option(help: "End the command after this long, such as 30s.")
    var timeout: String?
}

/// One command in one guest, as it is going to be run.
struct GuestCommand: Sendable {
    var vm: String
    var project: String
    var arguments: [String]
    var environment: [String]
    var workingDirectory = ""
    var user = ""
    var timeout: Duration?
    var hasTerminal: Bool
    var hasInput: Bool
    var isDetached = false
    /// Ends the command when this program goes away.
    var endsWithUs = false
    /// Runs the image's entrypoint with the arguments, or its own command without any.
    var isImageCommand = false
    /// What runs when neither names a command.
    var fallback: [String] = []
    var operation: OpTicket

    init(
        vm: String,
        project: String,
        arguments: [String],
        options: GuestCommandOptions,
        wantsTerminal: Bool = false,
        operation: OpTicket,
        in invocation: Invocation
    ) throws(Fault) {
        self.vm = vm
        self.project = project
        self.arguments = arguments
        self.operation = operation
        let isTerminal =
            invocation.isTerminal(invocation.input) && invocation.isTerminal(invocation.output)
        if options.tty && !isTerminal {
            throw .invalid("-t", "standard input and output are not a terminal; leave -t out")
        }
        hasTerminal = options.tty || (wantsTerminal && isTerminal)
        hasInput =
            options.interactive || hasTerminal || !invocation.isTerminal(invocation.input)
        environment = options.proxy ? proxyVariables(of: invocation.environment) : []
        for path in options.envFile {
            let contents = try textFile(path)
            environment += try environmentFile(
                contents,
                path: path,
                inherited: invocation.environment
            )
        }
        for text in options.env {
            let entry = try environmentEntry(text, inherited: invocation.environment)
            if let entry { environment.append(entry) }
        }
        if hasTerminal, let kind = invocation.environment["TERM"],
            !environment.contains(where: { $0.hasPrefix("TERM=") })
        {
            environment.append("TERM=\(kind)")
        }
        workingDirectory = options.workdir ?? ""
        user = options.user ?? ""
        if let text = options.timeout { timeout = try duration(text, flag: "--timeout") }
    }

    /// The first message of its stream.
    func start(_ size: Roost_Compute_V1_TerminalSize) -> Roost_Compute_V1_ExecStart {
        .with {
            $0.id = vm
            $0.project = project
            $0.session = operation.description
            $0.arguments = arguments
            $0.environment = environment
            $0.workingDirectory = workingDirectory
            $0.user = user
            if let timeout { $0.timeoutSeconds = timeout.wholeSeconds }
            if hasTerminal { $0.terminal = size }
            $0.hasStdin_p = hasInput && !isDetached
            $0.killOnDetach = endsWithUs
            $0.imageCommand = isImageCommand
            $0.fallbackArguments = fallback
        }
    }
}
