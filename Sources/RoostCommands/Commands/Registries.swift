internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost pull`: an image from its registry.
struct Pull: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Fetch an image from its registry.",
        discussion: """
            Fetches nothing that is here already. A pull that was cut off goes on where it was. \
            Loopback registries are asked by plain http, all others by https.

            Examples:
              roost pull alpine
              roost pull registry.example.org/team/app:1.2
              roost pull localhost:5000/app
            """
    )

    @Argument(help: "[host[:port]/]name[:tag][@sha256:…], of docker.io where no host is named.")
    var image: String

    @Flag(help: "Ask by plain http.")
    var plainHttp = false

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let operation = try operation()
        let begun = ContinuousClock.now
        let request = Roost_Image_V1_PullImageRequest.with {
            $0.reference = image
            $0.plainHTTP = plainHttp
        }
        return try await withDaemon(invocation) { daemon in
            let found = try await pull(request, operation, daemon, invocation)
            let took = secondsText(ContinuousClock.now - begun)
            invocation.remark("\(operation.short)  pulled \(shown(image))  \(took)")
            try Printer(invocation, output.output == .table ? .name : output.output).write(found)
            return ExitStatus.ok
        }
    }
}

/// Pulls an image and says on a terminal how far it is.
func pull(
    _ request: Roost_Image_V1_PullImageRequest,
    _ operation: OpTicket,
    _ daemon: Daemon,
    _ invocation: Invocation
) async throws -> Roost_Image_V1_Image {
    try await daemon.images.pullImage(request, metadata: metadata(operation)) { response in
        var last: Roost_Image_V1_PullImageResponse?
        var shownTenths: Int64 = -1
        for try await report in response.messages {
            last = report
            guard report.totalBytes > 0, !report.hasImage else { continue }
            let tenths = report.doneBytes * 10 / report.totalBytes
            if tenths > shownTenths {
                shownTenths = tenths
                let (done, total) = (report.doneBytes, report.totalBytes)
                invocation.remark(
                    "\(operation.short)  \(sizeText(bytes: done)) of \(sizeText(bytes: total))"
                )
            }
        }
        guard let last, last.hasImage else {
            throw Fault(.daemonUnreachable, "the daemon ended the pull without an image")
        }
        return last.image
    }
}

/// `roost login`: who we are at a registry.
struct LogIn: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "login",
        abstract: "Log in to a registry.",
        discussion: """
            Remembered by the daemon in a file that only its owner can read, as clear text.

            Examples:
              roost login registry.example.org -u me --password-stdin < token
            """
    )

    @Argument(help: "host[:port]; without one docker.io.")
    var registry: String = ""

    @Option(name: [.customShort("u"), .customLong("username")], help: "The user.")
    var user: String

    @Flag(help: "Read the password or token from standard input. The only way to give it.")
    var passwordStdin = false

    @Flag(help: "Ask by plain http.")
    var plainHttp = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard passwordStdin else {
            throw ValidationError("Give the password on standard input, with --password-stdin.")
        }
    }

    func run(in invocation: Invocation) async throws -> Int32 {
        let operation = try operation()
        let password = try await password(invocation)
        return try await withDaemon(invocation) { daemon in
            let request = Roost_Image_V1_LogInRequest.with {
                $0.registry = registry
                $0.user = user
                $0.password = password.reveal()
                $0.plainHTTP = plainHttp
            }
            let answer = try await daemon.images.logIn(request, metadata: metadata(operation))
            invocation.remark("\(operation.short)  logged in to \(answer.registry)")
            return ExitStatus.ok
        }
    }

    /// All of standard input, without the line's end.
    private func password(_ invocation: Invocation) async throws(Fault) -> Secret {
        let input = StandardInput(descriptor: invocation.input)
        var bytes: [UInt8] = []
        while true {
            let piece = try await input.read()
            if piece.isEmpty { break }
            bytes += piece
            guard bytes.count <= 16 << 10 else { throw .invalid("password", "is over 16 KiB") }
        }
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        guard let text = String(validating: bytes, as: UTF8.self), !text.isEmpty else {
            throw .invalid("password", "on standard input is empty or not UTF-8")
        }
        return Secret(text)
    }
}

/// `roost logout`: the end of that.
struct LogOut: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "logout",
        abstract: "Forget who we are at a registry.",
        discussion: """
            Examples:
              roost logout registry.example.org
            """
    )

    @Argument(help: "host[:port]; without one docker.io.")
    var registry: String = ""

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let operation = try operation()
        return try await withDaemon(invocation) { daemon in
            let request = Roost_Image_V1_LogOutRequest.with { $0.registry = registry }
            let answer = try await daemon.images.logOut(request, metadata: metadata(operation))
            let what = answer.changed ? "logged out of" : "was not logged in to"
            invocation.remark(
                "\(operation.short)  \(what) \(registry.isEmpty ? "docker.io" : shown(registry))"
            )
            return ExitStatus.ok
        }
    }
}
