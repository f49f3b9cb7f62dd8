import Glibc
import Logging
import RoostGuestWire
import RoostModel

/// One JSON object a line on standard error; on a terminal, the same fields for people.
///
/// `{"time":"…","level":"info","message":"…","op_id":"…",…}`: metadata keys stand beside the fixed
/// ones. Written with one `write(2)` a line, so that lines of several threads never mix.
struct JSONLogHandler: LogHandler {
    var logLevel: Logger.Level = .info
    var metadata: Logger.Metadata = [:]
    /// The op id that the current task works for.
    var metadataProvider: Logger.MetadataProvider? = Logger.MetadataProvider {
        OperationScope.current.map { ["op_id": "\($0)"] } ?? [:]
    }
    private let label: String
    private let isTerminal: Bool

    init(label: String) {
        self.label = label
        isTerminal = isatty(STDERR_FILENO) == 1
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let known = metadata.merging(metadataProvider?.get() ?? [:]) { $1 }
        let fields = known.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        var line: String
        if isTerminal {
            line = "\(event.level.rawValue.uppercased()) \(event.message)"
            for (key, value) in fields { line += " \(key)=\(value)" }
        } else {
            line = "{\"time\":\"\(Self.now())\",\"level\":\"\(event.level.rawValue)\""
            line +=
                ",\"process\":\(jsonString(label)),\"message\":\(jsonString("\(event.message)"))"
            for (key, value) in fields { line += ",\(jsonString(key)):\(jsonString("\(value)"))" }
            line += "}"
        }
        line += "\n"
        var bytes = Array(line.utf8)
        _ = write(STDERR_FILENO, &bytes, bytes.count)
    }

    /// RFC 3339 with milliseconds, UTC.
    private static func now() -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        var parts = tm()
        gmtime_r(&time.tv_sec, &parts)
        var buffer = [CChar](repeating: 0, count: 32)
        let length = strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%S", &parts)
        let text = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let milliseconds = "\(time.tv_nsec / 1_000_000)"
        let padding = String(repeating: "0", count: 3 - milliseconds.utf8.count)
        return text + "." + padding + milliseconds + "Z"
    }
}
