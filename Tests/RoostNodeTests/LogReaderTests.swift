import RoostGuestWire
import RoostHost
import RoostLink
import RoostModel
import RoostNode
import Synchronization
import Testing

/// Logs that are handed out in the pieces they were put in.
private final class PiecewiseLogs: LogFiles {
    private let logs: [LogSource: [UInt8]]
    private let first: UInt64
    private let pieceSize: Int
    /// What the last calls asked for, to see that nothing is asked for twice in vain.
    let calls = Mutex(0)

    init(_ logs: [LogSource: [UInt8]], first: UInt64 = 0, pieceSize: Int = 10) {
        self.logs = logs
        self.first = first
        self.pieceSize = pieceSize
    }

    func readLog(
        _ id: VMID,
        _ source: LogSource,
        from offset: UInt64,
        follow: Bool
    ) async throws(Fault) -> LogChunk {
        calls.withLock { $0 += 1 }
        let log = logs[source] ?? []
        let start = min(Int(max(offset, first) - first), log.count)
        let piece = Array(log[start...].prefix(pieceSize))
        let next = start + piece.count
        if follow, piece.isEmpty { throw Fault(.opCancelled, "there will be no more") }
        return LogChunk(
            bytes: piece,
            nextOffset: first + UInt64(next),
            isEnd: next == log.count
        )
    }
}

@Suite("Reading a VM's logs")
struct LogReaderTests {
    private let vm = VMID(bits: 7)

    private func line(_ stream: GuestLogRecord.Stream, _ text: String) -> [UInt8] {
        GuestLogRecord(
            time: "2026-11-21T19:27:33.000000000Z",
            stream: stream,
            isPartial: false,
            text: Array(text.utf8)[...]
        ).encoded
    }

    /// All of a log, piece after piece as a client reads it.
    private func all(_ files: PiecewiseLogs, _ source: String) async throws -> String {
        var request = LogRequest(source: source, offset: 0, follow: false)
        var bytes: [UInt8] = []
        while true {
            let piece = try await LogReader(files: files).read(vm, request)
            bytes += piece.bytes
            request.offset = piece.nextOffset
            request.source = piece.source
            if piece.isEnd { return String(decoding: bytes, as: UTF8.self) }
        }
    }

    @Test(
        "one writer's lines come whole, whatever pieces the file comes in",
        arguments: [1, 10, 999]
    )
    func pieces(size: Int) async throws {
        let log = line(.stdout, "one") + line(.kernel, "k") + line(.stderr, "two")
        let files = PiecewiseLogs([.guest: log], pieceSize: size)
        #expect(try await all(files, "app") == "one\ntwo\n")
        #expect(try await all(files, "kernel") == "k\n")
        #expect(try await all(files, "agent") == "")
    }

    @Test("without a name it is the commands' log, or the console when they said nothing")
    func unnamed() async throws {
        let silent = PiecewiseLogs([.console: Array("boot\n".utf8), .guest: line(.kernel, "k")])
        #expect(try await all(silent, "") == "boot\n")
        let spoken = PiecewiseLogs([.console: Array("boot\n".utf8), .guest: line(.stdout, "hi")])
        #expect(try await all(spoken, "") == "hi\n")
    }

    @Test("lines whose beginning was given back are skipped")
    func trimmed() async throws {
        let log = line(.stdout, "one").dropFirst(30) + line(.stdout, "two")
        let files = PiecewiseLogs([.guest: Array(log)], first: 4_096)
        #expect(try await all(files, "app") == "two\n")
    }

    @Test("who follows waits for the rest of a line that has begun, and reads no byte twice")
    func follow() async throws {
        let begun = line(.stdout, "one") + line(.stdout, "two").prefix(20)
        let files = PiecewiseLogs([.guest: Array(begun)], pieceSize: 1_000)
        let reader = LogReader(files: files)
        let first = try await reader.read(
            vm,
            LogRequest(source: "app", offset: 0, follow: true)
        )
        #expect(first.bytes == Array("one\n".utf8))
        let fault = await #expect(throws: Fault.self) {
            try await reader.read(
                vm,
                LogRequest(source: "app", offset: first.nextOffset, follow: true)
            )
        }
        #expect(fault?.reason == .opCancelled)
        #expect(files.calls.withLock(\.self) == 3)
    }

    @Test("an unknown log, and times of a log that has none, are refused by name")
    func refusals() async throws {
        let reader = LogReader(files: PiecewiseLogs([:]))
        let requests = [
            LogRequest(source: "syslog", offset: 0, follow: false),
            LogRequest(source: "console", offset: 0, follow: false, timestamps: true),
            LogRequest(source: "vmm", offset: 0, follow: false, timestamps: true),
        ]
        for request in requests {
            let fault = await #expect(throws: Fault.self) {
                try await reader.read(vm, request)
            }
            let field = request.timestamps ? "timestamps" : "source"
            #expect(fault?.violations.map(\.field) == [field])
        }
    }
}
