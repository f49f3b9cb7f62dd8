import ArgumentParser
import RoostAPI
import RoostModel
import RoostTestKit
import SwiftProtobuf
import Testing

@testable import RoostCommands

@Suite struct OutputTests {
    static let plain = Invocation(environment: [:], output: -1, errors: -1)

    func text(_ format: OutputFormat) throws -> String {
        var box = FakeVMs.vm("box")
        box.spec.ports = [try publishedPort("8080:80")]
        box.labels = ["app": "web", "tier": "1"]
        box.status.addresses = ["10.0.2.15"]
        box.annotations = ["note": "yes: a \"quoted\" [text]\nof two lines", "n": "007"]
        let vms = [box, FakeVMs.vm("a-name-that-is-longer", .failed)]
        let printer = Printer(Self.plain, format, now: 1_700_003_700)
        return try printer.text(vms) + "\n" + printer.text(vms[0])
    }

    @Test(arguments: OutputFormat.allCases)
    func everyFormLooksAsItDid(format: OutputFormat) throws {
        #expect(try goldenDifference(text(format), named: "vms.\(format.rawValue).txt") == nil)
    }

    @Test func controlCharactersNeverReachTheTable() {
        var table = Table("A")
        table.add("x\u{1b}[2Jy\n")
        #expect(table.text(colored: false) == "A\nx[2Jy\n")
    }

    @Test func indentingKeepsEveryCharacterOfAString() {
        let json = #"{"a":"x, {\"y\": [1]}","b":[],"c":{},"d":[1,2]}"#
        let wanted = """
            {
              "a": "x, {\\"y\\": [1]}",
              "b": [],
              "c": {},
              "d": [
                1,
                2
              ]
            }
            """
        #expect(indentedJSON(json) == wanted)
        #expect(indentedJSON("[]") == "[]")
    }

    @Test(arguments: [
        (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (512 << 20, "512 MiB"),
        (3 << 30, "3 GiB"), (1 << 60, "1048576 TiB"),
    ])
    func sizesAreShort(bytes: Int, text: String) {
        #expect(sizeText(bytes: Int64(bytes)) == text)
    }

    @Test func helpOfEveryCommandLooksAsItDidAndHasAnExample() throws {
        var all = ""
        for path in commandPaths(Roost.self) {
            let help =
                path.command == Roost.self
                ? Roost.helpMessage(columns: 80)
                : Roost.helpMessage(for: path.command, columns: 80)
            all += "### \(path.words.joined(separator: " "))\n\n\(help)\n\n"
            let isLeaf = path.command.configuration.subcommands.isEmpty
            #expect(!isLeaf || help.contains("Examples:"), "\(path.words)")
        }
        #expect(try goldenDifference(all, named: "help.txt") == nil)
    }
}

private func commandPaths(
    _ command: any ParsableCommand.Type,
    _ words: [String] = []
) -> [(words: [String], command: any ParsableCommand.Type)] {
    let words = words + [command._commandName]
    return [(words, command)]
        + command.configuration.subcommands.flatMap { commandPaths($0, words) }
}
