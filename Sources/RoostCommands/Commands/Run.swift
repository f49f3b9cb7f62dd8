internal import ArgumentParser
internal import GRPCCore
internal import Glibc
internal import RoostAPI
internal import RoostLinux
internal import RoostModel
internal import SwiftProtobuf

/// What a new VM shall be.
struct SpecOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "Virtual CPUs; 1, or the template's.")
    var cpus: Int32?

    @Option(
        name: .shortAndLong,
        help: "Memory in MiB, or with a unit, such as 2g; 512, or the template's."
    )
    var memory: String?

    @Option(help: ArgumentHelp("The root disk in GiB.", valueName: "size"))
    var disk: String?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Lead a host port into the guest.", valueName: "host:guest[/udp]")
    )
    var publish: [String] = []

    @Option(name: .shortAndLong, help: ArgumentHelp("Set a label.", valueName: "key=value"))
    var label: [String] = []

    @Option(
        help: ArgumentHelp("The kernel.", valueName: "ref"),
        completion: Candidates.kernels.completion
    )
    var kernel: String?

    @Option(
        help: ArgumentHelp(
            "When it ends unasked: never, on-failure or always, with a bound if wanted.",
            valueName: "policy[:n]"
        )
    )
    var restart: String?

    @Flag(name: .customLong("no-net"), help: "Without a network device.")
    var noNet = false

    /// The request that makes it and starts it, somewhere.
    func request(
        name: String,
        image: String,
        template: String = ""
    ) throws(Fault) -> Roost_Compute_V1_CreateVMRequest {
        var spec = Roost_Compute_V1_VMSpec()
        spec.template = template
        // What is not said is the template's.
        if let cpus = cpus ?? (template.isEmpty ? 1 : nil) { spec.cpu = .with { $0.cores = cpus } }
        if let memory = memory ?? (template.isEmpty ? "512" : nil) {
            let size = try memoryMebibytes(memory)
            spec.memory = .with { $0.sizeMib = size }
        }
        if let disk {
            let size = try diskGibibytes(disk)
            spec.disk = .with { $0.sizeGib = size }
        }
        spec.image = image
        spec.kernel = kernel ?? ""
        for text in publish { spec.ports.append(try publishedPort(text)) }
        if let restart { spec.restart = try restartPolicy(restart) }
        if noNet { spec.network = .with { $0.mode = .none } }
        let labels = try RoostCommands.labels(label)
        let spoken = spec
        return .with {
            $0.name = name
            $0.spec = spoken
            $0.labels = labels
            $0.startOnCreate = true
        }
    }
}

/// When an image is fetched from its registry.
enum PullPolicy: String, CaseIterable, ExpressibleByArgument {
    /// When there is none of that name here.
    case missing
    case never
    /// Each time; what is here already is not transferred again.
    case always
}

/// `roost run`: a VM, a command in it, and, unless it has a name, the VM's end.
struct Run: GuestCodeCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a command in a new VM.",
        discussion: """
            Without --name the VM is removed when the command ends. The status is the command's; \
            125 when it could not begin. An image that is not here is pulled from its registry; \
            its entrypoint, command, variables, directory and user count where nothing else is said.

            Examples:
              roost run -- make test
              echo hello | roost run -- wc -c
              roost run -it -- sh
              roost run alpine -- cat /etc/os-release
              roost run --template built -- make test
              roost run --name box -c 2 -m 512 -p 8080:80 -d
              roost run -d -l app=web --anti-affinity app=web --spread-over rack
            """
    )

    @Argument(
        help: "The image; without one the default.",
        completion: Candidates.images.completion
    )
    var image: String?

    @Option(
        name: .customLong("image"),
        help: ArgumentHelp("The image too.", valueName: "ref"),
        completion: Candidates.images.completion
    )
    var imageOption: String?

    @Option(
        help: ArgumentHelp("A template in the image's place: roost template ls.", valueName: "name")
    )
    var template: String?

    @Option(help: "When to pull the image.")
    var pull = PullPolicy.missing

    @Option(help: ArgumentHelp("Instead of the image's entrypoint.", valueName: "program"))
    var entrypoint: String?

    @Option(help: "Keep the VM under this name.")
    var name: String?

    @Flag(name: .shortAndLong, help: "Leave at once; the VM stays.")
    var detach = false

    @Flag(
        help:
            "Boot the kernel even where a copy of the image's template, or of the memory of the one that is named, could be had."
    )
    var noTemplate = false

    @OptionGroup(title: "VM") var spec: SpecOptions
    @OptionGroup(title: "Placement") var placement: PlacementOptions
    @OptionGroup(title: "Command") var guest: GuestCommandOptions
    @OptionGroup(title: "Change") var change: ChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    @Argument(parsing: .postTerminator, help: ArgumentHelp("The command.", valueName: "command"))
    var command: [String] = []

    func validate() throws {
        guard image == nil || imageOption == nil else {
            throw ValidationError("Name the image once: as the first word or with --image.")
        }
        guard template == nil || (image ?? imageOption) == nil else {
            throw ValidationError("Name an image or a --template, not both.")
        }
    }

    func run(in invocation: Invocation) async throws -> Int32 {
        let program = entrypoint.map { $0.isEmpty ? [] : [$0] } ?? []
        let words = program + command
        let isShell = words.isEmpty && !detach
        let isTerminal =
            invocation.isTerminal(invocation.input) && invocation.isTerminal(invocation.output)
        let wanted = image ?? imageOption ?? ""
        // A named image may have a command of its own; only the guest's node knows.
        guard !isShell || isTerminal || change.dryRun || !wanted.isEmpty && entrypoint == nil else {
            throw Fault.invalid("command", "is missing; write it after --, or use -d")
        }
        var generator = SystemRandomNumberGenerator()
        let name = name ?? generatedName(using: &generator)
        let operation = try change.operation()
        var request = try spec.request(name: name, image: wanted, template: template ?? "")
        request.project = project
        request.spec.disposable = isDisposable
        request.spec.coldBoot = noTemplate
        request.node = placement.node ?? ""
        let rules = try placement.rules()
        if rules != Roost_Fleet_V1_Placement() { request.spec.placement = rules }
        request.validateOnly = change.dryRun
        var command = try GuestCommand(
            vm: name,
            project: project,
            arguments: isShell && entrypoint != nil ? Shell.arguments : words,
            options: guest,
            wantsTerminal: isShell,
            operation: operation.child("exec"),
            in: invocation
        )
        command.isDetached = detach
        command.endsWithUs = isDisposable
        command.isImageCommand = entrypoint == nil && (isShell || !words.isEmpty)
        if isShell && isTerminal { command.fallback = Shell.arguments }
        let (guestCommand, plan) = (command, request)
        return try await withDaemon(invocation) { daemon in
            let life = RunLife(
                daemon: daemon,
                request: plan,
                command: guestCommand,
                pull: pull,
                operation: operation,
                isDisposable: isDisposable,
                invocation: invocation
            )
            return try await life.run()
        }
    }

    private var isDisposable: Bool { name == nil && !detach }
}

/// One `roost run` from its create to its end.
struct RunLife: Sendable {
    let daemon: Daemon
    let request: Roost_Compute_V1_CreateVMRequest
    var command: GuestCommand
    let pull: PullPolicy
    let operation: OpTicket
    let isDisposable: Bool
    let invocation: Invocation

    func run() async throws -> Int32 {
        let signals = invocation.catchesSignals ? try SignalRelay() : nil
        let begun = ContinuousClock.now
        let creation = Task { try await create() }
        signals?.handle { if $0 != SIGWINCH { creation.cancel() } }
        let vm: Roost_Compute_V1_VM
        do {
            vm = try await creation.value
        } catch {
            signals?.handle(with: nil)
            return try await abandon(after: error, wasCancelled: creation.isCancelled)
        }
        if request.validateOnly {
            try Printer(invocation, .yaml).write(vm)
            return ExitStatus.ok
        }
        if !isDisposable {
            let took = secondsText(ContinuousClock.now - begun)
            invocation.remark("\(operation.short)  started \(vm.name)  \(took)")
        }
        if command.isDetached { try invocation.write(vm.name + "\n") }
        guard command.isImageCommand || !command.arguments.isEmpty else { return ExitStatus.ok }
        var command = command
        // The id and not the name: a name may move to another VM meanwhile.
        command.vm = vm.id
        let session = GuestSession(
            daemon: daemon,
            command: command,
            invocation: invocation,
            signals: signals?.stream()
        )
        let outcome: Result<Int32, any Error>
        do {
            outcome = .success(try await session.run())
        } catch {
            outcome = .failure(error)
        }
        signals?.handle(with: nil)
        if isDisposable { await remove(vm.id) }
        return try outcome.get()
    }

    private func create() async throws -> Roost_Compute_V1_VM {
        var request = request
        let canPull = !request.spec.image.isEmpty && !request.validateOnly
        if canPull, pull == .always { request.spec.image = try await pullImage().digest }
        do {
            return try await daemon.vms.createVM(request, metadata: metadata(operation))
        } catch  where canPull && pull == .missing && reason(of: error) == .imageNotFound {
            _ = try await pullImage()
            // Nothing was accepted: the same request under the same op id is the first.
            return try await daemon.vms.createVM(request, metadata: metadata(operation))
        }
    }

    private func pullImage() async throws -> Roost_Image_V1_Image {
        try await RoostCommands.pull(
            .with { $0.reference = request.spec.image },
            operation.child("pull"),
            daemon,
            invocation
        )
    }

    /// Nothing is left of a run whose VM did not start; a name that was somebody else's stays.
    private func abandon(after error: any Error, wasCancelled: Bool) async throws -> Int32 {
        let code = reason(of: error).code
        let isOurs = code != .alreadyExists && code != .invalidArgument
        if isOurs && !request.validateOnly { await remove(request.name) }
        if wasCancelled { return ExitStatus.interrupted }
        throw error
    }

    /// Removes the VM at once. Says what is left if that cannot be done.
    private func remove(_ id: String) async {
        let request = Roost_Compute_V1_DeleteVMRequest.with {
            $0.id = id
            $0.project = self.request.project
            $0.force = true
            $0.purge = true
        }
        do {
            _ = try await daemon.vms.deleteVM(
                request,
                metadata: metadata(operation.child("delete")),
                options: .limited(to: .seconds(60))
            )
        } catch let error as RPCError where error.code == .notFound {
            // It was removed with its command, or never made.
            return
        } catch {
            let why = "\(ReceivedFault(reporting: error))"
            invocation.talk("warning: the VM '\(shown(id))' could not be removed: \(why)")
            invocation.talk("hint: roost rm -f --purge \(shown(id))")
        }
    }
}
