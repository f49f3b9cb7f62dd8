internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostLinux
internal import RoostModel
internal import SwiftProtobuf

/// `roost logs`: what a VM has written.
struct Logs: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a VM's console, also after it has stopped.",
        discussion: """
            Examples:
              roost logs box
              roost logs -f --tail 20 box
              roost logs --source vmm box
            """
    )

    /// The logs of a VM.
    enum Source: String, ExpressibleByArgument, CaseIterable {
        case console
        case vmm
    }

    @Argument(
        help: "The VM's name, id or unique id prefix.",
        completion: Candidates.vms.completion
    )
    var vm: String

    @Flag(name: .shortAndLong, help: "Wait for more.")
    var follow = false

    @Option(help: "Which log.")
    var source = Source.console

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
                $0.source = source == .vmm ? .vmm : .console
            }
            if let tail {
                let (lines, next) = try await last(tail, daemon, request)
                try invocation.write(lines, to: invocation.output)
                guard follow else { return ExitStatus.ok }
                request.offset = next
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

    /// The last lines of what there is, and the offset behind them.
    private func last(
        _ count: Int,
        _ daemon: Daemon,
        _ request: Roost_Compute_V1_ReadLogRequest
    ) async throws -> ([UInt8], UInt64) {
        try await daemon.guests.readLog(request) { response in
            var lines = LastLines(count: count)
            var next: UInt64 = 0
            for try await piece in response.messages {
                lines.append(Array(piece.data))
                next = piece.nextOffset
            }
            return (lines.bytes, next)
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
