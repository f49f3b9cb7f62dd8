import Foundation

/// A directory of one test, removed after it.
struct Scratch: Sendable {
    let directory: URL

    /// The path of `name` in it.
    func file(_ name: String) -> String { directory.appending(path: name).path() }
}

/// Runs `body` with a directory of its own.
func withScratch(_ body: (Scratch) async throws -> Void) async throws {
    let directory = FileManager.default.temporaryDirectory
        .appending(path: "roost-store-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    try await body(Scratch(directory: directory))
}
