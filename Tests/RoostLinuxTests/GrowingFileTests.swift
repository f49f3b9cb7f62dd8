import Foundation
import RoostModel
import Testing

@testable import RoostLinux

@Suite struct GrowingFileTests {
    private func path() -> String {
        FileManager.default.temporaryDirectory.path() + "roost-growing-\(UUID().uuidString)"
    }

    private func append(_ text: String, to file: GrowingFile) throws {
        try Array(text.utf8).withUnsafeBytes { try file.append($0) }
    }

    /// Everything up to the end, as it comes.
    private func readAll(_ file: GrowingFile) async throws -> String {
        try await onItsOwnThread { () throws(Fault) in
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 3, alignment: 1)
            defer { buffer.deallocate() }
            var bytes: [UInt8] = []
            while true {
                let count = try file.read(into: buffer, at: UInt64(bytes.count))
                if count == 0 { return String(decoding: bytes, as: UTF8.self) }
                bytes += buffer[..<count]
            }
        }
    }

    @Test func aReaderSeesWhatIsWrittenBeforeAndWhileItReads() async throws {
        let file = try GrowingFile(path())
        defer { unlink(file.path) }
        try append("before ", to: file)
        async let seen = readAll(file)
        for word in ["and ", "while ", "it ", "reads"] { try append(word, to: file) }
        file.finish()
        #expect(try await seen == "before and while it reads")
        let again = try GrowingFile(file.path)
        #expect(again.count == 25)
    }

    @Test func aReaderOfAFileThatFailsNeverSeesTheEnd() async throws {
        let file = try GrowingFile(path())
        defer { unlink(file.path) }
        try append("half", to: file)
        let seen = Task { try await readAll(file) }
        let fault = Fault(.digestMismatch, "wrong")
        file.fail(fault)
        // The first ending counts.
        file.finish()
        await #expect(throws: fault) { try await seen.value }
        #expect(throws: fault) { try file.waitForEnd() }
    }

    @Test func clearingStartsAnew() throws {
        let file = try GrowingFile(path())
        defer { unlink(file.path) }
        try append("old", to: file)
        try file.clear()
        try append("n", to: file)
        #expect(file.count == 1)
        #expect(try file.peek(10, at: 0) == Array("n".utf8))
    }
}
