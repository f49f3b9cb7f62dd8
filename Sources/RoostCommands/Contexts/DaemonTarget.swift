internal import Glibc
internal import RoostModel

/// The daemon that a command speaks with.
enum DaemonTarget: Sendable, Equatable {
    /// This host's own: started when it does not answer, replaced when it is older and idle.
    case local(DaemonPlace)
    /// Another one, which is somebody else's to start and to end.
    case context(name: String, Endpoint)

    var endpoint: Endpoint {
        switch self {
        case .local(let place): .unix(path: place.socket)
        case .context(_, let endpoint): endpoint
        }
    }
}

/// What names the daemon, the strongest first. The flags are stronger than the environment, and that
/// than `roost context use`; within the environment the place of a daemon is stronger than a context.
enum ContextChoice: Equatable {
    /// This host's own, and by what.
    case local(String)
    /// A context, and by what.
    case named(String, by: String)
    /// What the file says.
    case used

    init(
        contextFlag: String?,
        socketFlag: String?,
        stateFlag: String?,
        environment: [String: String]
    ) throws(Fault) {
        func has(_ name: String) -> Bool { environment[name].map { !$0.isEmpty } ?? false }
        let placeFlag = socketFlag != nil ? "--socket" : stateFlag != nil ? "--state-dir" : nil
        if let contextFlag {
            if let placeFlag {
                throw .invalid("--context", "and \(placeFlag) name two daemons; leave one out")
            }
            self = .named(contextFlag, by: "--context")
        } else if let placeFlag {
            self = .local(placeFlag)
        } else if has(Variable.socket) {
            self = .local(Variable.socket)
        } else if has(Variable.stateDirectory) {
            self = .local(Variable.stateDirectory)
        } else if let name = environment[Variable.context], !name.isEmpty {
            self = .named(name, by: Variable.context)
        } else {
            self = .used
        }
    }
}

/// Which context holds, and why.
struct EffectiveContext: Sendable, Equatable {
    /// `nil` for this host's own daemon.
    var context: Context?
    /// What says so, such as `--context`.
    var reason: String
}

/// The flags that say which daemon is meant.
struct DaemonFlags: Sendable, Equatable {
    var context: String?
    var socket: String?
    var stateDir: String?
    var project: String?
}

extension ConnectionOptions {
    /// Its part that says which daemon is meant.
    var flags: DaemonFlags {
        DaemonFlags(context: context, socket: socket, stateDir: stateDir, project: project)
    }
}

extension DaemonFlags {
    /// Which context holds for these flags.
    ///
    /// - Throws: ``RoostModel/Reason/contextNotFound``, ``RoostModel/Reason/contextsUnreadable``
    ///   when the file has a say, ``RoostModel/Reason/invalidFields``.
    func effectiveContext(_ environment: [String: String]) throws(Fault) -> EffectiveContext {
        let choice = try ContextChoice(
            contextFlag: context,
            socketFlag: socket,
            stateFlag: stateDir,
            environment: environment
        )
        let file = ContextFile(environment: environment)
        switch choice {
        case .local(let reason): return EffectiveContext(context: nil, reason: reason)
        case .named(Contexts.localName, let reason):
            return EffectiveContext(context: nil, reason: reason)
        case .named(let name, let reason):
            return EffectiveContext(context: try file.read().named(name), reason: reason)
        case .used:
            let contexts = try file.read()
            guard let name = contexts.used else {
                return EffectiveContext(context: nil, reason: "nothing else is in use")
            }
            return EffectiveContext(
                context: try contexts.named(name),
                reason: "roost context use"
            )
        }
    }

    /// The daemon that these flags mean.
    func target(_ environment: [String: String]) throws(Fault) -> DaemonTarget {
        let effective = try effectiveContext(environment)
        guard let context = effective.context else {
            return .local(
                try DaemonPlace(
                    socketFlag: socket,
                    stateFlag: stateDir,
                    environment: environment,
                    isRoot: geteuid() == 0,
                    workingDirectory: workingDirectory()
                )
            )
        }
        var endpoint = try Endpoint(context.endpoint)
        if case .fleet(let host, let port, _) = endpoint {
            let token = try TokenFile(environment: environment, context: context.name).read()
            endpoint = .fleet(host: host, port: port, token)
        }
        return .context(name: context.name, endpoint)
    }
}

extension DaemonTarget {
    /// The place of this host's own daemon, for a command that looks after its process.
    ///
    /// - Throws: ``RoostModel/Reason/unsupported`` in a context.
    func ownPlace() throws(Fault) -> DaemonPlace {
        switch self {
        case .local(let place): return place
        case .context(let name, let endpoint):
            throw Fault(
                .unsupported,
                "the daemon of the context '\(name)' (\(endpoint)) is looked after where it runs; "
                    + "for this host's own: --context \(Contexts.localName)"
            )
        }
    }

    /// The fault of a daemon that does not answer.
    func unreachable() -> Fault {
        switch self {
        case .local(let place):
            Fault(.daemonUnreachable, "no daemon listens on '\(place.socket)'")
        case .context(let name, let endpoint):
            Fault(
                .contextUnreachable,
                "no daemon answers at \(endpoint) of the context '\(name)'"
            )
        }
    }
}
