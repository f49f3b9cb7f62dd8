internal import Glibc
internal import RoostDriver
internal import RoostLinux
internal import RoostModel

/// What one machine is saved with. Each call may be undone by removing the files it made.
struct Capture: Sendable {
    let machine: Machine
    /// Who reads what is written, while it is written, besides the file; it is told when that is all.
    var reader: StateReader? = nil
    /// Long enough for a machine whose every page is written out.
    private static let patience = Duration.seconds(120)

    private var folder: MachineFolder { machine.folder }

    /// A devices' file that was begun: it ends where this machine's own pages and devices follow.
    struct Draft: Sendable {
        fileprivate let target: StateTarget
        fileprivate let size: UInt64
        fileprivate let partHeader: [UInt8]
        fileprivate let partFooter: [UInt8]
        fileprivate let memory: PrivateMemory
    }

    /// Begins the new file `path` with what is known while the machine runs; `nil`: there is nothing
    /// like that, all of it is QEMU's to write, which is told how.
    func begin(_ path: String) async throws(Fault) -> Draft? {
        if let draft = try await draft(path) { return draft }
        try await machine.command("migrate-set-capabilities", ignoreSharedMemory)
        try await machine.command("migrate-set-parameters", ["max-bandwidth": .int(100 << 30)])
        return nil
    }

    private func draft(_ path: String) async throws(Fault) -> Draft? {
        guard machine.isPrivate, let base = folder.presentBase else { return nil }
        let (pid, former) = (machine.pid, folder.devicesBasePath)
        return try await onItsOwnThread { [folder, reader] () throws(Fault) in
            let memory: PrivateMemory
            do throws(Fault) {
                memory = try PrivateMemory(of: pid, mapping: base)
            } catch {
                // Then QEMU itself writes every page that is not zero: slower, and as right.
                folder.note("private pages cannot be told apart: \(error.message)")
                return nil
            }
            let stream = try MigrationStream(try bytes(of: former))
            let target = StateTarget(
                file: try PageFile.create(path),
                path: path,
                reader: reader
            )
            var writer = Writer(to: target)
            try writer.append(Array(stream.memory))
            try writer.flush()
            return Draft(
                target: target,
                size: writer.offset,
                partHeader: stream.partHeader,
                partFooter: stream.partFooter,
                memory: memory
            )
        }
    }

    /// Writes the devices of the machine, which stands still, to the file `path`, which `draft` may have
    /// begun; for one on private pages with those too, if `withPages`. Returns the pages that are private
    /// and not in it.
    func writeDevices(
        to path: String,
        after draft: Draft?,
        withPages: Bool
    ) async throws(Fault) -> PrivatePages? {
        guard let draft else {
            try await migrate(to: path)
            return nil
        }
        async let scratch = scratchDevices()
        let begun: Result<(PrivatePages, UInt64), Fault>
        do throws(Fault) {
            begun = .success(
                try await onItsOwnThread { () throws(Fault) in
                    let pages = try draft.memory.pages()
                    return (pages, try draft.append(withPages ? pages : nil))
                }
            )
        } catch {
            begun = .failure(error)
        }
        let devices = try await scratch.get()
        let (pages, size) = try begun.get()
        try await onItsOwnThread { () throws(Fault) in
            var writer = Writer(to: draft.target, offset: size)
            try writer.append(devices)
            try writer.flush()
            draft.target.end()
        }
        return withPages ? nil : pages
    }

    /// The devices alone, as QEMU writes them.
    private func scratchDevices() async -> Result<[UInt8], Fault> {
        let scratch = "\(folder.path)/\(MachineFolder.devicesScratch)"
        do throws(Fault) {
            try await machine.command(
                "xen-save-devices-state",
                ["filename": .string(MachineFolder.devicesScratch), "live": .bool(true)]
            )
            return .success(
                try await onItsOwnThread { () throws(Fault) in
                    defer { unlink(scratch) }
                    return try MigrationStream.devices(in: try bytes(of: scratch))
                }
            )
        } catch { return .failure(error) }
    }

    /// Lets QEMU write its state to `path`: without the memory when that is a shared file.
    private func migrate(to path: String) async throws(Fault) {
        let (folder, reader) = (folder, reader)
        let (listener, target) = try await onItsOwnThread { () throws(Fault) in
            (
                try UnixSocket.listen(in: folder.path, name: MachineFolder.migrationSocket),
                StateTarget(file: try PageFile.create(path), path: path, reader: reader)
            )
        }
        defer { unlink("\(folder.path)/\(MachineFolder.migrationSocket)") }
        let deadline = ContinuousClock.now + Self.patience
        let result: Result<Void, Fault>
        async let received: Result<Void, Fault> = receive(listener, into: target)
        do throws(Fault) {
            try await machine.command(
                "migrate",
                ["uri": .string("unix:\(MachineFolder.migrationSocket)")]
            )
            result = .success(())
        } catch {
            // Wakes the receiver: nobody will connect any more.
            shutdown(listener.number, Int32(SHUT_RDWR))
            result = .failure(error)
        }
        let came = await received
        try result.get()
        try came.get()
        while true {
            let answer = try await machine.command("query-migrate")
            switch answer["status"]?.text {
            case "completed": return
            case "failed", "cancelled":
                let words = answer["error-desc"]?.text ?? "no reason given"
                throw Fault(.vmmFailed, "QEMU could not save: \(shown(words))")
            default: break
            }
            guard await Reactor.shared.sleep(until: .now + .milliseconds(1)) == .timedOut,
                ContinuousClock.now < deadline
            else { throw Fault(.deadline, "QEMU did not save VM \(machine.id.short) in time") }
        }
    }

    private func receive(
        _ listener: Descriptor,
        into target: StateTarget
    ) async -> Result<Void, Fault> {
        let limit = Int32(Self.patience.components.seconds) * 1000
        let path = target.path
        do throws(Fault) {
            try await onItsOwnThread { () throws(Fault) in
                let stream = try accepted(listener, path, limit)
                let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
                defer { room.deallocate() }
                var offset: UInt64 = 0
                while true {
                    try awaitReadable(stream, path, limit)
                    let count = read(stream.number, room.baseAddress, room.count)
                    if count < 0, errno == EINTR { continue }
                    guard count >= 0 else { throw systemFault("read", path, errno) }
                    if count == 0 { return target.end() }
                    let piece = UnsafeRawBufferPointer(rebasing: room[..<count])
                    try target.write(piece, at: offset)
                    offset += UInt64(count)
                }
            }
            return .success(())
        } catch {
            return .failure(error)
        }
    }
}

/// The capability that leaves shared memory out of a saved state.
let ignoreSharedMemory: [String: QMPValue] = [
    "capabilities": .array([
        .object(["capability": .string("x-ignore-shared"), "state": .bool(true)])
    ])
]

private func accepted(
    _ listener: Descriptor,
    _ path: String,
    _ milliseconds: Int32
) throws(Fault) -> Descriptor {
    try awaitReadable(listener, path, milliseconds)
    let number = accept(listener.number, nil, nil)
    guard number >= 0 else { throw systemFault("accept for", path, errno) }
    return Descriptor(number)
}

private func awaitReadable(
    _ file: Descriptor,
    _ path: String,
    _ milliseconds: Int32
) throws(Fault) {
    var poller = pollfd(fd: file.number, events: Int16(POLLIN), revents: 0)
    while true {
        let count = poll(&poller, 1, milliseconds)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw Fault(.deadline, "QEMU wrote nothing for '\(path)' in time") }
        return
    }
}

/// A saved devices' file, whole. Blocks.
private func bytes(of path: String) throws(Fault) -> [UInt8] {
    guard let bytes = try DurableFile.read(path, limit: 1 << 30) else {
        throw systemFault("read", path, ENOENT)
    }
    return bytes
}

extension Capture.Draft {
    /// Appends the pages, if there are any; returns the file's size then. Blocks.
    fileprivate func append(_ pages: PrivatePages?) throws(Fault) -> UInt64 {
        guard let pages, !pages.offsets.isEmpty else { return size }
        var writer = Writer(to: target, offset: size)
        try writer.append(partHeader)
        var isFirst = true
        try pages.eachPage { offset, page throws(Fault) in
            try writer.append(MigrationStream.pageHeader(at: offset, isFirst: isFirst))
            try writer.append(page)
            isFirst = false
        }
        try writer.append(partFooter)
        try writer.flush()
        return writer.offset
    }
}

/// Appends to a saved state through a buffer.
private struct Writer {
    let target: StateTarget
    var offset: UInt64
    private var buffer: [UInt8] = []

    init(to target: StateTarget, offset: UInt64 = 0) {
        self.target = target
        self.offset = offset
    }

    mutating func append(_ bytes: [UInt8]) throws(Fault) {
        buffer += bytes
        if buffer.count > 1 << 18 { try flush() }
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) throws(Fault) {
        buffer.append(contentsOf: bytes)
        if buffer.count > 1 << 18 { try flush() }
    }

    mutating func flush() throws(Fault) {
        let (target, written) = (target, offset)
        let result: Result<Void, Fault> = buffer.withUnsafeBytes { bytes in
            Result { () throws(Fault) in try target.write(bytes, at: written) }
        }
        try result.get()
        offset += UInt64(buffer.count)
        buffer.removeAll(keepingCapacity: true)
    }
}
