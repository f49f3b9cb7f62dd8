/// A kind of thing that commands write out.
protocol Printable {
    /// Its JSON in one line, the same for the same thing.
    func orderedJSON() throws -> String
    /// The columns of a table, and of a wide one.
    static func columns(wide: Bool) -> [String]
    /// Its cells under ``columns(wide:)``; `now` in seconds since 1970.
    func cells(wide: Bool, now: Int64) -> [Table.Cell]
    /// What a following command would call it.
    var plainName: String { get }
    /// It alone, as lines of `key: value`.
    func details(now: Int64) -> [(String, String)]
}

/// Writes things in the form that was asked for.
struct Printer {
    let invocation: Invocation
    let format: OutputFormat
    /// Seconds since 1970.
    let now: Int64

    init(_ invocation: Invocation, _ format: OutputFormat, now: Int64 = secondsNow()) {
        self.invocation = invocation
        self.format = invocation.isQuiet && format == .table ? .name : format
        self.now = now
    }

    /// Writes a list: one array in JSON and YAML, whatever its length.
    func write<Thing: Printable>(_ things: [Thing]) throws {
        try invocation.write(text(things))
    }

    /// Writes one thing.
    func write(_ thing: some Printable) throws {
        try invocation.write(text(thing))
    }

    /// What ``write(_:)-7v3ys`` writes.
    func text<Thing: Printable>(_ things: [Thing]) throws -> String {
        switch format {
        case .json: return try jsonText(things)
        case .yaml: return try yamlText(json: jsonText(things))
        case .name: return things.map { $0.plainName + "\n" }.joined()
        case .table, .wide:
            let isWide = format == .wide
            var table = Table(Thing.columns(wide: isWide))
            for thing in things { table.add(thing.cells(wide: isWide, now: now)) }
            return table.text(colored: invocation.hasColor)
        }
    }

    /// What ``write(_:)`` writes.
    func text(_ thing: some Printable) throws -> String {
        switch format {
        case .json: try jsonText(thing)
        case .yaml: try yamlText(json: jsonText(thing))
        case .name: thing.plainName + "\n"
        case .table, .wide: properties(thing.details(now: now))
        }
    }
}
