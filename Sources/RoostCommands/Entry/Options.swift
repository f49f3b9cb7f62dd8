internal import ArgumentParser
internal import RoostLinux
internal import RoostModel

/// Which daemon to talk to, and as whom. Every command has them.
struct ConnectionOptions: ParsableArguments {
    @Option(
        help: "The context to talk to (ROOST_CONTEXT); see roost context.",
        completion: Candidates.contexts.completion
    )
    var context: String?

    @Option(help: "The daemon's Unix socket (ROOST_SOCKET); stronger than a context in use.")
    var socket: String?

    @Option(
        help: "The daemon's state directory (ROOST_STATE_DIR); stronger than a context in use.",
        completion: .directory
    )
    var stateDir: String?

    @Option(help: "The project that names belong to.")
    var project: String?

    @Flag(help: "Write no colours (NO_COLOR).")
    var noColor = false

    @Flag(name: .shortAndLong, help: "Say less: names only, and nothing but errors.")
    var quiet = false
}

/// How long one call may take. Not for commands that have a time of their own.
struct TimeoutOptions: ParsableArguments {
    @Option(help: "Give up after this long, such as 30s or 5m.")
    var timeout: String?

    /// The duration; `nil` without one.
    func duration() throws(Fault) -> Duration? {
        guard let timeout else { return nil }
        return try RoostCommands.duration(timeout, flag: "--timeout")
    }
}

/// How to make a change.
struct ChangeOptions: ParsableArguments {
    @Option(help: "The operation's id; sending it again never does a thing twice.")
    var opID: String?

    @Flag(help: "Check everything and change nothing.")
    var dryRun = false

    /// The op id to send: the given one, or a new one.
    func operation() throws(Fault) -> OpTicket { try RoostCommands.operation(opID) }
}

/// The id of a change that cannot be tried out first.
struct OperationOptions: ParsableArguments {
    @Option(help: "The operation's id; sending it again never does a thing twice.")
    var opID: String?

    /// The op id to send: the given one, or a new one.
    func operation() throws(Fault) -> OpTicket { try RoostCommands.operation(opID) }
}

/// The op id that `text` is, or a new one.
func operation(_ text: String? = nil) throws(Fault) -> OpTicket {
    guard let text else {
        return OpTicket(
            Surroundings(
                clock: ContinuousClock(),
                wall: SystemWallClock(),
                entropy: EntropySource()
            ).operationID()
        )
    }
    guard let operation = OperationID(text) else {
        throw Fault(.opIDInvalid, "the op id '\(shown(text))' cannot be read")
    }
    return OpTicket(operation)
}

/// An op id as text.
///
/// Not ``RoostModel/OperationID``: with Swift 6.3 its UInt128, which is aligned to 16 bytes, breaks
/// the frame of an async closure or child task that captures it, and the process jumps to address 0.
struct OpTicket: Sendable, Equatable, CustomStringConvertible {
    /// `op-` and 26 characters.
    let description: String
    /// `op-` and the last six characters.
    var short: String { "op-" + description.suffix(6) }

    init(_ operation: OperationID) { description = operation.description }

    /// The op id of the part that concerns `target`.
    func child(_ target: String) -> OpTicket {
        OperationID(description).map { OpTicket($0.child(target)) } ?? self
    }
}

/// How to write what was found.
struct OutputOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "How to write it.")
    var output = OutputFormat.table
}

/// The forms of output. JSON and YAML are the API's messages and keep their field names.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case table
    case wide
    case json
    case yaml
    case name
}

/// Which VMs a bulk command is about.
struct TargetOptions: ParsableArguments {
    @Argument(
        help: ArgumentHelp("Names, ids or unique id prefixes.", valueName: "vm"),
        completion: Candidates.vms.completion
    )
    var vms: [String] = []

    @Option(
        name: [.customShort("l"), .customLong("selector")],
        help: "All whose labels match, such as app=web,tier!=cache."
    )
    var selector: String?

    func validate() throws {
        guard vms.isEmpty == (selector != nil) else {
            throw ValidationError("Name the VMs, or select them with -l; one of the two.")
        }
    }
}

/// A command of this program.
protocol RoostCommand: AsyncParsableCommand, Sendable {
    var connection: ConnectionOptions { get }

    /// Does it, and returns the status to exit with.
    func run(in invocation: Invocation) async throws -> Int32
}
