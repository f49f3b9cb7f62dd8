internal import Glibc
internal import RoostLinux
internal import RoostModel
internal import RoostTrust

/// What `roost access create` prints: a token, or that and where it is for in one.
///
/// ```text
///  https://TOKEN@HOST:PORT  |  TOKEN
/// ```
struct AccessText {
    let token: AccessToken
    /// `https://HOST:PORT`, where it says so.
    let endpoint: String?

    /// Reads the text.
    ///
    /// - Throws: as ``RoostTrust/AccessToken/init(_:)`` and ``Endpoint/init(_:)``.
    init(_ text: String) throws(Fault) {
        let start = "https://"
        guard text.hasPrefix(start) else {
            (token, endpoint) = (try AccessToken(text), nil)
            return
        }
        let rest = text.dropFirst(start.count)
        guard let at = rest.firstIndex(of: "@") else {
            throw Fault(.accessTokenInvalid, "there is no token in it: https://TOKEN@HOST:PORT")
        }
        token = try AccessToken(String(rest[..<at]))
        let address = start + String(rest[rest.index(after: at)...])
        _ = try Endpoint(address)
        endpoint = address
    }
}

/// The token of a context: a file of mode 0600 beside the contexts,
/// `${XDG_CONFIG_HOME:-~/.config}/roost/tokens/NAME`.
struct TokenFile: Sendable {
    /// Absolute; `nil` without a home directory.
    let path: String?
    let context: String

    static let byteLimit = 4096

    init(environment: [String: String], context: String) {
        path = ContextFile(environment: environment).path.map {
            "\(DurableFile.directory(of: $0))/tokens/\(context)"
        }
        self.context = context
    }

    /// The token.
    ///
    /// - Throws: ``RoostModel/Reason/unauthenticated`` without a file;
    ///   ``RoostModel/Reason/contextsUnreadable`` for one that others may read, or that holds no token.
    func read() throws(Fault) -> AccessToken {
        guard let path, let bytes = try DurableFile.read(path, limit: Self.byteLimit) else {
            throw Fault(
                .unauthenticated,
                "the context '\(context)' has no token in '\(path ?? "")': remove it and create it "
                    + "again with --access"
            )
        }
        var facts = stat()
        guard stat(path, &facts) == 0, facts.st_mode & 0o077 == 0 else {
            throw Fault(
                .contextsUnreadable,
                "'\(path)' may be read by others: chmod 600 it, and think about who has",
                metadata: ["path": path]
            )
        }
        do throws(Fault) {
            return try AccessToken(Self.line(bytes))
        } catch {
            throw Fault(
                .contextsUnreadable,
                "'\(path)' holds no access token: \(error.message)",
                metadata: ["path": path]
            )
        }
    }

    func write(_ token: AccessToken) throws(Fault) {
        guard let path else {
            throw Fault(.hostNotReady, "there is no home directory: set HOME or XDG_CONFIG_HOME")
        }
        try makeDirectories(DurableFile.directory(of: path))
        try DurableFile.write(path, Array("\(token.text.reveal())\n".utf8), mode: 0o600)
    }

    /// Fine when there is none.
    func remove() throws(Fault) {
        guard let path, unlink(path) != 0, errno != ENOENT else { return }
        throw systemFault("remove", path, errno)
    }

    /// What a person names for a token: a file, or standard input for `-`.
    static func text(of source: String, _ invocation: Invocation) async throws(Fault) -> String {
        if source != "-" {
            let path = source.hasPrefix("/") ? source : "\(workingDirectory())/\(source)"
            guard let bytes = try DurableFile.read(path, limit: byteLimit) else {
                throw .invalid("--access", "there is no file '\(shown(source))'")
            }
            return line(bytes)
        }
        let input = StandardInput(descriptor: invocation.input)
        var bytes: [UInt8] = []
        while true {
            let piece = try await input.read()
            if piece.isEmpty { return line(bytes) }
            bytes += piece
            guard bytes.count <= byteLimit else { throw .invalid("--access", "is over 4 KiB") }
        }
    }

    private static func line(_ bytes: [UInt8]) -> String {
        let isSpace: (Character) -> Bool = { $0.isWhitespace }
        let text = String(decoding: bytes, as: UTF8.self)
        return String(text.drop(while: isSpace).prefix { !isSpace($0) })
    }
}
