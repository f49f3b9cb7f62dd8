import CRoostLinux
import Glibc
import RoostGuestWire

extension Agent {
    /// The task that serves a request.
    func task(
        for request: Request,
        on stream: UInt32,
        of operation: OperationMark
    ) -> any StreamTask {
        let consume: (Int) -> Void = { [weak self] in self?.consumed($0, on: stream) }
        if isStopping { return AnswerTask(GuestFailure(.failed, "the guest is shutting down")) }
        do throws(GuestFailure) {
            switch request {
            case .exec(let request): return sessions.exec(request, consume: consume)
            case .attach(let session, let from, let kill):
                return sessions.attach(session, from: from, killOnDetach: kill, consume: consume)
            case .listSessions:
                return AnswerTask(body: sessions.summaries.encoded(), [.done(bytes: 0)])
            case .signal(let session, let number):
                try sessions.signal(session, number)
                return AnswerTask([.done(bytes: 0)])
            case .readFile(let path): return try ReadFileTask(path)
            case .facts(let path):
                return AnswerTask([.file(try fileFacts(path)), .done(bytes: 0)])
            case .writeFile(let request): return try WriteFileTask(request)
            case .tarOut(let path, let contentsOnly):
                return try TarOutTask(path, contentsOnly: contentsOnly)
            case .tarIn(let path, let owners):
                return try TarInTask(path, keepsOwners: owners)
            case .stats: return AnswerTask(body: guestStats().encoded(), [.done(bytes: 0)])
            case .ports: return AnswerTask(body: listeningPorts().encoded(), [.done(bytes: 0)])
            case .setHostname, .setClock, .renewIdentity, .freeze, .thaw, .settle, .shutdown:
                return try changeMachine(request, for: operation)
            }
        } catch {
            return AnswerTask(error)
        }
    }

    private func changeMachine(
        _ request: Request,
        for operation: OperationMark
    ) throws(GuestFailure) -> any StreamTask {
        guard role.mayChangeMachine else {
            throw GuestFailure(.unsupported, "\(request.name): this agent does not own its machine")
        }
        do throws(SystemFailure) {
            switch request {
            case .setHostname(let name): try setHostname(name)
            case .setClock(let time):
                let lag = time.subtractingReportingOverflow(wallNanoseconds()).partialValue
                try setWallClock(time)
                say("set the clock by \(lag / 1_000_000) ms", for: operation)
            case .renewIdentity(let request):
                return try renew(request, for: operation)
            case .freeze: return try freezeTask(for: operation)
            case .thaw: thaw()
            case .settle: return try settleTask()
            case .shutdown(let reboot, let grace):
                // The answer goes out first: `shutDown` waits for the port to drain.
                shutDown(reboot: reboot, grace: UInt64(grace), for: operation)
            case .exec, .attach, .listSessions, .signal, .readFile, .facts, .writeFile,
                .tarOut, .tarIn, .stats, .ports:
                break
            }
        } catch {
            throw error.asGuestFailure
        }
        return AnswerTask([.done(bytes: 0)])
    }

    private func freezeTask(
        for operation: OperationMark
    ) throws(SystemFailure) -> any StreamTask {
        let task = DeferredTask()
        // The one of an earlier order first: with its end the ports are closed.
        life = nil
        life = role.mayChangeMachine ? VMMLife(of: operation) : nil
        try freezer.freeze(on: loop) { [unowned self] failure in
            sessions.hold(failure == nil)
            lastWord = failure == nil ? task : nil
            if failure != nil { life = nil }
            task.finish(failure.map { .failed($0.asGuestFailure) } ?? .done(bytes: 0))
        }
        return task
    }

    func thaw() {
        freezer.thaw()
        sessions.hold(false)
        lastWord = nil
        life = nil
    }

    /// A renewal: what is renewed at once, new host keys where there are any, the hooks; and then
    /// everybody goes on. Without a new machine-id it stays the machine that it was, at an earlier
    /// time, and has neither new keys nor hooks.
    private func renew(
        _ request: RenewRequest,
        for operation: OperationMark
    ) throws(SystemFailure) -> any StreamTask {
        // One whose host is gone, or asked again, is begun anew.
        hostKeys.abandon()
        hooks?.abandon()
        let former = hostname()
        try RoostAgent.renewIdentity(request)
        let task = DeferredTask()
        let isSameMachine = request.machineID == nil
        let done = { [unowned self] (failure: GuestFailure?) in
            hooks = nil
            // One that is not renewed stays frozen: it is nobody yet.
            if failure == nil { goOn(request) }
            task.finish(failure.map { .failed($0) } ?? .done(bytes: 0))
            // The console is slow, and somebody waits for the answer.
            _ = loop.after(Self.afterAnswer) {
                if let failure { return say(failure.text, for: operation) }
                say(isSameMachine ? "back in time" : "renewed the identity", for: operation)
            }
        }
        if isSameMachine {
            try writeGeneration(of: request)
            done(nil)
            return task
        }
        hostKeys.renew(
            whenEnded: { [unowned self] pid, action in whenEnded(pid, action) },
            done: { [unowned self] failure in
                if let failure { return done(failure.asGuestFailure) }
                do throws(SystemFailure) {
                    try writeGeneration(of: request)
                } catch {
                    return done(error.asGuestFailure)
                }
                runHooks(request, former: former, done)
            }
        )
        return task
    }

    private func writeGeneration(of request: RenewRequest) throws(SystemFailure) {
        if let fresh = request.generation { try generation?.write(hexadecimal(fresh)) }
    }

    /// Runs the image's hooks, to whom everything of the copy is new already but the processes.
    private func runHooks(
        _ request: RenewRequest,
        former: String,
        _ done: @escaping (GuestFailure?) -> Void
    ) {
        let fresh = ForkHooks(
            on: loop,
            environment: [
                "ROOST_OLD_ID=\(generation?.vm ?? "")", "ROOST_NEW_ID=\(hexadecimal(request.vm))",
                "ROOST_OLD_NAME=\(former)", "ROOST_NEW_NAME=\(hostname())",
                "ROOST_OLD_GENERATION=\(generation?.present ?? "")",
                "ROOST_NEW_GENERATION=\(hexadecimal(request.generation ?? []))",
            ],
            done: done
        )
        hooks = fresh
        fresh.run { [unowned self] pid, action in whenEnded(pid, action) }
    }

    /// The last part of a renewal: from here on it is the machine that it was told to be.
    private func goOn(_ request: RenewRequest) {
        if let fresh = request.generation {
            generation?.take(hexadecimal(fresh), vm: hexadecimal(request.vm))
        }
        // What ran on all the time, after a suspension, has its readers.
        if freezer.isHolding { sessions.orphanAll() }
        thaw()
    }

    /// In milliseconds.
    private static let afterAnswer: UInt64 = 5

    private func settleTask() throws(SystemFailure) -> any StreamTask {
        keepIdentityInMemory()
        try rehearseRenewal()
        let task = DeferredTask()
        let pid = try checkShim(roost_sync_child(), "fork", "sync")
        whenEnded(pid) { [unowned self] _ in standStill(task) }
        return task
    }

    /// The last part of settling: what the image runs by itself goes on in no copy before that is
    /// renewed. A kernel without a freezer has copies all the same.
    private func standStill(_ task: DeferredTask) {
        let end = { (failure: SystemFailure?) in
            if let failure { say("copies begin before they are renewed: \(failure.text)") }
            task.finish(.done(bytes: 0))
        }
        do throws(SystemFailure) {
            try freezer.freeze(on: loop, done: end)
        } catch {
            end(error)
        }
    }
}
