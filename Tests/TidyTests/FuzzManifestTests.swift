import Foundation
import Testing

/// `Fuzz/Package.swift` names the product's folders again; nothing else builds it in every run, so that
/// an import that it does not know would be noticed by the next who fuzzes.
@Suite("The fuzzer's manifest")
struct FuzzManifestTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    private static let always: Set = [
        "Foundation", "FoundationEssentials", "Glibc", "Synchronization",
    ]
    /// What the manifest calls otherwise.
    private static let aliases = ["GRPCCore": "grpc", "SwiftProtobuf": "protobuf"]

    @Test("knows what each of its libraries imports")
    func imports() throws {
        let manifest = try String(
            contentsOf: Self.root.appending(path: "Fuzz/Package.swift"),
            encoding: .utf8
        )
        let libraries = Self.calls(of: "library", in: manifest)
        #expect(libraries.count > 5)
        for library in libraries {
            let names = library.matches(of: /"([^"]+)"/).map { String($0.1) }
            let name = try #require(names.first)
            let known = Set(names).union(
                library.matches(of: /\b(grpc|protobuf)\b/).map { String($0.1) }
            )
            for (file, module) in try Self.imports(of: name, only: Self.list("only", in: library))
            where !Self.list("without", in: library).contains(file) {
                let isKnown = known.contains(Self.aliases[module] ?? module)
                #expect(isKnown, "\(name) in Fuzz/Package.swift lacks \(module), for \(file)")
            }
        }
    }

    /// The text of each call of `function`, without its own declaration.
    private static func calls(of function: String, in text: String) -> [Substring] {
        text.ranges(of: "        \(function)(").map { range in
            var depth = 1
            let rest = text[range.upperBound...]
            let end = rest.firstIndex { character in
                depth += character == "(" ? 1 : character == ")" ? -1 : 0
                return depth == 0
            }
            return rest[..<(end ?? rest.endIndex)]
        }
    }

    /// The strings of the argument `label`; none without it.
    private static func list(_ label: String, in call: Substring) -> [String] {
        guard let start = call.range(of: "\(label): ["),
            let end = call[start.upperBound...].firstIndex(of: "]")
        else { return [] }
        return call[start.upperBound..<end].matches(of: /"([^"]+)"/).map { String($0.1) }
    }

    /// The modules that the files of a target import, those of `folders` alone unless it is empty.
    private static func imports(
        of target: String,
        only folders: [String]
    ) throws -> [(file: String, module: String)] {
        let folder = root.appending(path: "Sources/\(target)")
        let paths = try FileManager.default.subpathsOfDirectory(atPath: folder.path())
        var found: [(String, String)] = []
        for path in paths.sorted() where path.hasSuffix(".swift") {
            guard folders.isEmpty || folders.contains(where: { path.hasPrefix($0) }) else {
                continue
            }
            let text = try String(contentsOf: folder.appending(path: path), encoding: .utf8)
            for match in text.matches(of: /(?m)^(?:package |internal |public )?import (\w+)/)
            where !always.contains(String(match.1)) {
                found.append((path, String(match.1)))
            }
        }
        return found
    }
}
