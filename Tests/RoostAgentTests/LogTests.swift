import Foundation
import RoostGuestWire
import RoostNode
import Testing

@Suite("The log of commands", .serialized)
struct LogTests {
    /// Runs commands in an agent that writes its log into a file; returns the records in it.
    private func records(
        _ body: (GuestConnection) async throws -> Void
    ) async throws -> [GuestLogRecord] {
        var found: [GuestLogRecord] = []
        try await withDirectory { directory in
            let path = "\(directory)/guest.log"
            let log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
            try #require(log >= 0)
            try await withAgent(log: log, body)
            let text = try Data(contentsOf: URL(fileURLWithPath: path))
            let lines = [UInt8](text).split(separator: 10)
            let records = lines.compactMap { GuestLogRecord(line: $0) }
            #expect(records.count == lines.count)
            found = records
        }
        return found
    }

    private func text(_ records: [GuestLogRecord], _ stream: GuestLogRecord.Stream) -> String {
        records.filter { $0.stream == stream }
            .map { String(decoding: $0.text, as: UTF8.self) + ($0.isPartial ? "" : "\n") }
            .joined()
    }

    private func lasting(_ script: String) -> RoostGuestWire.ExecRequest {
        var request = command("sh", "-c", script)
        request.onDetach = .drop
        return request
    }

    @Test func whatOutlivesItsClientIsRecordedLineByLine() async throws {
        let found = try await records { guest in
            let session = try await guest.exec(
                lasting("echo one; echo two >&2; printf 'th'; printf 'ree\\nfour'")
            )
            let outcome = try await session.outcome()
            #expect(outcome.stdout == "one\nthree\nfour")
        }
        #expect(text(found, .stdout) == "one\nthree\nfour\n")
        #expect(text(found, .stderr) == "two\n")
    }

    @Test func whatEndsWithItsClientIsNot() async throws {
        let found = try await records { guest in
            var request = lasting("echo secret")
            request.onDetach = .kill
            let outcome = try await guest.exec(request).outcome()
            #expect(outcome.stdout == "secret\n")
        }
        #expect(text(found, .stdout) == "")
    }

    @Test func aLineTooLongForARecordIsCutAndWhole() async throws {
        let length = 3 * GuestLogRecord.textLimit + 5
        let found = try await records { guest in
            _ = try await guest.exec(lasting("head -c \(length) /dev/zero | tr '\\0' x; echo"))
                .outcome()
        }
        let output = found.filter { $0.stream == .stdout }
        #expect(output.map(\.isPartial) == [true, true, true, false])
        #expect(text(found, .stdout) == String(repeating: "x", count: length) + "\n")
    }

    @Test func aSlowPortLosesNothing() async throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        let (reader, lines) = (ends[0], 200_000)
        defer { close(reader) }
        try await withAgent(log: ends[1]) { guest in
            let session = try await guest.exec(lasting("seq 1 \(lines)"))
            async let outcome = session.outcome()
            let numbers = await Self.outputLines(reader, count: lines)
            #expect(numbers == (1...lines).map(String.init))
            let ended = try await outcome
            #expect(ended.status == .init(.code(0)))
        }
    }

    /// The first lines of standard output in the records that come out of a pipe.
    private static func outputLines(_ pipe: Int32, count: Int) async -> [String] {
        await withCheckedContinuation { continuation in
            let thread = Thread {
                var (lines, rest): ([String], [UInt8]) = ([], [])
                var buffer = [UInt8](repeating: 0, count: 4_096)
                while lines.count < count {
                    let length = read(pipe, &buffer, buffer.count)
                    guard length > 0 else { break }
                    rest += buffer[..<length]
                    while let end = rest.firstIndex(of: 10) {
                        if let record = GuestLogRecord(line: rest[..<end]), record.stream == .stdout
                        {
                            lines.append(String(decoding: record.text, as: UTF8.self))
                        }
                        rest.removeFirst(end + 1)
                    }
                }
                continuation.resume(returning: lines)
            }
            thread.start()
        }
    }
}
