internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost start`: starts VMs.
struct Start: BulkCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start VMs, or resume paused ones.",
        discussion: """
            Examples:
              roost start box
              roost start -l app=web
            """
    )
    static let verb = "started"

    @OptionGroup var time: TimeoutOptions
    @OptionGroup var options: BulkOptions

    func limit() throws(Fault) -> Duration? { try time.duration() }

    func call(_ daemon: Daemon, _ call: OneCall) async throws -> Bulk.Change {
        try await daemon.vms.startVM(
            .with {
                $0.id = call.vm
                $0.project = call.project
                $0.validateOnly = call.isDryRun
            },
            metadata: call.metadata,
            options: call.options
        )
    }
}

/// `roost stop`: shuts guests down.
struct Stop: BulkCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shut VMs down; after the grace their process is ended.",
        discussion: """
            Examples:
              roost stop box
              roost stop -t 5s -l app=web
              roost stop -f box
            """
    )
    static let verb = "stopped"

    @Option(
        name: [.customShort("t"), .customLong("grace")],
        help: ArgumentHelp("How long the guest may take, such as 30s.", valueName: "duration")
    )
    var grace: String?

    @Flag(name: .shortAndLong, help: "At once, whatever runs on it.")
    var force = false

    @OptionGroup var time: TimeoutOptions
    @OptionGroup var options: BulkOptions

    func limit() throws(Fault) -> Duration? { try time.duration() }

    func call(_ daemon: Daemon, _ call: OneCall) async throws -> Bulk.Change {
        let seconds = try grace.map { text throws(Fault) in
            try duration(text, flag: "-t").wholeSeconds
        }
        return try await daemon.vms.stopVM(
            .with {
                $0.id = call.vm
                $0.project = call.project
                $0.validateOnly = call.isDryRun
                if let seconds { $0.timeoutSeconds = seconds }
                $0.force = force
            },
            metadata: call.metadata,
            options: call.options
        )
    }
}

/// `roost kill`: ends processes.
struct Kill: BulkCommand {
    static let configuration = CommandConfiguration(
        abstract: "End the process of VMs at once.",
        discussion: """
            Examples:
              roost kill box
            """
    )
    static let verb = "killed"

    @OptionGroup var time: TimeoutOptions
    @OptionGroup var options: BulkOptions

    func limit() throws(Fault) -> Duration? { try time.duration() }

    func call(_ daemon: Daemon, _ call: OneCall) async throws -> Bulk.Change {
        try await daemon.vms.killVM(
            .with {
                $0.id = call.vm
                $0.project = call.project
                $0.validateOnly = call.isDryRun
            },
            metadata: call.metadata,
            options: call.options
        )
    }
}

/// `roost restart`: stops and starts as one operation.
struct Restart: BulkCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop VMs and start them again.",
        discussion: """
            Examples:
              roost restart box
              roost restart -t 5s box
            """
    )
    static let verb = "restarted"

    @Option(
        name: [.customShort("t"), .customLong("grace")],
        help: ArgumentHelp("How long the guest may take, such as 30s.", valueName: "duration")
    )
    var grace: String?

    @OptionGroup var time: TimeoutOptions
    @OptionGroup var options: BulkOptions

    func limit() throws(Fault) -> Duration? { try time.duration() }

    func call(_ daemon: Daemon, _ call: OneCall) async throws -> Bulk.Change {
        let seconds = try grace.map { text throws(Fault) in
            try duration(text, flag: "-t").wholeSeconds
        }
        return try await daemon.vms.restartVM(
            .with {
                $0.id = call.vm
                $0.project = call.project
                $0.validateOnly = call.isDryRun
                if let seconds { $0.timeoutSeconds = seconds }
            },
            metadata: call.metadata,
            options: call.options
        )
    }
}

/// `roost reboot`: reboots guests.
struct Reboot: BulkCommand {
    static let configuration = CommandConfiguration(
        abstract: "Ask guests to reboot; their process stays.",
        discussion: """
            Examples:
              roost reboot box
            """
    )
    static let verb = "rebooted"

    @OptionGroup var time: TimeoutOptions
    @OptionGroup var options: BulkOptions

    func limit() throws(Fault) -> Duration? { try time.duration() }

    func call(_ daemon: Daemon, _ call: OneCall) async throws -> Bulk.Change {
        try await daemon.vms.rebootVM(
            .with {
                $0.id = call.vm
                $0.project = call.project
                $0.validateOnly = call.isDryRun
            },
            metadata: call.metadata,
            options: call.options
        )
    }
}

/// `roost pause`: freezes VMs.
struct Pause: BulkCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make the CPUs of VMs stand still.",
        discussion: """
            Examples:
              roost pause box
            """
    )
    static let verb = "paused"

    @OptionGroup var time: TimeoutOptions
    @OptionGroup var options: BulkOptions

    func limit() throws(Fault) -> Duration? { try time.duration() }

    func call(_ daemon: Daemon, _ call: OneCall) async throws -> Bulk.Change {
        try await daemon.vms.pauseVM(
            .with {
                $0.id = call.vm
                $0.project = call.project
                $0.validateOnly = call.isDryRun
            },
            metadata: call.metadata,
            options: call.options
        )
    }
}

/// `roost resume`: lets VMs go on.
struct Resume: BulkCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let paused VMs go on.",
        discussion: """
            Examples:
              roost resume box
            """,
        aliases: ["unpause"]
    )
    static let verb = "resumed"

    @OptionGroup var time: TimeoutOptions
    @OptionGroup var options: BulkOptions

    func limit() throws(Fault) -> Duration? { try time.duration() }

    func call(_ daemon: Daemon, _ call: OneCall) async throws -> Bulk.Change {
        try await daemon.vms.resumeVM(
            .with {
                $0.id = call.vm
                $0.project = call.project
                $0.validateOnly = call.isDryRun
            },
            metadata: call.metadata,
            options: call.options
        )
    }
}

/// `roost suspend`: writes VMs to disk and frees their memory.
struct Suspend: BulkCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write the memory of VMs to disk and free it; start brings their processes back.",
        discussion: """
            Examples:
              roost suspend box
              roost start box
            """
    )
    static let verb = "suspended"

    @OptionGroup var time: TimeoutOptions
    @OptionGroup var options: BulkOptions

    func limit() throws(Fault) -> Duration? { try time.duration() }

    func call(_ daemon: Daemon, _ call: OneCall) async throws -> Bulk.Change {
        try await daemon.vms.suspendVM(
            .with {
                $0.id = call.vm
                $0.project = call.project
                $0.validateOnly = call.isDryRun
            },
            metadata: call.metadata,
            options: call.options
        )
    }
}
