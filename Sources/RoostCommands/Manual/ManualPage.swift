internal import SwiftProtobuf

/// A page of the manual in mdoc(7), made of what the parser says of a command.
struct ManualPage {
    let command: CommandDescription
    /// 1 for commands, 8 for daemons.
    let section: Int
    /// Seconds since 1970.
    let date: Int64
    /// Such as `roost 0.1.0`.
    let product: String
    let environment: [Reference.Entry]
    let exitStatuses: [Reference.Entry]
    /// Pages to look at, with their sections, in the order of names.
    let seeAlso: [(name: String, section: Int)]

    /// `roost-image-ls` for `roost image ls`.
    var name: String { command.words.joined(separator: "-") }
    /// Under the root of a manual, such as `man1/roost-image-ls.1`.
    var path: String { "man\(section)/\(name).\(section)" }

    /// The page.
    var text: String {
        var page = Roff()
        page.macro("Dd \(dateText(date))")
        page.macro("Dt \(name.uppercased()) \(section)")
        page.macro("Os \"\(product)\"")
        page.heading("NAME")
        page.macro("Nm \(Roff.escaped(name))")
        let abstract =
            command.abstract.hasSuffix(".") ? command.abstract.dropLast() : command.abstract[...]
        page.macro("Nd \(Roff.escaped(String(abstract)))")
        synopsis(&page)
        description(&page)
        subcommands(&page)
        options(&page)
        table(&page, "ENVIRONMENT", environment, macro: "Ev")
        table(&page, "EXIT STATUS", exitStatuses, macro: "Li")
        if !examples.isEmpty {
            page.heading("EXAMPLES")
            page.literal(examples)
        }
        if !seeAlso.isEmpty {
            page.heading("SEE ALSO")
            for (index, other) in seeAlso.enumerated() {
                let comma = index + 1 < seeAlso.count ? " ," : ""
                page.macro("Xr \(Roff.escaped(other.name)) \(other.section)\(comma)")
            }
        }
        return page.text
    }

    private func synopsis(_ page: inout Roff) {
        page.heading("SYNOPSIS")
        page.macro("Nm \"\(Roff.escaped(command.words.joined(separator: " ")))\"")
        for argument in command.arguments {
            let rest = argument.isRepeating ? " ..." : ""
            let value = Roff.escaped(argument.valueName)
            switch argument.kind {
            case .flag: page.macro("Op \(flag(argument.names.last ?? ""))")
            case .option:
                let text = "\(flag(argument.names.last ?? "")) Ar \(value)\(rest)"
                page.macro(argument.isOptional ? "Op \(text)" : text)
            case .positional:
                let text =
                    argument.isAfterTerminator ? "Fl \\- Ar \(value)\(rest)" : "Ar \(value)\(rest)"
                page.macro(argument.isOptional ? "Op \(text)" : text)
            }
        }
        if !command.subcommands.isEmpty { page.macro("Ar subcommand") }
    }

    private func description(_ page: inout Roff) {
        page.heading("DESCRIPTION")
        page.prose(command.abstract)
        for block in blocks where !block.isLiteral {
            page.macro("Pp")
            page.prose(block.lines.joined(separator: " "))
        }
        if !command.aliases.isEmpty {
            page.macro("Pp")
            page.prose("It is also called \(command.aliases.joined(separator: ", ")).")
        }
    }

    private func subcommands(_ page: inout Roff) {
        guard !command.subcommands.isEmpty else { return }
        page.heading("SUBCOMMANDS")
        page.macro("Bl -tag -width Ds")
        for one in command.subcommands {
            page.macro("It Xr \(Roff.escaped(one.words.joined(separator: "-"))) \(section)")
            page.prose(one.abstract)
        }
        page.macro("El")
    }

    private func options(_ page: inout Roff) {
        guard !command.arguments.isEmpty else { return }
        page.heading("OPTIONS")
        var titles: [String] = []
        for argument in command.arguments where !titles.contains(argument.section) {
            titles.append(argument.section)
        }
        // The command's own first, as help has them last.
        for title in titles.sorted(by: { $0.isEmpty && !$1.isEmpty }) {
            if !title.isEmpty { page.macro("Ss \(Roff.escaped(title))") }
            page.macro("Bl -tag -width Ds")
            for argument in command.arguments where argument.section == title {
                item(argument, &page)
            }
            page.macro("El")
        }
    }

    private func item(_ argument: ArgumentDescription, _ page: inout Roff) {
        let value = argument.kind == .flag ? "" : " Ar \(Roff.escaped(argument.valueName))"
        let names = argument.names.map(flag).joined(separator: " , ")
        page.macro("It \(names.isEmpty ? String(value.dropFirst()) : names + value)")
        var text = argument.abstract
        if !argument.values.isEmpty {
            text += " One of: \(argument.values.joined(separator: ", "))."
        }
        if !argument.defaultValue.isEmpty, argument.kind != .flag {
            text += " By default \(argument.defaultValue)."
        }
        if argument.isRepeating, argument.kind == .option { text += " May be given repeatedly." }
        page.prose(text)
    }

    private func table(
        _ page: inout Roff,
        _ title: String,
        _ entries: [Reference.Entry],
        macro: String
    ) {
        guard !entries.isEmpty else { return }
        page.heading(title)
        page.macro("Bl -tag -width Ds")
        for entry in entries {
            page.macro("It \(macro) \(Roff.escaped(entry.name))")
            page.prose(entry.meaning)
        }
        page.macro("El")
    }

    private func flag(_ name: String) -> String {
        "Fl \(Roff.escaped(String(name.dropFirst())))"
    }

    /// The discussion's parts; the line `Examples:` belongs to none.
    private var blocks: [(isLiteral: Bool, lines: [String])] {
        var blocks: [(isLiteral: Bool, lines: [String])] = []
        var isOpen = false
        for line in command.discussion.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.isEmpty || line == "Examples:" {
                isOpen = false
                continue
            }
            let isLiteral = line.hasPrefix("  ")
            if !isOpen || blocks.last?.isLiteral != isLiteral {
                blocks.append((isLiteral, []))
            }
            isOpen = true
            blocks[blocks.count - 1].lines.append(String(isLiteral ? line.dropFirst(2) : line))
        }
        return blocks
    }

    /// What the discussion shows as it stands.
    private var examples: [String] { blocks.filter(\.isLiteral).flatMap(\.lines) }
}

/// The text of a page, line by line.
struct Roff {
    private(set) var text = ""

    /// A control line; its arguments are escaped by the caller.
    mutating func macro(_ line: String) { text += ".\(line)\n" }

    mutating func heading(_ title: String) { macro("Sh \(title)") }

    /// Running text, a line for each sentence as roff wants it.
    mutating func prose(_ sentences: String) {
        var line = ""
        for word in sentences.split(separator: " ") {
            line += line.isEmpty ? word : " \(word)"
            if word.count > 2, let last = word.last, ".!?:".contains(last) {
                sentence(line)
                line = ""
            }
        }
        if !line.isEmpty { sentence(line) }
    }

    private mutating func sentence(_ line: String) { text += Self.escapedLine(line) + "\n" }

    /// Lines that stand as they are.
    mutating func literal(_ lines: [String]) {
        macro("Bd -literal -offset indent")
        for line in lines { text += Self.escapedLine(line) + "\n" }
        macro("Ed")
    }

    /// `words` as roff takes them for themselves, in ASCII: a hyphen can be copied, and no two
    /// letters are taken for a macro.
    static func escaped(_ words: String) -> String {
        words.unicodeScalars.reduce(into: "") { text, scalar in
            switch scalar {
            case "\\": text += "\\e"
            case "-": text += "\\-"
            case "\"": text += "\\(dq"
            case "'": text += "\\(aq"
            case "`": text += "\\(ga"
            case "^": text += "\\(ha"
            case "~": text += "\\(ti"
            case _ where scalar.isASCII: text.unicodeScalars.append(scalar)
            default:
                let digits = String(scalar.value, radix: 16, uppercase: true)
                text += "\\[u\(String(repeating: "0", count: max(0, 4 - digits.count)))\(digits)]"
            }
        }
    }

    /// As ``escaped(_:)``, for a line of its own: a dot at its beginning is no macro.
    static func escapedLine(_ line: String) -> String {
        let text = escaped(line)
        return text.hasPrefix(".") ? "\\&" + text : text
    }
}

/// A day as mdoc writes it, such as `November 21, 2026` (UTC).
func dateText(_ seconds: Int64) -> String {
    let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September",
        "October", "November", "December",
    ]
    let numbers = timeText(.with { $0.seconds = seconds }).prefix { $0 != "T" }
        .split(separator: "-").compactMap { Int($0) }
    // A time that protobuf cannot write is none of ours.
    guard numbers.count == 3, let month = months.dropFirst(numbers[1] - 1).first else { return "" }
    return "\(month) \(numbers[2]), \(numbers[0])"
}
