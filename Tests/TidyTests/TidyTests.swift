import Foundation
import Testing

@Suite("Tidy")
struct TidyTests {
    @Test func theTreeKeepsTheHouseRules() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Sources")
        var found: [Breach] = []
        var files = 0
        for target in try FileManager.default.contentsOfDirectory(atPath: root.path()) {
            let folder = root.appending(path: target)
            let walker = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
            while let url = walker?.nextObject() as? URL {
                guard url.pathExtension == "swift", !url.path().contains("/Generated/") else {
                    continue
                }
                files += 1
                let text = try String(contentsOf: url, encoding: .utf8)
                found += breaches(
                    in: text,
                    path: "\(target)/\(url.lastPathComponent)",
                    target: target
                )
            }
        }
        #expect(files > 0)
        #expect(found.isEmpty, "\n\(found.map(\.description).joined(separator: "\n"))")
    }

    // A rule that cannot fail is no rule: each is shown a line that it must refuse.
    @Test(arguments: [
        ("RoostModel", "let now = Date()", "Date(): use a time passed in"),
        (
            "RoostNode", "Task.detached { wait() }",
            "Task.detached: use a task group, or onItsOwnThread for a call that blocks"
        ),
        ("RoostScheduler", "package import RoostStore", "RoostScheduler may not see RoostStore"),
        ("RoostNode", "import RoostDriverQEMU", "RoostNode may not see RoostDriverQEMU"),
        (
            "RoostDriverQEMU", "internal import RoostStoreSQL",
            "RoostDriverQEMU may not see RoostStoreSQL"
        ),
        ("RoostNode", "import NIOCore", "RoostNode may not see NIOCore"),
        ("RoostControl", "Task { run() }", "Task {: use a task group or the injected spawner"),
        ("RoostNode", "let now = Date()", "Date(): use a time passed in"),
    ])
    func refuses(target: String, line: String, message: String) {
        #expect(breaches(in: line, path: "x", target: target).map(\.message) == [message])
    }

    @Test(arguments: [
        ("RoostNode", "import RoostDriver"), ("RoostControl", "public import RoostModel"),
        ("RoostServices", "let now = Date()"), ("RoostNode", "import Logging"),
        ("RoostModel", "@testable import RoostModel // no layer above"),
        ("RoostNode", "group.addTask { await work() }"),
    ])
    func allows(target: String, line: String) {
        #expect(breaches(in: line, path: "x", target: target).isEmpty)
    }
}
