import Foundation

/// One breach of a house rule, printed as `path:line: what to do`.
struct Breach: Hashable, CustomStringConvertible {
    let path: String
    let line: Int
    let message: String

    var description: String { "\(path):\(line): \(message)" }
}

/// Text that must not stand in a source line, and what to write in its place.
struct Ban: Sendable {
    let text: String
    let instead: String
    /// Targets that the ban covers. Empty means all of them.
    let targets: Set<String>

    init(_ text: String, instead: String, in targets: Set<String> = []) {
        self.text = text
        self.instead = instead
        self.targets = targets
    }
}

/// The targets whose answers must depend on their arguments alone.
let pureTargets: Set<String> = ["RoostModel", "RoostScheduler", "RoostReconciler", "RoostTar"]

/// The targets that run under the simulator's executor: everything that RoostSimulation links.
/// Time, randomness, tasks and the outside world reach them through a contract only.
let simulatedTargets: Set<String> = pureTargets.union([
    "RoostStore", "RoostOperations", "RoostDriver", "RoostHost", "RoostLink", "RoostNode",
    "RoostControl", "RoostGuestWire",
])

/// Modules from outside the package that a simulated target may import.
let allowedInSimulation: Set<String> = ["Logging", "Synchronization"]

/// Each target and the internal modules that it may import. The order is the architecture, bottom up.
let layers: [String: Set<String>] = [
    "CRoostLinux": [],
    "CRoostZlib": [],
    "CLibPQ": [],
    "RoostModel": [],
    "RoostGuestWire": [],
    "RoostTar": [],
    "RoostConnect": [],
    "RoostScheduler": ["RoostModel"],
    "RoostReconciler": ["RoostModel"],
    "RoostStore": ["RoostModel"],
    "RoostDriver": ["RoostModel"],
    "RoostHost": ["RoostModel"],
    "RoostLink": ["RoostModel"],
    "RoostAPI": ["RoostModel"],
    "RoostLinux": ["RoostModel", "CRoostLinux"],
    "RoostTrust": ["RoostModel"],
    "RoostOperations": ["RoostModel", "RoostStore"],
    "RoostStoreRows": ["RoostModel", "RoostStore"],
    "RoostStoreSQL": ["RoostModel", "RoostStore", "RoostStoreRows"],
    "RoostStorePostgres": ["RoostModel", "RoostStore", "RoostStoreRows", "CLibPQ"],
    "RoostDriverQEMU": [
        "RoostModel", "RoostDriver", "RoostGuestWire", "RoostHost", "RoostLinux",
    ],
    "RoostLinkGRPC": ["RoostModel", "RoostLink", "RoostAPI", "RoostTrust"],
    "RoostImages": ["RoostModel", "RoostHost", "RoostLinux", "RoostTar", "CRoostZlib"],
    "RoostRegistry": ["RoostModel", "RoostLinux"],
    "RoostAgent": ["RoostGuestWire", "RoostTar", "CRoostLinux"],
    "RoostNode": [
        "RoostModel", "RoostReconciler", "RoostOperations", "RoostStore", "RoostDriver",
        "RoostHost", "RoostLink", "RoostGuestWire",
    ],
    "RoostControl": [
        "RoostModel", "RoostScheduler", "RoostReconciler", "RoostOperations", "RoostStore",
        "RoostLink",
    ],
    "RoostServices": [
        "RoostModel", "RoostScheduler", "RoostReconciler", "RoostAPI", "RoostControl", "RoostNode",
        "RoostLink", "RoostHost", "RoostOperations", "RoostStore", "RoostTrust",
    ],
    "RoostCommands": ["RoostModel", "RoostAPI", "RoostLinux", "RoostTar", "RoostTrust"],
    "RoostSimulation": [
        "RoostModel", "RoostScheduler", "RoostReconciler", "RoostStore", "RoostOperations",
        "RoostDriver", "RoostHost", "RoostLink", "RoostNode", "RoostControl",
    ],
]

/// The banned texts, each with its replacement.
let bans: [Ban] = [
    Ban("try!", instead: "throw, or a precondition that says why it cannot fail"),
    Ban(" as! ", instead: "a conditional cast that throws"),
    Ban("Task.detached", instead: "a task group, or onItsOwnThread for a call that blocks"),
    Ban("DispatchQueue.global", instead: "onItsOwnThread: the global queue is Swift's own pool"),
    // A task outside every group belongs to nobody.
    Ban("Task {", instead: "a task group or the injected spawner", in: simulatedTargets),
    Ban("Task.sleep", instead: "the injected clock", in: simulatedTargets),
    Ban("Date()", instead: "a time passed in", in: simulatedTargets),
    Ban("UUID()", instead: "Identifier(using:)", in: simulatedTargets),
    Ban("Clock()", instead: "a time passed in", in: simulatedTargets),
    Ban("SystemRandomNumberGenerator", instead: "a generator passed in", in: simulatedTargets),
    Ban(".random()", instead: "random(using:)", in: simulatedTargets),
    Ban("FIXME", instead: "the fix, before it lands"),
]

/// The most lines that a source file may have.
let fileLineLimit = 600

/// Checks one file of `target` against every rule.
func breaches(in text: String, path: String, target: String) -> [Breach] {
    var found: [Breach] = []
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    if lines.count > fileLineLimit {
        found.append(Breach(path: path, line: fileLineLimit, message: "split this file"))
    }
    for (offset, line) in lines.enumerated() {
        let number = offset + 1
        for ban in bans where stands(ban.text, in: line) {
            guard ban.targets.isEmpty || ban.targets.contains(target) else { continue }
            found.append(
                Breach(path: path, line: number, message: "\(ban.text): use \(ban.instead)")
            )
        }
        if let module = importedModule(line), layers[module] == nil,
            simulatedTargets.contains(target), !allowedInSimulation.contains(module)
        {
            found.append(
                Breach(path: path, line: number, message: "\(target) may not see \(module)")
            )
        }
        if let module = importedModule(line), let allowed = layers[target],
            layers[module] != nil, module != target, !allowed.contains(module)
        {
            found.append(
                Breach(path: path, line: number, message: "\(target) may not see \(module)")
            )
        }
    }
    return found
}

/// Whether `text` stands in `line` as a word of its own: `addTask {` is no `Task {`.
func stands(_ text: String, in line: Substring) -> Bool {
    line.ranges(of: text).contains { range in
        guard let first = text.first, first.isLetter, range.lowerBound > line.startIndex else {
            return true
        }
        let before = line[line.index(before: range.lowerBound)]
        return !before.isLetter && !before.isNumber && before != "_"
    }
}

/// The module that an import line names, if the line is one.
func importedModule(_ line: Substring) -> String? {
    var words = line.split(separator: " ")[...]
    while let first = words.first, first.hasPrefix("@") || accessLevels.contains(first) {
        words.removeFirst()
    }
    guard words.first == "import", words.count >= 2 else { return nil }
    // `import struct Module.Type` names its module before the dot, one word later.
    let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "func", "typealias"]
    let name =
        kinds.contains(words[words.startIndex + 1]) ? words.startIndex + 2 : words.startIndex + 1
    guard name < words.endIndex else { return nil }
    return words[name].split(separator: ".").first.map(String.init)
}

private let accessLevels: Set<Substring> = [
    "public", "package", "internal", "private", "fileprivate",
]
