internal import RoostModel
internal import SwiftProtobuf

/// A daemon with a name.
struct Context: Sendable, Equatable {
    /// A DNS label.
    var name: String
    /// As it was given, checked by ``Endpoint/init(_:)`` when it is made and when it is used.
    var endpoint: String
}

/// The contexts of a user, as their file has them. No two have the same name.
struct Contexts: Sendable, Equatable {
    /// This host's own daemon, which needs no entry and cannot have one.
    static let localName = "default"
    /// Enough for anybody, and a bound on what is read.
    static let limit = 500

    /// In the order of their names.
    private(set) var all: [Context] = []
    /// The name of the one in use; `nil` for this host's own daemon.
    private(set) var used: String?

    init() {}

    /// The context of a name.
    ///
    /// - Throws: ``RoostModel/Reason/contextNotFound``.
    func named(_ name: String) throws(Fault) -> Context {
        guard let found = all.first(where: { $0.name == name }) else {
            throw Fault(.contextNotFound, "there is no context '\(shown(name))'")
        }
        return found
    }

    /// Adds a context.
    ///
    /// - Throws: ``RoostModel/Reason/contextExists``, and what is wrong with the name or endpoint.
    mutating func add(_ context: Context) throws(Fault) {
        if let problem = nameProblem(context.name) { throw .invalid("name", problem) }
        guard context.name != Self.localName else {
            throw .invalid("name", "'\(Self.localName)' is this host's own daemon")
        }
        _ = try Endpoint(context.endpoint)
        guard !all.contains(where: { $0.name == context.name }) else {
            throw Fault(
                .contextExists,
                "there is a context '\(context.name)' already",
                metadata: ["name": context.name]
            )
        }
        guard all.count < Self.limit else {
            throw Fault(.limitExceeded, "there are \(Self.limit) contexts already")
        }
        all.append(context)
        all.sort { $0.name < $1.name }
    }

    /// Makes `name` the one in use.
    mutating func use(_ name: String) throws(Fault) {
        used = name == Self.localName ? nil : try named(name).name
    }

    /// Takes a context away.
    ///
    /// - Throws: ``RoostModel/Reason/inUse`` for the one in use: the next command would speak with
    ///   another daemon unasked.
    mutating func remove(_ name: String) throws(Fault) {
        guard name != Self.localName else {
            throw .invalid("name", "'\(Self.localName)' is this host's own daemon")
        }
        _ = try named(name)
        guard used != name else {
            throw Fault(
                .inUse,
                "the context '\(name)' is the one in use",
                metadata: ["users": "roost context use \(Self.localName)"]
            )
        }
        all.removeAll { $0.name == name }
    }
}

// MARK: - The file's text

extension Contexts {
    /// Reads a file's text, and all of it: what is not understood would be lost with the next change.
    init(json: String) throws(Fault) {
        func refuse(_ why: String) -> Fault { Fault(.contextsUnreadable, why) }
        let document: Google_Protobuf_Struct
        do {
            document = try Google_Protobuf_Struct(jsonString: json)
        } catch {
            throw Fault(.contextsUnreadable, "is not a JSON object", cause: error)
        }
        let fields = document.fields
        guard fields["version"]?.numberValue == 1 else {
            throw refuse("has no version 1; a newer roost may have written it")
        }
        let unknown = fields.keys.filter { !["version", "used", "contexts"].contains($0) }.sorted()
        guard unknown.isEmpty else { throw refuse("has an unknown field '\(shown(unknown[0]))'") }
        for value in fields["contexts"]?.listValue.values ?? [] {
            let entry = value.structValue.fields
            guard entry.count == 2, case .stringValue(let name)? = entry["name"]?.kind,
                case .stringValue(let endpoint)? = entry["endpoint"]?.kind,
                nameProblem(name) == nil, name != Self.localName
            else { throw refuse("has a context that is not a name and an endpoint") }
            guard !all.contains(where: { $0.name == name }) else {
                throw refuse("has the context '\(name)' twice")
            }
            all.append(Context(name: name, endpoint: endpoint))
        }
        all.sort { $0.name < $1.name }
        switch fields["used"]?.kind {
        case nil: break
        case .stringValue(let name) where all.contains { $0.name == name }: used = name
        default: throw refuse("uses a context that it does not have")
        }
    }

    /// What ``init(json:)`` reads.
    func json() throws -> String {
        let document = Google_Protobuf_Struct.with { document in
            document.fields["version"] = 1
            if let used { document.fields["used"] = .init(stringValue: used) }
            let entries = all.map { context in
                Google_Protobuf_Value(
                    structValue: .init(fields: [
                        "name": .init(stringValue: context.name),
                        "endpoint": .init(stringValue: context.endpoint),
                    ])
                )
            }
            document.fields["contexts"] = .init(listValue: .with { $0.values = entries })
        }
        return indentedJSON(try document.orderedJSON()) + "\n"
    }
}
