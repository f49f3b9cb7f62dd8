internal import RoostModel
internal import SwiftProtobuf

/// A command as its parser describes it (`--experimental-dump-help` of swift-argument-parser).
struct CommandDescription: Equatable {
    /// The words to type, such as `["roost", "image", "ls"]`.
    var words: [String]
    var aliases: [String] = []
    var abstract = ""
    /// Paragraphs, and lines indented by two that stand as they are.
    var discussion = ""
    /// Those that help shows, in the order of their declaration.
    var arguments: [ArgumentDescription] = []
    /// Those that help shows.
    var subcommands: [CommandDescription] = []

    /// This one and all beneath it.
    var all: [CommandDescription] { [self] + subcommands.flatMap(\.all) }
}

/// An argument, option or flag of a command.
struct ArgumentDescription: Equatable {
    enum Kind: String { case positional, option, flag }

    var kind: Kind
    /// With their hyphens; empty for a positional one.
    var names: [String] = []
    var valueName = ""
    /// The title of the group it belongs to; empty for the rest.
    var section = ""
    var abstract = ""
    var isOptional = true
    var isRepeating = false
    /// It is what stands behind `--`.
    var isAfterTerminator = false
    var defaultValue = ""
    var values: [String] = []
}

extension CommandDescription {
    /// Reads a dump.
    ///
    /// - Throws: ``RoostModel/Reason/malformedRequest`` for what is none.
    init(dump: String) throws(Fault) {
        let document: Google_Protobuf_Struct
        do {
            document = try Google_Protobuf_Struct(jsonString: dump)
        } catch {
            throw Fault(.malformedRequest, "the description is not JSON", cause: error)
        }
        let command = document.fields["command"]?.structValue
        guard document.fields["serializationVersion"]?.numberValue == 0, let command,
            command.fields["commandName"] != nil
        else {
            throw Fault(.malformedRequest, "the description is not of version 0")
        }
        self.init(command, under: [])
    }

    private init(_ command: Google_Protobuf_Struct, under words: [String]) {
        self.words = words + [command.text("commandName")]
        aliases = command.texts("aliases")
        abstract = command.text("abstract")
        discussion = command.text("discussion")
        arguments = command.shown("arguments").compactMap(ArgumentDescription.init)
        // `help` is the parser's own, and the same everywhere.
        subcommands = command.shown("subcommands")
            .filter { $0.text("commandName") != "help" }
            .map { CommandDescription($0, under: self.words) }
    }
}

extension ArgumentDescription {
    fileprivate init?(_ argument: Google_Protobuf_Struct) {
        guard let kind = Kind(rawValue: argument.text("kind")) else { return nil }
        self.kind = kind
        let names = argument.structures("names").map { name in
            (name.text("kind") == "long" ? "--" : "-") + name.text("name")
        }
        // Short before long, as help has it.
        self.names = names.filter { !$0.hasPrefix("--") } + names.filter { $0.hasPrefix("--") }
        valueName = argument.text("valueName")
        section = argument.text("sectionTitle")
        abstract = argument.text("abstract")
        isOptional = argument.flag("isOptional")
        isRepeating = argument.flag("isRepeating")
        isAfterTerminator =
            ["postTerminator", "allRemainingInput"].contains(argument.text("parsingStrategy"))
        defaultValue = argument.text("defaultValue")
        values = argument.texts("allValues")
    }
}

extension Google_Protobuf_Struct {
    fileprivate func text(_ name: String) -> String { fields[name]?.stringValue ?? "" }

    fileprivate func flag(_ name: String) -> Bool { fields[name]?.boolValue ?? false }

    fileprivate func texts(_ name: String) -> [String] {
        fields[name]?.listValue.values.map(\.stringValue) ?? []
    }

    fileprivate func structures(_ name: String) -> [Google_Protobuf_Struct] {
        fields[name]?.listValue.values.map(\.structValue) ?? []
    }

    /// Those that are not hidden.
    fileprivate func shown(_ name: String) -> [Google_Protobuf_Struct] {
        structures(name).filter { $0.fields["shouldDisplay"]?.boolValue ?? true }
    }
}
