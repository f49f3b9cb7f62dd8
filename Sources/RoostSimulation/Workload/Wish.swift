import RoostControl
import RoostModel

/// What a client asks for.
enum Wish: Sendable, Hashable {
    case create(VMDraft)
    case power(PowerVerb, String, PowerOptions)
    case undelete(String, newName: String)
    case purge(String)
    case update(String, VMUpdate)
    case fork(String, ForkOrder)
    case checkpoint(String, message: String)
    case goBack(String, to: String)
    case forget(String, checkpoint: String)
    case dropTemplate(String)

    var method: String {
        switch self {
        case .create: "CreateVM"
        case .power(let verb, _, _): "\(verb.rawValue)"
        case .undelete: "UndeleteVM"
        case .purge: "PurgeVM"
        case .update: "UpdateVM"
        case .fork(_, let order): order.method
        case .checkpoint: "CreateCheckpoint"
        case .goBack: "RevertVM"
        case .forget: "DeleteCheckpoint"
        case .dropTemplate: "DeleteTemplate"
        }
    }

    var line: String {
        switch self {
        case .create(let draft):
            "create \(draft.name)\(draft.startOnCreate ? " started" : "")"
                + (draft.template.isEmpty ? "" : " from \(draft.template)")
        case .power(let verb, let name, let options):
            "\(verb.rawValue) \(name)\(options.force ? " by force" : "")"
                + (options.purge ? " for good" : "")
        case .undelete(let name, let newName): "undelete \(name) \(newName)"
        case .purge(let name): "purge \(name)"
        case .update(let name, _): "update \(name)"
        case .fork(let name, let order):
            "\(order.verb) \(order.checkpoint.isEmpty ? "" : "\(order.checkpoint) of ")\(name) as "
                + (order.names.isEmpty
                    ? "\(order.count ?? 1)" : order.names.joined(separator: " "))
        case .checkpoint(let name, let message): "checkpoint \(name) \(message)"
        case .goBack(let name, let checkpoint): "bring \(name) back to \(checkpoint)"
        case .forget(let name, let checkpoint): "forget \(checkpoint) of \(name)"
        case .dropTemplate(let name): "remove the template \(name)"
        }
    }
}

extension ForkOrder {
    fileprivate var method: String {
        switch kind {
        case .forks: "ForkVM"
        case .clones: "CloneVM"
        case .templates: "CreateTemplate"
        }
    }

    /// What is made of the VM, in words that differ.
    fileprivate var verb: String {
        switch kind {
        case .forks: "fork"
        case .clones(let isWhole): isWhole ? "clone all of" : "clone"
        case .templates: "make a template of"
        }
    }
}

/// What a client is answered with.
enum Response: Sendable {
    case vm(VMOutcome)
    case copies([VMOutcome])
    case checkpoint(Checkpoint)

    /// Whether two answers to one request say the same. A checkpoint's parent changes when that is
    /// removed.
    func isSame(as other: Response) -> Bool {
        switch (self, other) {
        case (.vm(let left), .vm(let right)): Self.isSame(left, right)
        case (.copies(let left), .copies(let right)):
            left.count == right.count && zip(left, right).allSatisfy(Self.isSame)
        case (.checkpoint(let left), .checkpoint(var right)):
            {
                right.parent = left.parent
                return left == right
            }()
        default: false
        }
    }

    private static func isSame(_ left: VMOutcome, _ right: VMOutcome) -> Bool {
        left.vm == right.vm && left.changed == right.changed
    }

    /// For the event log.
    var line: String {
        switch self {
        case .vm(let outcome):
            "\(outcome.vm.status.state.rawValue)\(outcome.changed ? "" : ", unchanged")"
        case .copies(let copies): "copies \(copies.map(\.vm.id.short))"
        case .checkpoint(let checkpoint): "checkpoint \(checkpoint.id.short)"
        }
    }
}

extension Result<Response, Fault> {
    /// For the event log.
    var line: String {
        switch self {
        case .success(let reply): reply.line
        case .failure(let fault): "\(fault)"
        }
    }
}
