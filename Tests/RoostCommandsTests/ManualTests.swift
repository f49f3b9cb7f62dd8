import ArgumentParser
import Foundation
import RoostModel
import RoostTestKit
import Testing

@testable import RoostCommands

@Suite struct ManualTests {
    /// As roostd's parser would say it.
    static let daemon = """
        {"serializationVersion": 0, "command": {"commandName": "roostd", "abstract": "Runs VMs.",
        "arguments": [{"kind": "option", "isOptional": true, "isRepeating": false,
        "names": [{"kind": "long", "name": "state-dir"}], "valueName": "dir", "shouldDisplay": true,
        "parsingStrategy": "default", "abstract": "Where everything is kept."}]}}
        """

    func pages() throws -> [ManualPage] {
        try Manual.pages(daemon: Self.daemon, date: 1_763_700_000)
    }

    @Test func everyCommandHasAPageThatNamesItsFlagsAndSubcommands() throws {
        let pages = Dictionary(uniqueKeysWithValues: try pages().map { ($0.path, $0.text) })
        let root = try CommandDescription(dump: Roost._dumpHelp())
        #expect(root.all.count > 30)
        for command in root.all {
            let text = try #require(pages["man1/\(command.words.joined(separator: "-")).1"])
            for name in command.arguments.flatMap(\.names) {
                let written = "Fl \(Roff.escaped(String(name.dropFirst())))"
                #expect(text.contains(written), "\(command.words) \(name)")
            }
            for one in command.subcommands {
                #expect(text.contains(Roff.escaped(one.words.joined(separator: "-"))))
            }
            #expect(text.contains(".Sh EXIT STATUS\n") && text.contains(".Sh ENVIRONMENT\n"))
            #expect(text.allSatisfy { $0.isASCII })
        }
        #expect(!pages.keys.contains("man1/roost-manual.1"))
        #expect(pages["man8/roostd.8"]?.contains("Fl \\-state\\-dir Ar dir") == true)
    }

    @Test func aPageLooksAsItDid() throws {
        let wait = try #require(try pages().first { $0.name == "roost-wait" })
        #expect(try goldenDifference(wait.text, named: "roost-wait.1") == nil)
    }

    @Test func theTableOfStatusesHasEveryOneThatAReasonMapsTo() {
        let known = Set(Reference.exitStatuses.map(\.name))
        for reason in Reason.allCases {
            #expect(known.contains(String(ExitStatus.of(reason))), "\(reason)")
        }
        let ofGuests = Set(Reference.guestExitStatuses.map(\.name))
        for reason in Reason.allCases {
            #expect(ofGuests.contains(String(ExitStatus.ofCommand(Fault(reason, "")))), "\(reason)")
        }
    }

    @Test func everyVariableThatTheSourcesReadIsInTheManual() throws {
        let sources = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Sources")
        let known = Set((Reference.environment + Reference.daemonEnvironment).map(\.name))
        // How roost hands roostd a descriptor: nobody sets it.
        let internals: Set<String> = ["ROOST_READY_FD"]
        var found: Set<String> = []
        for target in ["RoostCommands", "roostd"] {
            let folder = sources.appending(path: target)
            let walker = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
            while let url = walker?.nextObject() as? URL {
                guard url.pathExtension == "swift" else { continue }
                let text = try String(contentsOf: url, encoding: .utf8)
                for match in text.matches(of: /"(ROOST_[A-Z_]+)"/) { found.insert(String(match.1)) }
            }
        }
        #expect(found.count > 4)
        #expect(found.subtracting(internals).subtracting(known) == [])
    }

    @Test func roffTakesNothingForItself() {
        #expect(Roff.escaped(#"a\b "c" it's – x"#) == #"a\eb \(dqc\(dq it\(aqs \[u2013] x"#)
        #expect(Roff.escapedLine(".Sh") == "\\&.Sh")
        var page = Roff()
        page.prose("One sentence. 'Another' one: and more")
        #expect(page.text == "One sentence.\n\\(aqAnother\\(aq one:\nand more\n")
    }

    @Test(arguments: [
        (0, "January 1, 1970"), (951_782_400, "February 29, 2000"),
        (1_763_700_000, "November 21, 2025"),
    ])
    func daysAreWrittenAsMdocDoes(seconds: Int64, text: String) {
        #expect(dateText(seconds) == text)
    }

    @Test(arguments: ["", "[]", "{}", #"{"serializationVersion": 1, "command": {}}"#])
    func aDescriptionThatIsNoneIsRefused(text: String) {
        #expect(throws: Fault.self) { try CommandDescription(dump: text) }
    }
}
