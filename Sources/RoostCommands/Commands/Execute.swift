internal import ArgumentParser
internal import RoostAPI
internal import RoostModel

/// `roost exec`: a command in a VM that runs.
struct Execute: GuestCodeCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec",
        abstract: "Run a command in a VM.",
        discussion: """
            The status is the command's: 128 and the number of the signal that killed it, 127 when \
            there is no such command, 125 when it could not begin.

            Examples:
              roost exec box -- uptime
              roost exec -it box -- sh
              roost exec -u nobody -e A=1 -w /tmp box -- env
            """
    )

    @Flag(name: .shortAndLong, help: "Leave when the command has begun; it goes on.")
    var detach = false

    @OptionGroup(title: "Command") var guest: GuestCommandOptions
    @Option(help: "The command's id; sending it again attaches to it.")
    var opID: String?
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    @Argument(
        help: "The VM's name, id or unique id prefix.",
        completion: Candidates.vms.completion
    )
    var vm: String

    @Argument(
        parsing: .captureForPassthrough,
        help: ArgumentHelp("The command and its arguments.", valueName: "command")
    )
    var command: [String]

    func run(in invocation: Invocation) async throws -> Int32 {
        let words = command.first == "--" ? Array(command.dropFirst()) : command
        guard !words.isEmpty else {
            throw Fault.invalid("command", "is missing; write it after the VM's name")
        }
        var command = try GuestCommand(
            vm: vm,
            project: project,
            arguments: words,
            options: guest,
            operation: try operation(opID),
            in: invocation
        )
        command.isDetached = detach
        command.endsWithUs = !detach
        return try await attach(command, invocation)
    }
}

/// `roost sh`: a shell in a VM.
struct Shell: GuestCodeCommand {
    static let configuration = CommandConfiguration(
        commandName: "sh",
        abstract: "Open a shell in a VM.",
        discussion: """
            Examples:
              roost sh box
              roost sh -u nobody box
            """
    )

    /// Bash where there is one.
    static let arguments = [
        "/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash -l; exec sh -l",
    ]

    @OptionGroup(title: "Command") var guest: GuestCommandOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    @Argument(
        help: "The VM's name, id or unique id prefix.",
        completion: Candidates.vms.completion
    )
    var vm: String

    func run(in invocation: Invocation) async throws -> Int32 {
        var command = try GuestCommand(
            vm: vm,
            project: project,
            arguments: Self.arguments,
            options: guest,
            wantsTerminal: true,
            operation: try operation(),
            in: invocation
        )
        command.endsWithUs = true
        return try await attach(command, invocation)
    }
}

extension RoostCommand {
    /// Runs `command` joined with our own streams.
    fileprivate func attach(_ command: GuestCommand, _ invocation: Invocation) async throws -> Int32
    {
        try await withDaemon(invocation) { daemon in
            let signals =
                invocation.catchesSignals && !command.isDetached ? try SignalRelay() : nil
            let session = GuestSession(
                daemon: daemon,
                command: command,
                invocation: invocation,
                signals: signals?.stream()
            )
            return try await session.run()
        }
    }
}
