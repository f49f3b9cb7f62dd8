import Foundation
import RoostOperations
import Testing

/// Runs `roost-sim` in a process of its own, as people do: a seed must not depend on its process.
@Suite("Seeds")
struct SeedTests {
    @Test(
        "hold with every profile",
        arguments: [("calm", "1..40"), ("rough", "1..100"), ("storm", "1..60")]
    )
    func hold(profile: String, seeds: String) throws {
        let run = try simulate(["--seeds", seeds, "--profile", profile])
        #expect(run.status == 0, "\(run.output)")
    }

    /// A thousand short runs, in two processes at once.
    @Test("give the same digests in another process")
    func replay() async throws {
        let words = ["--hashes", "--seeds", "1..1000", "--wishes", "2", "--seconds", "6"]
        async let other = simulateAside(words)
        let first = try simulate(words)
        let second = try await other
        #expect(first.status == 0, "\(first.output.suffix(300))")
        #expect(first.output == second.output)
        #expect(first.output.split(separator: "\n").count == 1_001)
    }

    @Test("give the same digest whether they are traced or not", arguments: [3, 4])
    func traced(seed: Int) throws {
        let words = ["--seed", "\(seed)", "--profile", "storm"]
        #expect(try simulate(words).lastLine == simulate(words + ["--trace"]).lastLine)
    }

    @Test("differ from each other")
    func differ() throws {
        let digests = try Set((1...5).map { try simulate(["--seed", "\($0)"]).lastLine })
        #expect(digests.count == 5)
    }

    /// Begins at the seed that is known to find it; a change of the product moves it a little.
    @Test("find each planted bug", arguments: Failpoint.protections)
    func find(_ point: Failpoint) throws {
        let run = try simulate(["--bugs", "--quick", "--skip", point.name])
        #expect(run.status == 0, "nobody missed \(point): \(run.output)")
    }

    @Test("that fail are said in one line, shrunk, and fail again by that line")
    func shrink() throws {
        let run = try simulate(["--seeds", "1..8", "--skip", Failpoint.orphan.name, "--shrink"])
        #expect(run.status == 1)
        let line = try #require(
            run.output.split(separator: "\n").first { $0.hasPrefix("  shrunk: roost-sim ") }
        )
        let words = line.split(separator: " ").dropFirst(2).map(String.init)
        let again = try simulate(words)
        #expect(again.status == 1)
        #expect(again.output.contains("VIOLATED: "))
        // A stranger is one disaster; nothing else need go wrong, and nobody need ask for anything.
        let only = try #require(words.firstIndex(of: "--only"))
        #expect(words[only + 1].split(separator: ",").count <= 2, "\(line)")
    }

    @Test("refuse words that they do not know", arguments: ["--sed", "--seeds", "--skip"])
    func usage(word: String) throws {
        #expect(try simulate([word, "x"]).status == 2)
    }
}

private struct Run {
    var status: Int32
    var output: String
    var lastLine: String {
        output.split(separator: "\n").last.map(String.init) ?? ""
    }
}

private func simulateAside(_ words: [String]) async throws -> Run {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result { try simulate(words) }) }
    }
}

private func simulate(_ words: [String]) throws -> Run {
    let process = Process()
    process.executableURL = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        .appending(path: "roost-sim")
    process.arguments = words
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return Run(
        status: process.terminationStatus,
        output: String(decoding: output, as: UTF8.self)
    )
}
