internal import ArgumentParser
internal import Glibc
internal import RoostLinux
internal import RoostModel

/// `roost manual`: writes the manual's pages. For packaging, so no help shows it.
struct Manual: RoostCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write the manual's pages.",
        discussion: """
            They are made of what the parsers say, for this program and for the daemon. Their date is \
            SOURCE_DATE_EPOCH, or today.

            Examples:
              roostd --experimental-dump-help > roostd.json
              roost manual ./man --daemon roostd.json
            """,
        shouldDisplay: false
    )

    @Argument(help: "Where to write man1 and man8.", completion: .directory)
    var directory: String

    @Option(
        help: ArgumentHelp("What roostd says of itself.", valueName: "file"),
        completion: .file()
    )
    var daemon: String

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        var date = secondsNow()
        if let text = invocation.environment["SOURCE_DATE_EPOCH"], !text.isEmpty {
            guard let seconds = Int64(text), seconds >= 0, seconds < 1 << 37 else {
                throw Fault.invalid("SOURCE_DATE_EPOCH", "'\(shown(text))' is no time")
            }
            date = seconds
        }
        let pages = try Self.pages(daemon: try textFile(daemon), date: date)
        let root = absolutePath(directory)
        for page in pages {
            let path = "\(root)/\(page.path)"
            try makeDirectories(DurableFile.directory(of: path))
            try DurableFile.write(path, Array(page.text.utf8), mode: 0o644, sync: false)
        }
        invocation.remark("wrote \(pages.count) pages under \(root)")
        return ExitStatus.ok
    }

    /// The pages of both programs.
    static func pages(daemon: String, date: Int64) throws(Fault) -> [ManualPage] {
        let daemon = try CommandDescription(dump: daemon)
        let command = try CommandDescription(dump: Roost._dumpHelp())
        let (command1, daemon8) = (command.words[0], daemon.words[0])
        return manualPages(
            of: command,
            section: 1,
            date: date,
            product: "\(command1) \(Product.version)",
            others: [(daemon8, 8)]
        )
            + manualPages(
                of: daemon,
                section: 8,
                date: date,
                product: "\(daemon8) \(Product.version)",
                others: [(command1, 1)]
            )
    }
}
