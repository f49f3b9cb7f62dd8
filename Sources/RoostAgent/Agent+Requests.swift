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
                try RoostAgent.renewIdentity(request)
                // Without a new machine-id it stays the machine that it was, at an earlier time.
                return try renewHostKeys(unless: request.machineID == nil, for: operation)
            case .freeze: return try freezeTask()
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

    private func freezeTask() throws(SystemFailure) -> any StreamTask {
        let task = DeferredTask()
        try freezer.freeze(on: loop) { [unowned self] failure in
            sessions.hold(failure == nil)
            task.finish(failure.map { .failed($0.asGuestFailure) } ?? .done(bytes: 0))
        }
        return task
    }

    private func thaw() {
        freezer.thaw()
        sessions.hold(false)
    }

    /// The last part of a renewal: new host keys where there are any, and then everybody goes on.
    private func renewHostKeys(
        unless isSameMachine: Bool,
        for operation: OperationMark
    ) throws(SystemFailure) -> any StreamTask {
        let task = DeferredTask()
        let done = { [unowned self] (failure: SystemFailure?) in
            // One that is not renewed stays frozen: it is nobody yet.
            if failure == nil {
                sessions.orphanAll()
                thaw()
            }
            task.finish(failure.map { .failed($0.asGuestFailure) } ?? .done(bytes: 0))
            // The console is slow, and somebody waits for the answer.
            _ = loop.after(Self.afterAnswer) {
                guard failure == nil else { return }
                say(isSameMachine ? "back in time" : "renewed the identity", for: operation)
            }
        }
        if isSameMachine {
            done(nil)
        } else {
            try HostKeys().renew(
                whenEnded: { [unowned self] pid, action in whenEnded(pid, action) },
                done: done
            )
        }
        return task
    }

    /// In milliseconds.
    private static let afterAnswer: UInt64 = 5

    private func settleTask() throws(SystemFailure) -> any StreamTask {
        keepIdentityInMemory()
        try rehearseRenewal()
        let task = DeferredTask()
        let pid = try checkShim(roost_sync_child(), "fork", "sync")
        whenEnded(pid) { _ in task.finish(.done(bytes: 0)) }
        return task
    }
}
