/// What holds for every command and stands in each page of the manual.
enum Reference {
    /// A row of a table.
    struct Entry: Equatable {
        var name: String
        var meaning: String

        init(_ name: String, _ meaning: String) {
            self.name = name
            self.meaning = meaning
        }
    }

    /// What `roost` ends with; `run`, `exec` and `sh` have ``guestExitStatuses`` too.
    static let exitStatuses: [Entry] = [
        entry(ExitStatus.ok, "It is done, or was so already."),
        entry(ExitStatus.failed, "It failed, or some of several things failed differently."),
        entry(ExitStatus.usage, "The arguments are wrong."),
        entry(ExitStatus.notFound, "There is no such thing."),
        entry(ExitStatus.conflict, "The state of the thing forbids it, or its name is taken."),
        entry(ExitStatus.denied, "The caller may not."),
        entry(ExitStatus.unavailable, "The daemon or the guest does not answer."),
        entry(ExitStatus.noCapacity, "There is no room for it, or a limit is reached."),
        entry(ExitStatus.deadline, "The time was up."),
        entry(ExitStatus.interrupted, "It was interrupted or cancelled."),
        entry(ExitStatus.brokenPipe, "Nobody reads the output any more."),
    ]

    /// What `run`, `exec` and `sh` end with instead, as docker has it.
    static let guestExitStatuses: [Entry] = [
        Entry("0\u{2013}255", "The command's own; 128 and the signal's number when one killed it."),
        entry(ExitStatus.deadline, "The command's time was up."),
        entry(ExitStatus.toolFailed, "The command could not begin, or its end is unknown."),
        entry(ExitStatus.commandNotExecutable, "The command is there and cannot be run."),
        entry(ExitStatus.commandNotFound, "There is no such command in the guest."),
        entry(ExitStatus.interrupted, "Ctrl-C was pressed twice within two seconds."),
    ]

    /// What `roostd` ends with.
    static let daemonExitStatuses: [Entry] = [
        Entry("0", "It ended in order; guests go on."),
        Entry("1", "It failed; its log says why."),
        Entry("2", "The arguments or variables are wrong."),
        Entry("3", "Another daemon holds the state directory."),
        Entry("4", "Something listens on the socket."),
    ]

    /// The variables that `roost` reads.
    static let environment: [Entry] = [
        Entry(Variable.context, "The context to talk to; stronger than roost context use."),
        Entry(
            Variable.socket,
            "The daemon's Unix socket; stronger than a context, but for --context."
        ),
        Entry(
            Variable.stateDirectory,
            "The daemon's state directory; stronger than a context, but for --context."
        ),
        Entry(Variable.noColor, "When it is not empty, no colours are written."),
        Entry("XDG_CONFIG_HOME", "Where roost/contexts.json is, in place of ~/.config."),
        Entry("XDG_DATA_HOME", "Where an ordinary user's state is, in place of ~/.local/share."),
        Entry("XDG_RUNTIME_DIR", "Where an ordinary user's socket is, in roost/roost.sock."),
        Entry("HTTP_PROXY", "With --proxy it is set in the guest; so are its relatives."),
        Entry("TERM", "It is set for a command that gets a terminal."),
    ]

    /// The variables that `roostd` reads.
    static let daemonEnvironment: [Entry] = [
        Entry(Variable.stateDirectory, "Where everything is kept."),
        Entry("ROOST_STORE", "As --store; its URL may have a password."),
        Entry(
            "PGPASSFILE",
            "The password file, in place of ~/.pgpass; libpq reads its relatives too."
        ),
        Entry(Variable.socket, "The Unix socket to listen on."),
        Entry("ROOST_IDLE_EXIT", "As --idle-exit, for a daemon that a command starts."),
        Entry("ROOST_JOIN", "As --join, for a node; ps does not show it."),
        Entry("ROOST_CONTROL", "As --control, for a node."),
        Entry("ROOST_BOOT_SECONDS", "How long a guest may take to answer, 1 to 3600; 60."),
        Entry("ROOST_ACCEL", "auto, tcg or kvm: how QEMU runs guests; auto tries a tiny guest."),
        Entry(
            "ROOST_FAILPOINT",
            "For tests: NAME:ACTION[@N], several joined by commas. It breaks the daemon on purpose."
        ),
    ]

    private static func entry(_ status: Int32, _ meaning: String) -> Entry {
        Entry(String(status), meaning)
    }
}

/// Every page of `program`'s manual, whose section is 1 for commands and 8 for daemons. `date` is in
/// seconds since 1970; each page says to look at `others` too.
func manualPages(
    of program: CommandDescription,
    section: Int,
    date: Int64,
    product: String,
    others: [(name: String, section: Int)]
) -> [ManualPage] {
    let isDaemon = section == 8
    return program.all.map { command in
        let isRoot = command.words.count == 1
        let passesGuestCode =
            command.words.count == 2 && guestCodeCommands.contains(command.words[1])
        let exits =
            isDaemon
            ? Reference.daemonExitStatuses
            : passesGuestCode ? Reference.guestExitStatuses : Reference.exitStatuses
        let parent = command.words.dropLast().joined(separator: "-")
        let up = isRoot ? [] : parent == program.words[0] ? [parent] : [program.words[0], parent]
        return ManualPage(
            command: command,
            section: section,
            date: date,
            product: product,
            environment: isDaemon ? Reference.daemonEnvironment : Reference.environment,
            exitStatuses: exits,
            seeAlso: up.map { ($0, section) } + others
        )
    }
}
