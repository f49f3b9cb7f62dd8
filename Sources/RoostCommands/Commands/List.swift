internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import SwiftProtobuf

/// `roost ls`: the VMs there are.
struct List: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List VMs.",
        discussion: """
            Examples:
              roost ls
              roost ls -l app=web -o wide
              roost ls -a -o json
              roost ls -q | xargs roost stop
            """,
        aliases: ["ps", "list"]
    )

    @Flag(name: .shortAndLong, help: "Removed ones in the trash too.")
    var all = false

    @Flag(help: "The VMs of every project.")
    var allProjects = false

    @Option(
        name: [.customShort("l"), .customLong("selector")],
        help: "Only those whose labels match, such as app=web,tier!=cache."
    )
    var selector: String?

    @Option(help: "Only those of this node.", completion: Candidates.nodes.completion)
    var node: String?

    @Flag(help: "Go on and show each change.")
    var watch = false

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard !watch || (!all && node == nil) else {
            throw ValidationError("--watch goes with -l and --all-projects only.")
        }
    }

    func run(in invocation: Invocation) async throws -> Int32 {
        let printer = Printer(invocation, output.output)
        let options = CallOptions.limited(to: try time.duration())
        return try await withDaemon(invocation) { daemon in
            if watch {
                let view = WatchView(invocation: invocation, format: printer.format)
                let request = Roost_Compute_V1_WatchVMsRequest.with {
                    $0.project = allProjects ? "-" : project
                    $0.selector = selector ?? ""
                }
                try await view.run(daemon, request, options)
                return ExitStatus.ok
            }
            let found = try await daemon.everyVM(
                .with {
                    $0.project = allProjects ? "-" : project
                    $0.selector = selector ?? ""
                    $0.node = node ?? ""
                    $0.showDeleted = all
                },
                options
            )
            try printer.write(found.sorted { ($0.name, $0.id) < ($1.name, $1.id) })
            return ExitStatus.ok
        }
    }
}

/// VMs as they change: on a terminal the whole table anew, else a line for each change.
struct WatchView: Sendable {
    let invocation: Invocation
    let format: OutputFormat

    /// Ends with an error or a broken output only.
    func run(
        _ daemon: Daemon,
        _ request: Roost_Compute_V1_WatchVMsRequest,
        _ options: CallOptions
    ) async throws {
        try await daemon.vms.watchVMs(request, options: options) { response in
            var vms: [String: Roost_Compute_V1_VM] = [:]
            var isComplete = false
            for try await change in response.messages {
                switch change.type {
                case .added, .modified: vms[change.vm.id] = change.vm
                case .deleted: vms[change.vm.id] = nil
                case .bookmark: isComplete = true
                case .unspecified, .UNRECOGNIZED: continue
                }
                if isRedrawing {
                    if isComplete { try redraw(Array(vms.values)) }
                } else if change.type != .bookmark {
                    try line(change)
                }
            }
        }
    }

    private var isRedrawing: Bool {
        invocation.isTerminal(invocation.output) && (format == .table || format == .wide)
    }

    private func redraw(_ vms: [Roost_Compute_V1_VM]) throws {
        let sorted = vms.sorted { ($0.name, $0.id) < ($1.name, $1.id) }
        let text = try Printer(invocation, format).text(sorted)
        try invocation.write("\u{1b}[H\u{1b}[2J" + text)
    }

    private func line(_ change: Roost_Compute_V1_WatchVMsResponse) throws {
        switch format {
        case .json: try invocation.write(try change.orderedJSON() + "\n")
        case .yaml: try invocation.write("---\n" + yamlText(json: change.orderedJSON()))
        case .name: try invocation.write(change.vm.name + "\n")
        case .table, .wide:
            let word = change.type == .deleted ? "GONE" : change.vm.status.state.word
            try invocation.write("\(change.vm.name)  \(word)  \(change.vm.status.reason)\n")
        }
    }
}

/// `roost get`: one VM.
struct Get: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a VM.",
        discussion: """
            Examples:
              roost get box
              roost get box -o yaml
              roost inspect box web
              roost get -l app=web -o json
              roost get --watch box
            """,
        aliases: ["inspect", "describe"]
    )

    @OptionGroup var targets: TargetOptions

    @Flag(help: "Go on and show each change of one VM.")
    var watch = false

    @OptionGroup var time: TimeoutOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard !watch || targets.vms.count == 1 else {
            throw ValidationError("--watch goes with one VM; roost ls --watch shows many.")
        }
    }

    func run(in invocation: Invocation) async throws -> Int32 {
        let printer = Printer(invocation, output.output)
        let options = CallOptions.limited(to: try time.duration())
        return try await withDaemon(invocation) { daemon in
            if watch {
                let view = WatchView(invocation: invocation, format: printer.format)
                let request = Roost_Compute_V1_WatchVMsRequest.with {
                    $0.project = project
                    $0.id = targets.vms.first ?? ""
                }
                try await view.run(daemon, request, options)
                return ExitStatus.ok
            }
            if let selector = targets.selector {
                let request = Roost_Compute_V1_ListVMsRequest.with {
                    $0.project = project
                    $0.selector = selector
                }
                let found = try await daemon.everyVM(request, options)
                try printer.write(found.sorted { ($0.name, $0.id) < ($1.name, $1.id) })
                return ExitStatus.ok
            }
            var found: [Roost_Compute_V1_VM] = []
            for vm in targets.vms {
                let request = Roost_Compute_V1_GetVMRequest.with {
                    $0.id = vm
                    $0.project = project
                }
                found.append(try await daemon.vms.getVM(request, options: options))
            }
            if found.count == 1 {
                for vm in found { try printer.write(vm) }
            } else {
                try printer.write(found)
            }
            return ExitStatus.ok
        }
    }
}
