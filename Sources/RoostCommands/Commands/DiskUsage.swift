internal import ArgumentParser
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// `roost df`: what VMs and what they are made of take.
struct DiskUsage: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "df",
        abstract: "Show what VMs, checkpoints, templates and images take.",
        discussion: """
            Counted are blocks on the disk and pages in memory files, not sizes. OWN is what its \
            removal frees; SHARED is what others, named under WITH, have too, and what stays until \
            the last of them goes. A VM counts with its checkpoints. A tree is VMs with files in \
            common, since one began as a copy of another. In the total each byte counts once, so that \
            its OWN is the sum of the others' but for checkpoints and trees. Pages that a copy has \
            written are its process's, and in no file.

            The status is 1 when a node did not answer.

            Examples:
              roost df
              roost df -o json
              roost df --node node2 -o wide
            """
    )

    @Option(
        help: "Only this node, by name, id or unique id prefix.",
        completion: Candidates.nodes.completion
    )
    var node: String?

    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let printer = Printer(invocation, output.output)
        return try await withDaemon(invocation) { daemon in
            let found = try await daemon.usage.getUsage(.with { $0.node = node ?? "" })
            try printer.write(found.items)
            if printer.format == .table || printer.format == .wide {
                for total in found.items where total.kind == .total {
                    try invocation.write(
                        "free on \(total.node): \(sizeText(bytes: total.diskFreeBytes)) of disk, "
                            + "\(sizeText(bytes: total.memoryFreeBytes)) for memory\n"
                    )
                }
            }
            for gap in found.gaps {
                invocation.talk("\(gap.node) did not answer: \(gap.problem)")
            }
            return found.gaps.isEmpty ? ExitStatus.ok : ExitStatus.failed
        }
    }
}
