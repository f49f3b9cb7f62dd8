/// A label selector: all of its terms must hold.
///
/// Written as Kubernetes writes the equality kind: `app=web,tier!=cache,debug,!old`.
package struct Selector: Hashable, Sendable {
    package enum Term: Hashable, Sendable {
        case equals(String, String)
        case differs(String, String)
        case present(String)
        case absent(String)
    }

    package var terms: [Term]

    /// The selector that matches everything.
    package static let all = Selector(terms: [])

    package init(terms: [Term]) { self.terms = terms }

    /// Reads a selector's text; at most 32 terms and 2,048 characters.
    ///
    /// - Throws: ``Reason/invalidFields`` naming `selector` and the term.
    package init(_ text: String) throws(Fault) {
        terms = []
        if text.isEmpty { return }
        guard text.utf8.count <= 2048 else { throw .invalid("selector", "is over 2048 characters") }
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        guard parts.count <= 32 else { throw .invalid("selector", "has over 32 terms") }
        for part in parts {
            let term = try Self.term(part.trimmingSpaces)
            terms.append(term)
        }
    }

    /// Whether `labels` satisfy every term.
    package func matches(_ labels: [String: String]) -> Bool {
        terms.allSatisfy { term in
            switch term {
            case .equals(let key, let value): labels[key] == value
            case .differs(let key, let value): labels[key] != value
            case .present(let key): labels[key] != nil
            case .absent(let key): labels[key] == nil
            }
        }
    }

    /// The text that reads as this selector.
    package var text: String {
        terms.map { term in
            switch term {
            case .equals(let key, let value): "\(key)=\(value)"
            case .differs(let key, let value): "\(key)!=\(value)"
            case .present(let key): key
            case .absent(let key): "!\(key)"
            }
        }.joined(separator: ",")
    }

    private static func term(_ text: Substring) throws(Fault) -> Term {
        let term: Term
        if let range = text.firstRange(of: "!=") {
            term = .differs(String(text[..<range.lowerBound]), String(text[range.upperBound...]))
        } else if let range = text.firstRange(of: "==") ?? text.firstRange(of: "=") {
            term = .equals(String(text[..<range.lowerBound]), String(text[range.upperBound...]))
        } else if text.first == "!" {
            term = .absent(String(text.dropFirst()))
        } else {
            term = .present(String(text))
        }
        let (key, value) =
            switch term {
            case .equals(let key, let value), .differs(let key, let value): (key, value)
            case .present(let key), .absent(let key): (key, "")
            }
        guard labelViolations([key: value], field: "selector").isEmpty else {
            throw .invalid("selector", "'\(shown(String(text)))' is not a term such as app=web")
        }
        return term
    }
}

extension Selector: Codable {
    package init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}

extension Substring {
    /// Without the spaces at both ends.
    fileprivate var trimmingSpaces: Substring {
        var rest = self
        while rest.first == " " { rest.removeFirst() }
        while rest.last == " " { rest.removeLast() }
        return rest
    }
}
