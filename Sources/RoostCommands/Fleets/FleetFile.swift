internal import ArgumentParser
internal import RoostAPI
internal import RoostModel
internal import Yams

/// A fleet file: what VMs shall be there, in YAML or JSON.
///
///     fleet: shop
///     groups:
///       - name: web
///         replicas: 3
///         image: debian
///         memory: 256
///         labels: {app: web}
///         anti-affinity: app=web
///
/// A group's keys are what `roost run` calls its flags. What is wrong is told with its line and
/// column, all of it at once.
struct FleetFile {
    static let byteLimit = 1 << 20

    private let name: String
    private var violations: [FieldViolation] = []

    private init(name: String) { self.name = name }

    /// Reads the file called `name`.
    ///
    /// - Throws: ``RoostModel/Reason/invalidFields``, each field `NAME:LINE:COLUMN`.
    static func state(
        of bytes: [UInt8],
        name: String
    ) async throws(Fault) -> Roost_Fleet_V1_FleetState {
        guard bytes.count <= byteLimit else {
            throw .invalid(name, "has more than \(byteLimit >> 20) MiB")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .invalid(name, "is not UTF-8 text")
        }
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            throw unreadable(error, name)
        }
        var file = FleetFile(name: name)
        guard let root else { throw .invalid("\(name):1:1", "the file is empty") }
        let state = await file.state(root)
        guard file.violations.isEmpty else { throw .invalid(file.violations) }
        return state
    }

    private static func unreadable(_ error: any Error, _ name: String) -> Fault {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return .invalid("\(name):\(mark)", problem)
        case .duplicatedKeysInMapping(let keys, let context):
            let twice = keys.map { "'\(shown($0))'" }.joined(separator: ", ")
            return .invalid("\(name):\(context.mark)", "twice in one mapping: \(twice)")
        default: return .invalid(name, "is no YAML: \(shown("\(error)"))")
        }
    }

    // MARK: The whole

    private mutating func state(_ root: Node) async -> Roost_Fleet_V1_FleetState {
        var state = Roost_Fleet_V1_FleetState()
        var seen: Set<String> = []
        for (key, value) in pairs(root, "a fleet file is a mapping") {
            seen.insert(key.word)
            switch key.word {
            case "fleet": state.name = text(value) ?? ""
            case "project": state.project = text(value) ?? ""
            case "groups": state.groups = await groups(value)
            default: unknown(key, ["fleet", "project", "groups"])
            }
        }
        for needed in ["fleet", "groups"] where !seen.contains(needed) {
            complain(root, "'\(needed)' is missing")
        }
        return state
    }

    private mutating func groups(_ node: Node) async -> [Roost_Fleet_V1_FleetGroup] {
        guard case .sequence(let nodes) = node else {
            complain(node, "'groups' is a list; [] for none")
            return []
        }
        var names: Set<String> = []
        var groups: [Roost_Fleet_V1_FleetGroup] = []
        for node in nodes {
            let group = await self.group(node)
            if !group.name.isEmpty, !names.insert(group.name).inserted {
                complain(node, "the group '\(shown(group.name))' is there twice")
            }
            groups.append(group)
        }
        return groups
    }

    // MARK: A group

    /// What has keys of its own here; the others are flags of `roost run`.
    private static let ownKeys = [
        "name", "replicas", "image", "labels", "annotations", "power", "network",
    ]
    private static let flags = [
        "cpus", "memory", "disk", "kernel", "publish", "restart", "node", "not-node", "prefer-node",
        "require-label", "affinity", "anti-affinity", "spread-over", "toleration",
    ]
    /// Those of them that may be there once.
    private static let single: Set = ["cpus", "memory", "disk", "kernel", "restart", "node"]

    private typealias PowerWish = Roost_Fleet_V1_FleetGroup.Power

    private mutating func group(_ node: Node) async -> Roost_Fleet_V1_FleetGroup {
        var group = Roost_Fleet_V1_FleetGroup()
        var (words, image) = ([String](), "")
        for (key, value) in pairs(node, "a group is a mapping") {
            switch key.word {
            case "name": group.name = text(value) ?? ""
            case "replicas": replicas(value).map { group.replicas = $0 }
            case "image": image = text(value) ?? ""
            case "labels": group.labels = map(value)
            case "annotations": group.annotations = map(value)
            case "power":
                let power = chosen(value, ["running": PowerWish.running, "stopped": .stopped])
                group.power = power ?? .unspecified
            case "network":
                if chosen(value, ["user": false, "none": true]) ?? false {
                    words.append("--no-net")
                }
            case let flag where Self.flags.contains(flag): words += await typed(flag, value)
            default: unknown(key, Self.ownKeys + Self.flags)
            }
        }
        if group.name.isEmpty { complain(node, "a group needs a 'name'") }
        do {
            let flags = try await GroupFlags.read(words)
            group.spec = try flags.spec.request(name: group.name, image: image).spec
            group.spec.placement = try flags.placement.rules()
            group.node = flags.placement.node ?? ""
        } catch {
            // Each word was read by itself before: what is left is told already.
            if violations.isEmpty { complain(node, GroupFlags.problem(error)) }
        }
        return group
    }

    /// The flag as it would be typed, once for each element of a list.
    private mutating func typed(_ flag: String, _ node: Node) async -> [String] {
        let elements: [Node] = if case .sequence(let list) = node { Array(list) } else { [node] }
        if elements.count > 1, Self.single.contains(flag) {
            complain(node, "'\(flag)' has one value")
            return []
        }
        var words: [String] = []
        for element in elements {
            guard let value = text(element) else { continue }
            let word = "--\(flag)=\(value)"
            do {
                let flags = try await GroupFlags.read([word])
                _ = try flags.spec.request(name: "vm", image: "")
                _ = try flags.placement.rules()
                words.append(word)
            } catch {
                complain(element, GroupFlags.problem(error))
            }
        }
        return words
    }

    private mutating func replicas(_ node: Node) -> Int32? {
        guard let text = text(node) else { return nil }
        guard let number = Int32(text), number >= 0 else {
            complain(node, "'\(shown(text))' is no number of VMs")
            return nil
        }
        return number
    }

    private mutating func chosen<Value>(_ node: Node, _ values: [String: Value]) -> Value? {
        guard let text = text(node) else { return nil }
        if let value = values[text] { return value }
        let known = values.keys.sorted().joined(separator: " or ")
        complain(node, "'\(shown(text))' is not \(known)")
        return nil
    }

    // MARK: Nodes

    private mutating func pairs(_ node: Node, _ what: String) -> [(Key, Node)] {
        guard case .mapping(let mapping) = node else {
            complain(node, what)
            return []
        }
        return mapping.map { key, value in (Key(word: key.string ?? "", node: key), value) }
    }

    private struct Key {
        let word: String
        let node: Node
    }

    /// A word or number; `nil` when it is neither, which has been said.
    private mutating func text(_ node: Node) -> String? {
        guard case .scalar(let scalar) = node else {
            complain(node, "a word or number belongs here")
            return nil
        }
        guard !scalar.string.isEmpty, !isNull(scalar) else {
            complain(node, "has no value; leave the key out instead")
            return nil
        }
        return scalar.string
    }

    private mutating func map(_ node: Node) -> [String: String] {
        var found: [String: String] = [:]
        for (key, value) in pairs(node, "a mapping belongs here, such as {app: web}") {
            // A label may have no value.
            if case .scalar(let scalar) = value {
                found[key.word] = isNull(scalar) ? "" : scalar.string
            } else {
                complain(value, "a word or number belongs here")
            }
        }
        return found
    }

    /// What YAML's core schema takes for no value.
    private func isNull(_ scalar: Node.Scalar) -> Bool {
        scalar.style == .plain && ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    private mutating func unknown(_ key: Key, _ known: [String]) {
        let list = known.joined(separator: ", ")
        complain(key.node, "'\(shown(key.word))' is no key; the keys are \(list)")
    }

    private mutating func complain(_ node: Node, _ problem: String) {
        let place = node.mark.map { ":\($0)" } ?? ""
        violations.append(.init("\(name)\(place)", problem))
    }
}

/// The flags of `roost run` that a group's keys stand for. A command of its own: completions that ask a
/// daemon need one around them.
private struct GroupFlags: AsyncParsableCommand {
    @OptionGroup var spec: SpecOptions
    @OptionGroup var placement: PlacementOptions

    static func read(_ words: [String]) async throws -> GroupFlags {
        try await GroupFlags.asyncParse(words)
    }

    /// What a parser of flags has to say, in one line.
    static func problem(_ error: any Error) -> String {
        if let fault = error as? Fault {
            return fault.violations.first?.problem ?? fault.message
        }
        return String(message(for: error).split(separator: "\n").first ?? "cannot be read")
    }
}
