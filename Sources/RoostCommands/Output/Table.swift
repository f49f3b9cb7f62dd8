/// Columns for people: as wide as their widest cell, two spaces apart, nothing behind the last.
struct Table {
    /// A cell, and the colour that a terminal may show it in.
    struct Cell {
        var text: String
        var color: Color?
    }

    enum Color: String {
        case red = "31"
        case green = "32"
        case yellow = "33"
        case dim = "2"
    }

    private let header: [String]
    private var rows: [[Cell]] = []

    init(_ header: String...) { self.header = header }
    init(_ header: [String]) { self.header = header }

    mutating func add(_ cells: [Cell]) { rows.append(cells) }
    mutating func add(_ texts: String...) { rows.append(texts.map { Cell(text: $0) }) }

    /// The table's text; its header alone when it has no rows.
    func text(colored: Bool) -> String {
        let lines = [header.map { Cell(text: $0) }] + rows.map { $0.map(\.safe) }
        let widths = header.indices.map { column in
            lines.map { $0[column].text.count }.max() ?? 0
        }
        return lines.map { cells in
            var line = ""
            for (column, cell) in cells.enumerated() {
                let isLast = column == cells.count - 1
                let pad = isLast ? 0 : widths[column] + 2 - cell.text.count
                var text = cell.text
                if colored, let color = cell.color {
                    text = "\u{1b}[\(color.rawValue)m\(text)\u{1b}[0m"
                }
                line += text + String(repeating: " ", count: pad)
            }
            while line.last == " " { line.removeLast() }
            return line + "\n"
        }.joined()
    }
}

extension Table.Cell {
    /// Without control characters: a name or reason never moves the cursor. `-` for nothing.
    fileprivate var safe: Table.Cell {
        var text = self.text
        text.unicodeScalars.removeAll { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }
        return Table.Cell(text: text.isEmpty ? "-" : text, color: color)
    }
}

/// Lines of `key: value`, the values under each other. Pairs without a value are left out.
func properties(_ pairs: [(String, String)]) -> String {
    let shown = pairs.filter { !$0.1.isEmpty }
    let width = shown.map { $0.0.count }.max() ?? 0
    return shown.map { key, value in
        "\(key):\(String(repeating: " ", count: width - key.count + 2))\(value)\n"
    }.joined()
}
