internal import ArgumentParser
internal import RoostAPI
internal import RoostModel

/// `roost doctor`: whether this host can run VMs.
struct Doctor: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check whether this host can run VMs, and what would help.",
        discussion: """
            The status is 1 when a check fails, or when --leaks finds something.

            Examples:
              roost doctor
              roost doctor --leaks -o json
            """
    )

    @Flag(help: "Look for what belongs to no VM instead.")
    var leaks = false

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let printer = Printer(invocation, output.output)
        return try await withDaemon(invocation) { daemon in
            if leaks {
                let found = try await daemon.about.scanLeaks(.init()).leaks
                if found.isEmpty, printer.format == .table || printer.format == .wide {
                    try invocation.write("no leaks\n")
                } else {
                    try printer.write(found)
                }
                return found.isEmpty ? ExitStatus.ok : ExitStatus.failed
            }
            let found = try await daemon.about.runDoctor(.init()).findings
            try printer.write(found)
            if printer.format == .table || printer.format == .wide {
                for finding in found where !finding.fix.isEmpty && finding.verdict != .pass {
                    try invocation.write("fix for \(finding.id): \(finding.fix)\n")
                }
            }
            let fails = found.contains { $0.verdict != .pass && $0.verdict != .warn }
            return fails ? ExitStatus.failed : ExitStatus.ok
        }
    }
}

/// `roost version`: this program's, and the daemon's if one runs.
struct Version: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the versions of this program and of the daemon.",
        discussion: """
            Examples:
              roost version
            """
    )

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let endpoint = try target(invocation).endpoint
        var daemon = "not running"
        if endpoint.answers() {
            daemon = try await Daemon.connected(to: endpoint) { connection in
                try await connection.about.getInfo(.init()).version
            }
        }
        try invocation.write(properties([("roost", Product.version), ("roostd", daemon)]))
        return ExitStatus.ok
    }
}

/// `roost completion`: what a shell needs to complete our words.
struct Completion: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a shell's completion script.",
        discussion: """
            Examples:
              roost completion bash > /etc/bash_completion.d/roost
              roost completion zsh > "${fpath[1]}/_roost"
              roost completion fish > ~/.config/fish/completions/roost.fish
            """
    )

    /// The shells we can write for.
    enum Kind: String, ExpressibleByArgument, CaseIterable {
        case bash
        case zsh
        case fish
    }

    @Argument(help: "bash, zsh or fish.")
    var shell: Kind

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let kind: CompletionShell =
            switch shell {
            case .bash: .bash
            case .zsh: .zsh
            case .fish: .fish
            }
        try invocation.write(Roost.completionScript(for: kind) + "\n")
        return ExitStatus.ok
    }
}
