internal import Glibc
internal import RoostLinux
internal import RoostModel

/// Where a user's contexts are kept: `${XDG_CONFIG_HOME:-~/.config}/roost/contexts.json`.
///
/// What cannot be read is named and left alone, whoever asks: nothing here ever writes over it.
struct ContextFile: Sendable {
    /// Absolute; `nil` without a home directory.
    let path: String?

    static let byteLimit = 1 << 20
    /// How long another change may take.
    static let patience = Duration.seconds(5)

    init(environment: [String: String]) {
        let configured = environment["XDG_CONFIG_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
        let home = environment["HOME"].flatMap { $0.hasPrefix("/") ? "\($0)/.config" : nil }
        path = (configured ?? home).map { "\($0)/roost/contexts.json" }
    }

    /// The contexts; none when there is no file.
    ///
    /// - Throws: ``RoostModel/Reason/contextsUnreadable``, naming the file.
    func read() throws(Fault) -> Contexts {
        guard let path else { return Contexts() }
        do throws(Fault) {
            guard let bytes = try DurableFile.read(path, limit: Self.byteLimit) else {
                return Contexts()
            }
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw Fault(.contextsUnreadable, "is not UTF-8 text")
            }
            return try Contexts(json: text)
        } catch {
            throw Fault(
                .contextsUnreadable,
                "the contexts file '\(path)' cannot be read: \(error.message)",
                metadata: ["path": path],
                cause: error.cause
            )
        }
    }

    /// Reads, changes and writes, one process at a time. After a throw the file is as it was.
    func change(_ body: (inout Contexts) throws(Fault) -> Void) async throws {
        guard let path else {
            throw Fault(.hostNotReady, "there is no home directory: set HOME or XDG_CONFIG_HOME")
        }
        let directory = DurableFile.directory(of: path)
        try makeDirectories(directory)
        let lock = try await locked(directory)
        defer { lock.close() }
        var contexts = try read()
        try body(&contexts)
        try DurableFile.write(path, Array(try contexts.json().utf8), mode: 0o600)
    }

    /// The directory, held until it is closed. No file of its own: nothing is left behind.
    private func locked(_ directory: String) async throws(Fault) -> Descriptor {
        let number = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw systemFault("open", directory, errno) }
        let descriptor = Descriptor(number)
        let deadline = ContinuousClock.now + Self.patience
        while flock(descriptor.number, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else {
                throw systemFault("lock", directory, errno)
            }
            guard ContinuousClock.now < deadline else {
                throw Fault(.storeConflict, "another roost holds '\(directory)'")
            }
            _ = await Reactor.shared.sleep(until: .now + .milliseconds(10))
        }
        return descriptor
    }
}

/// Makes `path` and what is missing above it, for this user only.
func makeDirectories(_ path: String) throws(Fault) {
    var built = ""
    for part in path.split(separator: "/") {
        built += "/\(part)"
        if mkdir(built, 0o700) != 0, errno != EEXIST, errno != EISDIR {
            // A directory of somebody else's on the way is fine when it is there.
            guard access(built, F_OK) == 0 else { throw systemFault("make", built, errno) }
        }
    }
}
