internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// The file that a command is about.
struct FleetFileOptions: ParsableArguments {
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("The fleet file, YAML or JSON; - reads standard input."),
        completion: .file(extensions: ["yaml", "yml", "json"])
    )
    var file: String

    /// What it says, for `project` unless it names one.
    func state(
        project: String,
        _ invocation: Invocation
    ) async throws(Fault) -> Roost_Fleet_V1_FleetState {
        let bytes: [UInt8]
        if file == "-" {
            bytes = try await wholeInput(invocation)
        } else {
            guard case .file = try LocalKind(following: file) else {
                throw .invalid("--file", "'\(shown(file))' is a directory")
            }
            bytes = try LocalFile(reading: file).readWhole(limit: FleetFile.byteLimit)
        }
        var state = try await FleetFile.state(of: bytes, name: file == "-" ? "stdin" : file)
        if state.project.isEmpty { state.project = project }
        return state
    }

    private func wholeInput(_ invocation: Invocation) async throws(Fault) -> [UInt8] {
        let input = StandardInput(descriptor: invocation.input)
        var bytes: [UInt8] = []
        while bytes.count <= FleetFile.byteLimit {
            let piece = try await input.read()
            if piece.isEmpty { return bytes }
            bytes += piece
        }
        return bytes
    }
}

/// `roost plan`: what applying a fleet file would do.
struct Plan: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what applying a fleet file would do; nothing happens.",
        discussion: """
            The token at the end makes roost apply do just that, or nothing.

            Examples:
              roost plan -f fleet.yaml
              roost plan -f fleet.yaml -o json
            """
    )

    @OptionGroup var source: FleetFileOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let state = try await source.state(project: project, invocation)
        return try await withDaemon(invocation) { daemon in
            let plan = try await daemon.states.planState(.with { $0.state = state })
            switch output.output {
            case .json: try invocation.write(indentedJSON(try plan.orderedJSON()) + "\n")
            case .yaml: try invocation.write(try yamlText(json: plan.orderedJSON()))
            case .name: try invocation.write(plan.changes.map { $0.name + "\n" }.joined())
            case .table, .wide:
                let printer = Printer(invocation, output.output)
                if !plan.changes.isEmpty { try printer.write(plan.changes) }
                let count = "\(plan.settled) of \(plan.wanted) VMs are as the file says"
                try invocation.write("\(count); generation \(plan.generation)\n")
                try invocation.write("token \(plan.token)\n")
            }
            return ExitStatus.ok
        }
    }
}

/// `roost apply`: makes a fleet file what is kept.
struct Apply: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make VMs what a fleet file says, and keep them so.",
        discussion: """
            VMs are made, changed, started, stopped and removed until they are what the file says, now \
            and whenever they differ later: one that is stopped is started again. One that the file no \
            longer names goes to the trash. The status is 124 when the time is up, and 1 when somebody \
            has to see to something; it goes on all the same. To end a fleet apply it with 'groups: []'.

            A group's keys are the flags of roost run, and name, replicas, labels, annotations, \
            network (user or none) and power (running or stopped).

            Examples:
              roost apply -f fleet.yaml
              roost apply -f fleet.yaml --token 3-0123456789ab-0123456789abcdef
              roost apply -f fleet.yaml --no-wait
            """
    )

    @OptionGroup var source: FleetFileOptions

    @Option(help: "The plan's token: do what was planned, or nothing.")
    var token: String?

    @Option(
        help: "The number of this state, higher than the former one's; without it the next."
    )
    var generation: Int64?

    @Flag(name: .customLong("no-wait"), help: "Leave as soon as it is published.")
    var leaves = false

    @Option(help: "Leave after this long, such as 30s or 5m.")
    var timeout = "5m"

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let state = try await source.state(project: project, invocation)
        let deadline = ContinuousClock.now + (try duration(timeout, flag: "--timeout"))
        let operation = try change.operation()
        return try await withDaemon(invocation) { daemon in
            let request = Roost_Fleet_V1_PublishStateRequest.with {
                $0.state = state
                $0.generation = generation ?? 0
                $0.token = token ?? ""
                $0.validateOnly = change.dryRun
            }
            let answer = try await daemon.states.publishState(
                request,
                metadata: metadata(operation)
            )
            let did = answer.changed ? change.dryRun ? "would be" : "is" : "is already"
            let words = "\(state.name) \(did) generation \(answer.generation)"
            invocation.remark("\(operation.short)  \(words)")
            if change.dryRun { return ExitStatus.ok }
            let watch = FleetWatch(state.name, state.project, daemon, invocation)
            let (found, status) = try await watch.follow(until: leaves ? .now : deadline)
            if !invocation.isQuiet || output.output != .table {
                try Printer(invocation, output.output).write(found)
            }
            return leaves ? ExitStatus.ok : status
        }
    }
}

/// `roost status`: how far fleets are.
struct Status: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show fleets, and how far they are what their files say.",
        discussion: """
            Examples:
              roost status
              roost status shop
              roost status shop -o json
            """
    )

    @Argument(help: "A fleet; without one all of them.")
    var fleet: String?

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            let printer = Printer(invocation, output.output)
            if let fleet {
                let request = Roost_Fleet_V1_GetStateRequest.with {
                    $0.name = fleet
                    $0.project = project
                }
                try printer.write(try await daemon.states.getState(request))
            } else {
                let request = Roost_Fleet_V1_ListStatesRequest.with { $0.project = project }
                try printer.write(try await daemon.states.listStates(request).states)
            }
            return ExitStatus.ok
        }
    }
}
