internal import FoundationEssentials
internal import SwiftProtobuf

/// Answers questions about proto/ from the committed descriptors.
struct Reflection: Sendable {
    /// Why there is no answer: a google.rpc.Code and a sentence.
    struct Refusal: Error, Equatable {
        var code: Int32
        var message: String
    }

    let schema: Schema
    /// Full names of the services that the server has.
    let services: [String]

    /// The file called `name` and all that it imports, each once, serialized.
    func file(named name: String) throws(Refusal) -> [Data] {
        guard let index = schema.files.firstIndex(where: { $0.name == name }) else {
            throw .notFound("there is no file '\(name)'")
        }
        return try files(from: index)
    }

    /// The file that declares `symbol` and all that it imports.
    func file(declaring symbol: String) throws(Refusal) -> [Data] {
        guard let index = schema.fileOfSymbol[symbol] else {
            throw .notFound("there is no symbol '\(symbol)'")
        }
        return try files(from: index)
    }

    private func files(from index: Int) throws(Refusal) -> [Data] {
        var wanted = [index]
        var seen: Set<Int> = [index]
        var position = 0
        while position < wanted.count {
            for name in schema.files[wanted[position]].dependency {
                guard let next = schema.files.firstIndex(where: { $0.name == name }),
                    seen.insert(next).inserted
                else { continue }
                wanted.append(next)
            }
            position += 1
        }
        do {
            return try wanted.map { try schema.files[$0].serializedBytes() }
        } catch {
            throw Refusal(code: 13, message: "the descriptors cannot be encoded")
        }
    }
}

extension Reflection.Refusal {
    static func notFound(_ message: String) -> Self { Self(code: 5, message: message) }
}
