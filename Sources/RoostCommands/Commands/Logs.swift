internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostLinux
internal import RoostModel
internal import SwiftProtobuf

/// `roost logs`: what a VM has written.
struct Logs: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what a VM has written, also after it has stopped.",
        discussion: """
            Without --source: what its detached commands wrote (app), or the console when they wrote \
            nothing. Logs are bounded: the oldest lines go.

              app      what commands wrote that outlive their client (run -d, exec -d)
              kernel   the messages of the guest's kernel
              agent    what Roost's agent in the guest did, as JSON lines with op ids
              console  the serial console
              vmm      QEMU's own messages

            Examples:
              roost logs box
              roost logs -f --tail 20 box
              roost logs --source kernel --timestamps box
            """
    )

    /// The logs of a VM.
    enum Source: String, ExpressibleByArgument, CaseIterable {
        case app
        case kernel
        case agent
        case console
        case vmm

        var message: Roost_Compute_V1_ReadLogRequest.Source {
            switch self {
            case .app: .app
            case .kernel: .kernel
            case .agent: .agent
            case .console: .console
            case .vmm: .vmm
            }
        }
    }

    @Argument(
        help: "The VM's name, id or unique id prefix.",
        completion: Candidates.vms.completion
    )
    var vm: String

    @Flag(name: .shortAndLong, help: "Wait for more.")
    var follow = false

    @Option(help: "Which log.")
    var source: Source?

    @Flag(name: .shortAndLong, help: "The time before each line (app, kernel, agent).")
    var timestamps = false

    @Option(help: ArgumentHelp("Only the last lines.", valueName: "lines"))
    var tail: Int?

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        if let tail, tail < 0 { throw ValidationError("--tail is a number of lines, 0 or more.") }
    }

    func run(in invocation: Invocation) async throws -> Int32 {
        try await withDaemon(invocation) { daemon in
            var request = Roost_Compute_V1_ReadLogRequest.with {
                $0.id = vm
                $0.project = project
                $0.source = source?.message ?? .unspecified
                $0.timestamps = timestamps
            }
            if let tail {
                let (lines, position) = try await last(tail, daemon, request)
                try invocation.write(lines, to: invocation.output)
                guard follow else { return ExitStatus.ok }
                request.offset = position.nextOffset
                if position.source != .unspecified { request.source = position.source }
            }
            request.follow = follow
            return try await daemon.guests.readLog(request) { response in
                for try await piece in response.messages {
                    try invocation.write(Array(piece.data), to: invocation.output)
                }
                return ExitStatus.ok
            }
        }
    }

    /// The last lines of what there is, and the piece that they end with.
    private func last(
        _ count: Int,
        _ daemon: Daemon,
        _ request: Roost_Compute_V1_ReadLogRequest
    ) async throws -> ([UInt8], Roost_Compute_V1_ReadLogResponse) {
        try await daemon.guests.readLog(request) { response in
            var lines = LastLines(count: count)
            var last = Roost_Compute_V1_ReadLogResponse()
            for try await piece in response.messages {
                lines.append(Array(piece.data))
                last = piece
            }
            return (lines.bytes, last)
        }
    }
}

/// Keeps the last lines of a stream, whatever its length.
struct LastLines {
    let count: Int
    /// The kept lines; the last one may have no end yet.
    private(set) var bytes: [UInt8] = []

    init(count: Int) { self.count = count }

    mutating func append(_ piece: [UInt8]) {
        bytes += piece
        var seen = 0
        var index = bytes.count
        // The newline that ends the last line begins no other.
        if bytes.last == 10 { index -= 1 }
        while index > 0 {
            if bytes[index - 1] == 10 {
                seen += 1
                if seen == count { break }
            }
            index -= 1
        }
        bytes.removeFirst(count == 0 ? bytes.count : index)
    }
}
