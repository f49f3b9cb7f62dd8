internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostLinux
internal import RoostModel
internal import SwiftProtobuf

/// `roost daemon`: the process behind all this.
struct DaemonGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "daemon",
        abstract: "Look after the daemon; VMs do not need it to go on.",
        discussion: """
            Examples:
              roost daemon status
              roost daemon restart
            """,
        subcommands: [
            DaemonStatus.self, DaemonStart.self, DaemonStop.self, DaemonRestart.self,
            DaemonLogs.self,
        ]
    )
}

extension RoostCommand {
    fileprivate func process(_ invocation: Invocation) throws(Fault) -> DaemonProcess {
        DaemonProcess(place: try target(invocation).ownPlace(), invocation: invocation)
    }

    /// Connects to a daemon that is there, whatever its version, and starts none.
    fileprivate func withRunningDaemon<Result: Sendable>(
        _ process: DaemonProcess,
        _ body: (Daemon) async throws -> Result
    ) async throws -> Result? {
        guard process.answers() else { return nil }
        return try await Daemon.connected(to: process.place, body)
    }

    /// Ends the daemon and waits until its process is gone. Returns whether there was one.
    fileprivate func end(_ process: DaemonProcess, force: Bool) async throws -> Bool {
        let deadline = ContinuousClock.now + .seconds(30)
        let options = CallOptions.limited(to: .seconds(30))
        let pid = try await withRunningDaemon(process) { daemon in
            let pid = try await daemon.about.getInfo(.init(), options: options).pid
            do {
                _ = try await daemon.about.shutdown(.with { $0.force = force }, options: options)
            } catch let error as RPCError where error.code == .unavailable {
                // A daemon that ends may take its answer along; whether it ends is seen below.
            }
            return pid
        }
        guard let pid else { return false }
        guard await process.waitUntilGone(pid: pid, until: deadline) else {
            throw Fault(.deadline, "roostd (pid \(pid)) did not end within 30 seconds")
        }
        return true
    }
}

struct DaemonStatus: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the daemon; starts none.",
        discussion: """
            The status is 6 when none answers.

            Examples:
              roost daemon status -o json
            """
    )

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let target = try target(invocation)
        guard target.endpoint.answers() else { throw target.unreachable() }
        let info = try await Daemon.connected(to: target.endpoint) { daemon in
            try await daemon.about.getInfo(.init())
        }
        try Printer(invocation, output.output).write(info)
        return ExitStatus.ok
    }
}

struct DaemonStart: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Start the daemon if none answers.",
        discussion: """
            Examples:
              roost daemon start
            """
    )

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let isNew = try await process(invocation).ensureRunning()
        invocation.remark(isNew ? "started roostd" : "roostd runs already")
        return ExitStatus.ok
    }
}

struct DaemonStop: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop",
        abstract: "End the daemon; VMs go on.",
        discussion: """
            Examples:
              roost daemon stop
              roost daemon stop --force
            """
    )

    @Flag(name: .shortAndLong, help: "Even while operations or sessions run.")
    var force = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let wasRunning = try await end(process(invocation), force: force)
        invocation.remark(wasRunning ? "stopped roostd" : "no daemon was running")
        return ExitStatus.ok
    }
}

struct DaemonRestart: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "restart",
        abstract: "End the daemon and start it again; VMs go on.",
        discussion: """
            Examples:
              roost daemon restart
            """
    )

    @Flag(name: .shortAndLong, help: "Even while operations or sessions run.")
    var force = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let process = try process(invocation)
        _ = try await end(process, force: force)
        _ = try await process.ensureRunning()
        invocation.remark("restarted roostd")
        return ExitStatus.ok
    }
}

struct DaemonLogs: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs",
        abstract: "Show what the daemon has to say; needs none to run.",
        discussion: """
            Examples:
              roost daemon logs --tail 50
            """
    )

    @Option(help: ArgumentHelp("Only the last lines.", valueName: "lines"))
    var tail: Int = 200

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let path = try target(invocation).ownPlace().log
        guard let bytes = try DurableFile.read(path, limit: 64 << 20) else {
            throw Fault(.pathNotFound, "there is no daemon log '\(shown(path))'")
        }
        var lines = LastLines(count: max(tail, 0))
        lines.append(bytes)
        try invocation.write(lines.bytes, to: invocation.output)
        return ExitStatus.ok
    }
}
