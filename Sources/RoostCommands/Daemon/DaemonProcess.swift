internal import Glibc
internal import RoostLinux
internal import RoostModel

/// Starts `roostd` when none answers, and waits until one does.
///
/// ```text
///  connect? ──yes──▶ done
///     │ no
///     ▼
///  spawn roostd ──byte on ROOST_READY_FD──▶ done
///     │ it ended with 3 or 4: another one was first
///     ▼
///  connect again for half a second ──it answers──▶ done
///     │ that one was on its way out: spawn again (30 s in all)
/// ```
struct DaemonProcess: Sendable {
    let place: DaemonPlace
    let invocation: Invocation

    /// How long a daemon may take until it answers: on a busy host, with many guests to find again. One
    /// that ends before says so at once.
    static let patience = Duration.seconds(30)
    /// How long one that was first may take until it is looked for again whether it still is; longer
    /// each time.
    static let courtesy = Duration.milliseconds(500)
    /// What roostd exits with when another one holds its state directory or its socket.
    static let lostRace: [ProcessEnd] = [.exited(code: 3), .exited(code: 4)]

    /// Whether something listens on the socket.
    func answers() -> Bool { Endpoint.unix(path: place.socket).answers() }

    /// Makes sure that a daemon answers. May be called by many processes at once.
    ///
    /// - Returns: whether it had to be started.
    /// - Throws: ``RoostModel/Reason/daemonUnreachable`` with the daemon's last words.
    func ensureRunning() async throws(Fault) -> Bool {
        if answers() { return false }
        try refuseFleets()
        let deadline = ContinuousClock.now + Self.patience
        // Another user's files would be made readable by an open umask; 0700 as roostd has it.
        try makeDirectories(place.stateDirectory)
        try makeDirectories(place.socketDirectory)
        var courtesy = Self.courtesy
        while ContinuousClock.now < deadline {
            if try await start(until: deadline) { return true }
            let again = min(deadline, .now + courtesy)
            // Many that come at once must not keep the first one from its start.
            courtesy *= 2
            while ContinuousClock.now < again {
                if answers() { return false }
                _ = await Reactor.shared.sleep(until: .now + .milliseconds(20))
            }
        }
        throw unreachable("another roostd holds the state directory and does not answer", nil)
    }

    /// Starts a daemon.
    ///
    /// - Returns: whether it answers; `false` when another one was first, which may be one that is just
    ///   dying and will never answer.
    private func start(until deadline: ContinuousClock.Instant) async throws(Fault) -> Bool {
        let former = fileSize(place.log)
        let (ready, readyEnd) = try streamPair()
        let process = try spawn(readyEnd)
        readyEnd.close()
        let byte = (try? await ready.read(upTo: 1, until: deadline)) ?? []
        if !byte.isEmpty { return true }
        let end = await process.end(until: deadline)
        // A daemon that came by another way is as good.
        if end.map(Self.lostRace.contains) == true || answers() { return false }
        let why = end.map(words) ?? "it did not answer within \(Self.patience)"
        throw unreachable(why, lastWords(of: place.log, after: former))
    }

    /// Throws when the place is that of a control plane or a node: a daemon of this host's own must not
    /// take it over while that is down.
    private func refuseFleets() throws(Fault) {
        for folder in [place.stateDirectory, place.socketDirectory] {
            let path = "\(folder)/fleet"
            guard case .directory? = try? LocalKind(path) else { continue }
            let role = (try? LocalKind("\(path)/authority.key")) == nil ? "node" : "control"
            throw Fault(
                .daemonUnreachable,
                "the \(role == "node" ? "node" : "control plane") of '\(folder)' does not answer; "
                    + "start it as it was: roostd --role \(role) --state-dir \(folder)",
                metadata: ["path": folder]
            )
        }
    }

    /// Waits until nothing listens any more; `false` after `patience`.
    func waitUntilGone(pid: Int32, until deadline: ContinuousClock.Instant) async -> Bool {
        if let identity = ProcessIdentity(pid: pid), let process = PidDescriptor(identity) {
            return await process.end(until: deadline) != nil
        }
        while answers() {
            guard ContinuousClock.now < deadline else { return false }
            _ = await Reactor.shared.sleep(until: .now + .milliseconds(20))
        }
        return true
    }

    private func spawn(_ readyEnd: Descriptor) throws(Fault) -> PidDescriptor {
        guard let program = program() else {
            throw Fault(
                .daemonUnreachable,
                "nothing listens on '\(place.socket)' and roostd is neither beside roost nor in PATH"
            )
        }
        let flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW
        let number = open(place.log, flags, 0o600)
        guard number >= 0 else { throw systemFault("open", place.log, errno) }
        let log = Descriptor(number)
        return try ProcessSpawner.spawn(
            ProcessPlan(
                path: program,
                arguments: ["roostd"],
                environment: daemonEnvironment(invocation.environment, place),
                descriptors: [nil, log, log, readyEnd]
            )
        )
    }

    private func program() -> String? {
        if let directory = invocation.programDirectory,
            let path = ProcessSpawner.resolve("\(directory)/roostd", searchPath: "")
        {
            return path
        }
        let path = invocation.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
        return ProcessSpawner.resolve("roostd", searchPath: path)
    }

    private func unreachable(_ why: String, _ lastWords: String?) -> Fault {
        Fault(
            .daemonUnreachable,
            "roostd does not answer on '\(place.socket)': \(why)"
                + (lastWords.map { "; it said: \($0)" } ?? ""),
            metadata: ["path": place.log]
        )
    }

    private func words(_ end: ProcessEnd) -> String {
        switch end {
        case .exited(let code): "it ended with status \(code)"
        case .killed(let signal): "it was killed by signal \(signal)"
        case .unknown: "it ended"
        }
    }
}

/// What a daemon is started with: little, since it outlives whoever starts it.
func daemonEnvironment(_ environment: [String: String], _ place: DaemonPlace) -> [String] {
    let names: Set<String> = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "TZ"]
    var kept = environment.filter { name, _ in
        names.contains(name) || name.hasPrefix("XDG_") || name.hasPrefix("LC_")
            // PG…: where libpq finds a database's password.
            || name.hasPrefix("ROOST_") || name.hasPrefix("PG")
            || name.lowercased().hasSuffix("_proxy")
    }
    kept[Variable.stateDirectory] = place.stateDirectory
    kept[Variable.socket] = place.socket
    kept[Variable.readyDescriptor] = "3"
    return kept.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }
}
