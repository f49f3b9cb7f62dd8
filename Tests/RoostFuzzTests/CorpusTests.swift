import Foundation
import Testing

/// The fuzzer's targets over `Fuzz/Corpus`: seeds, and every input that once broke something.
@Suite("Fuzz corpus")
struct CorpusTests {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fuzz/Corpus")

    @Test(arguments: fuzzTargets.map(\.name))
    func everyPromiseHolds(of name: String) throws {
        let target = try #require(fuzzTargets.first { $0.name == name })
        let folder = Self.folder.appending(path: name)
        let inputs = try FileManager.default.contentsOfDirectory(atPath: folder.path())
        #expect(!inputs.isEmpty, "the target has no seed")
        // What a decoder makes of no bytes at all is a case of every target.
        #expect(throws: Never.self) { try target.check([]) }
        for input in inputs.sorted() {
            let bytes = try Data(contentsOf: folder.appending(path: input))
            #expect(bytes.count <= 1 << 16, "\(input) is no small input")
            #expect(throws: Never.self, "\(name)/\(input)") { try target.check([UInt8](bytes)) }
        }
    }

    @Test func everyFolderBelongsToATarget() throws {
        let folders = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path())
        #expect(Set(folders) == Set(fuzzTargets.map(\.name)))
    }
}
