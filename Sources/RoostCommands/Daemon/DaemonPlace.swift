internal import RoostModel

/// Where a daemon keeps its state and listens.
struct DaemonPlace: Sendable, Equatable {
    /// Absolute.
    var stateDirectory: String
    /// Absolute, under 104 bytes.
    var socket: String

    /// What the kernel's 108 bytes leave after some systems' own 104 and the final zero.
    static let socketLimit = 104

    /// The flags' place, else the environment's, else the user's: the state in
    /// `~/.local/share/roost` (root: `/var/lib/roost`), the socket in the user's runtime directory, or
    /// with the state for root, without a runtime directory, or when the state is elsewhere. `roostd`
    /// has the same rules.
    ///
    /// - Throws: ``RoostModel/Reason/socketPathTooLong``, or ``RoostModel/Reason/hostNotReady`` when
    ///   there is no home directory.
    init(
        socketFlag: String?,
        stateFlag: String?,
        environment: [String: String],
        isRoot: Bool,
        workingDirectory: String
    ) throws(Fault) {
        func absolute(_ path: String) -> String {
            path.hasPrefix("/") ? path : "\(workingDirectory)/\(path)"
        }
        func variable(_ name: String) -> String? {
            environment[name].flatMap { $0.isEmpty ? nil : $0 }
        }
        let chosenState = (stateFlag ?? variable(Variable.stateDirectory)).map(absolute)
        let home = variable("HOME").map { "\($0)/.local/share" }
        let usual = isRoot ? "/var/lib" : variable("XDG_DATA_HOME") ?? home
        guard let state = chosenState ?? usual.map({ "\($0)/roost" }), state.hasPrefix("/") else {
            throw Fault(.hostNotReady, "there is no home directory: set HOME or ROOST_STATE_DIR")
        }
        stateDirectory = state
        let isUsual = usual.map { "\($0)/roost" } == state
        if let chosen = socketFlag ?? variable(Variable.socket) {
            socket = absolute(chosen)
        } else if isUsual, !isRoot, let runtime = variable("XDG_RUNTIME_DIR"),
            runtime.hasPrefix("/")
        {
            socket = "\(runtime)/roost/roost.sock"
        } else {
            socket = "\(state)/roost.sock"
        }
        guard socket.utf8.count < Self.socketLimit else {
            throw Fault(
                .socketPathTooLong,
                "the socket path '\(shown(socket))' has \(socket.utf8.count) bytes"
            )
        }
    }

    /// The directory of the socket.
    var socketDirectory: String {
        socket.split(separator: "/").dropLast().reduce(into: "") { $0 += "/\($1)" }
    }

    /// Where a daemon that was started here writes what it has to say.
    var log: String { "\(stateDirectory)/roostd.log" }
}
