internal import RoostModel

/// One side of `roost cp`.
enum CopyPlace: Equatable {
    /// A path on this host, as it was typed.
    case host(String)
    /// An absolute path in a VM.
    case guest(vm: String, path: String)
    /// A tar stream on standard input or output.
    case stream

    /// Reads `PATH`, `VM:/PATH` or `-`. A path with a slash before the colon is the host's, so
    /// `./a:b` names a file.
    init(_ text: String) throws(Fault) {
        if text == "-" {
            self = .stream
            return
        }
        guard let colon = text.firstIndex(of: ":"), !text[..<colon].contains("/"),
            colon != text.startIndex
        else {
            guard !text.isEmpty else { throw .invalid("path", "is empty") }
            self = .host(text)
            return
        }
        let path = String(text[text.index(after: colon)...])
        guard path.hasPrefix("/") else {
            let right = "\(text[..<colon]):/\(path)"
            throw .invalid(
                "path",
                "'\(shown(text))' needs an absolute path in the VM, such as \(shown(right))"
            )
        }
        self = .guest(vm: String(text[..<colon]), path: path)
    }
}

/// What a path's spelling says about a copy.
struct PathShape: Equatable {
    /// Without trailing slashes and without a trailing `/.`.
    var path: String
    /// The last part; `.` for the root directory.
    var name: String
    /// The directory that holds it.
    var parent: String
    /// It ended with `/`: it must be a directory.
    var mustBeDirectory: Bool
    /// It ended with `/.`: what is in it, and not it itself.
    var contentsOnly: Bool

    init(_ text: String) {
        var path = text[...]
        contentsOnly = path.hasSuffix("/.") || path == "."
        if path.hasSuffix("/.") { path.removeLast() }
        mustBeDirectory = path.hasSuffix("/")
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        self.path = String(path)
        let parts = path.split(separator: "/")
        name = parts.last.map(String.init) ?? "."
        let head = parts.dropLast().joined(separator: "/")
        parent = path.hasPrefix("/") ? "/\(head)" : (head.isEmpty ? "." : head)
        if name == ".." { contentsOnly = true }
    }
}
