internal import Glibc
internal import RoostLinux
internal import RoostModel

/// One run of this program: its surroundings, which a test may replace.
struct Invocation: Sendable {
    /// The environment.
    var environment: [String: String]
    /// Standard input, output and error.
    var input: Int32 = 0
    var output: Int32 = 1
    var errors: Int32 = 2
    /// Where `roostd` is looked for first; `nil`: in PATH only.
    var programDirectory: String?
    /// Catches signals while a guest's command runs; a test does not want that.
    var catchesSignals = false
    /// Says nothing on standard error but errors.
    var isQuiet = false
    /// Never writes colours.
    var isPlain = false

    /// Writes data to standard output.
    ///
    /// - Throws: ``BrokenOutput`` when nobody reads it any more.
    func write(_ text: String) throws {
        try write(Array(text.utf8), to: output)
    }

    /// Writes a line for people to standard error. What cannot be written is lost.
    func talk(_ line: String) {
        try? write(Array((line + "\n").utf8), to: errors)
    }

    /// As ``talk(_:)``, on a terminal only and unless it is quiet.
    func remark(_ line: String) {
        if !isQuiet && isTerminal(errors) { talk(line) }
    }

    /// Whether a descriptor is a terminal.
    func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

    /// Whether standard output shows colours.
    var hasColor: Bool {
        !isPlain && isTerminal(output) && (environment[Variable.noColor] ?? "").isEmpty
            && environment["TERM"] != "dumb"
    }

    /// Blocks while the reader is slow.
    func write(_ bytes: [UInt8], to descriptor: Int32) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.write(descriptor, buffer.baseAddress.map { $0 + sent }, bytes.count - sent)
            }
            if count >= 0 {
                sent += count
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&waiting, 1, -1)
            case EPIPE: throw BrokenOutput()
            default: throw systemFault("write to", "standard output", errno)
            }
        }
    }
}

/// Nobody reads our output any more, as in `roost ls | head -1`.
struct BrokenOutput: Error {}

extension Invocation {
    /// This process's own.
    static func current() -> Invocation {
        var environment: [String: String] = [:]
        for entry in processEnvironment() {
            let name = entry.prefix { $0 != "=" }
            environment[String(name)] = String(entry.dropFirst(name.count + 1))
        }
        return Invocation(
            environment: environment,
            programDirectory: programDirectory(),
            catchesSignals: true
        )
    }

    private static func programDirectory() -> String? {
        guard let path = realpath("/proc/self/exe", nil) else { return nil }
        defer { free(path) }
        return String(cString: path).split(separator: "/").dropLast().reduce(into: "") {
            $0 += "/\($1)"
        }
    }
}

/// The `NAME=value` entries of this process.
private func processEnvironment() -> [String] {
    guard let file = fopen("/proc/self/environ", "re") else { return [] }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    while true {
        let count = fread(&buffer, 1, buffer.count, file)
        if count == 0 { break }
        bytes += buffer[..<count]
    }
    return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
}

/// A whole text file of at most 1 MiB.
func textFile(_ path: String) throws(Fault) -> String {
    guard let bytes = try DurableFile.read(path, limit: 1 << 20) else {
        throw .invalid("file", "there is no file '\(shown(path))'")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
        throw .invalid("file", "'\(shown(path))' is not UTF-8 text")
    }
    return text
}
