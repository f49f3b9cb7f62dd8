package import RoostGuestWire
package import RoostModel

extension GuestConnection {
    /// Runs a command, or attaches to the session that has the request's id.
    ///
    /// - Throws: `COMMAND_NOT_FOUND` with `exitCode` 127 or 126 in the metadata.
    package func exec(_ request: ExecRequest) async throws(Fault) -> GuestSession {
        guard request.session.count == 16, !request.arguments.isEmpty else {
            throw Fault(.invalidFields, "exec needs a session id of 16 bytes and a command")
        }
        try checkTexts(request.arguments + request.environment, limit: WireLimits.argument)
        try checkTexts([request.directory], limit: WireLimits.path)
        try checkTexts([request.user], limit: WireLimits.name)
        return try await GuestSession(.exec(request), on: self)
    }

    /// Attaches to a session; output comes from byte `from` on, or from the oldest that is kept.
    package func attach(
        _ session: [UInt8],
        from: UInt64,
        killOnDetach: Bool = false
    ) async throws(Fault) -> GuestSession {
        try await GuestSession(
            .attach(session: session, from: from, killOnDetach: killOnDetach),
            on: self
        )
    }

    /// The sessions that the agent knows.
    package func sessions() async throws(Fault) -> [SessionSummary] { try await ask(.listSessions) }
    /// The guest's load.
    package func stats() async throws(Fault) -> GuestStats { try await ask(.stats) }
    /// The ports that something in the guest listens on, sorted.
    package func ports() async throws(Fault) -> [ListeningPort] { try await ask(.ports) }

    /// Sends a signal to a session without attaching.
    package func signal(_ session: [UInt8], _ number: UInt8) async throws(Fault) {
        try await order(.signal(session: session, number: number))
    }

    /// Sets the host name.
    package func setHostname(_ name: String) async throws(Fault) {
        try checkTexts([name], limit: 64)
        try await order(.setHostname(name))
    }

    /// Sets the clock, to be done after the host slept.
    package func setClock(_ now: Timestamp) async throws(Fault) {
        try await order(.setClock(now.milliseconds &* 1_000_000))
    }

    /// Throws ``Reason/unsupported`` for an agent that is older than generations: it would renew a copy
    /// and run none of its hooks.
    func requireGenerations() async throws(Fault) {
        let hello = try await ready()
        guard hello.capabilities & Hello.Capability.generations != 0 else {
            throw Fault(
                .unsupported,
                "the agent in \(vm), \(sanitized(hello.software)), is older than this daemon and runs no "
                    + "hooks: restart the VM that it was copied from"
            )
        }
    }

    /// Makes everything in the guest but its agent stand still. From its answer on neither side says
    /// anything until ``letGo()``, to be called after a throw too: the guest may be kept, and go on elsewhere.
    ///
    /// - Throws: ``Reason/shapeDiffers`` for an agent that knows nothing of that; nothing was asked of it.
    package func hold() async throws(Fault) {
        let hello = try await ready()
        guard hello.capabilities & Hello.Capability.silence != 0 else {
            throw Fault(
                .shapeDiffers,
                "the agent of \(vm) is older than this node, and cannot be carried over; stop the VM and "
                    + "start it, once",
                metadata: ["vm": vm]
            )
        }
        let stream = try fallSilent(after: .freeze)
        var isDone = false
        // To its very end: what is on the way when the guest is kept is lost.
        while let item = try await stream.next() {
            switch item {
            case .message(.done): isDone = true
            case .message(.failed(let failure)):
                stream.release()
                throw fault(for: failure, from: vm)
            case .message, .data:
                stream.cancel()
                throw protocolFault(vm, "freeze was answered with nonsense")
            }
        }
        guard isDone else { throw protocolFault(vm, "freeze was not answered") }
    }

    /// Lets everything in the guest go on that ``hold()`` holds.
    package func letGo() async throws(Fault) {
        _ = try await answer(to: .thaw, on: try speak(.thaw))
    }

    /// Waits until the guest is ready to be copied.
    package func settle() async throws(Fault) { try await order(.settle) }

    /// Tells the guest to power off or reboot; returns once it has begun.
    package func shutdown(reboot: Bool, graceMilliseconds: UInt32) async throws(Fault) {
        try await order(.shutdown(reboot: reboot, graceMilliseconds: graceMilliseconds))
    }

    /// Opens a regular file of the guest.
    package func readFile(_ path: String) async throws(Fault) -> GuestReader {
        try await read(.readFile(path: path), path)
    }

    /// What a path of the guest leads to, also a directory.
    package func facts(_ path: String) async throws(Fault) -> FileFacts? {
        let reader = try await read(.facts(path: path), path)
        reader.cancel()
        return reader.facts
    }

    private func read(_ request: Request, _ path: String) async throws(Fault) -> GuestReader {
        try checkTexts([path], limit: WireLimits.path)
        let stream = try GuestStream(request, on: self)
        let item = try await stream.next()
        switch item {
        case .message(.file(let facts)): return GuestReader(stream, facts: facts)
        case .message(.failed(let failure)):
            stream.cancel()
            throw fault(for: failure, from: vm)
        case .message, .data, .none:
            stream.cancel()
            throw protocolFault(vm, "a file came without its facts")
        }
    }

    /// Writes one file of the guest; it appears whole when the writer finishes.
    package func writeFile(_ request: WriteFileRequest) throws(Fault) -> GuestWriter {
        try checkTexts([request.path], limit: WireLimits.path)
        return GuestWriter(try GuestStream(.writeFile(request), on: self))
    }

    /// A tar of a tree of the guest. Its entries are the guest's claims: check them.
    package func tarOut(_ path: String, contentsOnly: Bool) throws(Fault) -> GuestReader {
        try checkTexts([path], limit: WireLimits.path)
        let stream = try GuestStream(.tarOut(path: path, contentsOnly: contentsOnly), on: self)
        return GuestReader(stream, facts: nil)
    }

    /// Unpacks a tar below a directory of the guest.
    package func tarIn(_ path: String, ownersFromArchive: Bool) throws(Fault) -> GuestWriter {
        try checkTexts([path], limit: WireLimits.path)
        let request = Request.tarIn(path: path, ownersFromArchive: ownersFromArchive)
        return GuestWriter(try GuestStream(request, on: self))
    }

    private func order(_ request: Request) async throws(Fault) { _ = try await collect(request) }

    private func ask<Body: Answer>(_ request: Request) async throws(Fault) -> Body {
        let bytes = try await collect(request)
        do throws(WireError) {
            return try Body(decoding: bytes)
        } catch {
            throw fault(for: error, from: vm)
        }
    }

    /// Waits until `request` is done, which went with the greeting on `begun`, or else is sent now.
    func finish(_ request: Request, begun: GuestStream?) async throws(Fault) {
        if let begun {
            _ = try await answer(to: request, on: begun)
        } else {
            _ = try await collect(request)
        }
    }

    private func collect(_ request: Request) async throws(Fault) -> [UInt8] {
        try await answer(to: request, on: try GuestStream(request, on: self))
    }

    /// The bounded answer to `request`, which was sent on `stream`.
    private func answer(to request: Request, on stream: GuestStream) async throws(Fault) -> [UInt8]
    {
        let reader = GuestReader(stream, facts: nil)
        var all: [UInt8] = []
        while let bytes = try await reader.next() {
            all += bytes
            guard all.count <= WireLimits.answer else {
                stream.cancel()
                throw protocolFault(vm, "an answer to \(request.name) of over \(all.count) bytes")
            }
        }
        return all
    }

    private func checkTexts(_ texts: [String], limit: Int) throws(Fault) {
        for text in texts where text.utf8.count > limit || text.utf8.contains(0) {
            throw Fault(
                .limitExceeded,
                "a text of \(text.utf8.count) bytes for \(vm): over \(limit), or with a zero byte"
            )
        }
        guard texts.count <= WireLimits.arguments else {
            throw Fault(.limitExceeded, "\(texts.count) arguments for \(vm)")
        }
    }
}

/// The guest broke the protocol without sending a malformed frame.
func protocolFault(_ vm: String, _ text: String) -> Fault {
    Fault(.guestProtocol, "\(vm): \(text)")
}

/// Maps the guest's refusal to the catalogue. Its text is sanitised: it may hold anything.
func fault(for failure: GuestFailure, from vm: String) -> Fault {
    let text = sanitized(failure.text)
    return switch failure.kind {
    case .commandNotFound: Fault(.commandNotFound, text, metadata: ["exitCode": "127"])
    case .notExecutable: Fault(.commandNotFound, text, metadata: ["exitCode": "126"])
    case .pathNotFound: Fault(.pathNotFound, text)
    case .permissionDenied: Fault(.permissionDenied, text)
    case .diskFull: Fault(.diskFull, "the disk of \(vm) is full: \(text)", metadata: ["path": vm])
    case .sessionNotFound: Fault(.sessionNotFound, text)
    case .userNotFound: Fault.invalid("user", text)
    case .invalidRequest: Fault(.malformedRequest, text)
    case .archiveInvalid: Fault(.archiveInvalid, text)
    case .limitExceeded: Fault(.limitExceeded, text)
    case .unsupported: Fault(.unsupported, text)
    case .takenOver: Fault(.sessionTakenOver, text)
    case .hookFailed: Fault(.hookFailed, text, metadata: ["vm": vm])
    case .failed: Fault(.ioFailed, text)
    }
}

/// A guest's text without what a terminal would act upon: control characters become `?`, and so
/// do the marks that turn the direction of writing around.
func sanitized(_ text: String) -> String {
    var clean = String.UnicodeScalarView()
    for scalar in text.unicodeScalars.prefix(WireLimits.sentence) {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned:
            clean.append("?")
        default: clean.append(scalar)
        }
    }
    return String(clean)
}
