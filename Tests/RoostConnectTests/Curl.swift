import Foundation
import Testing

/// What curl got.
struct Answer: Sendable {
    let status: Int
    /// Names in lowercase.
    let headers: [String: String]
    let body: Data

    var text: String { String(decoding: body, as: UTF8.self) }
    var json: [String: Any] {
        (try? JSONSerialization.jsonObject(with: body)) as? [String: Any] ?? [:]
    }
    /// The details of a Connect error, by type; base64 without padding.
    var details: [String: Data] {
        var found: [String: Data] = [:]
        for detail in json["details"] as? [[String: String]] ?? [] {
            let value = detail["value"] ?? ""
            let padded = value + String(repeating: "=", count: (4 - value.count % 4) % 4)
            found[detail["type"] ?? ""] = Data(base64Encoded: padded)
        }
        return found
    }
}

/// Runs the real curl with `arguments` and reads its answer. Ends it when the test ends.
func curl(_ arguments: [String], input: Data = Data()) async throws -> Answer {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/curl")
    process.arguments = ["-sS", "-i", "--max-time", "20", "--data-binary", "@-"] + arguments
    let (stdin, stdout) = (Pipe(), Pipe())
    process.standardInput = stdin
    process.standardOutput = stdout
    let (ends, end) = AsyncStream.makeStream(of: Int32.self)
    process.terminationHandler = {
        end.yield($0.terminationStatus)
        end.finish()
    }
    try process.run()
    let output = Thread.reading(stdout.fileHandleForReading)
    Thread.writing(input, to: stdin.fileHandleForWriting)
    for await status in ends where status != 0 {
        Issue.record("curl \(arguments) exited with \(status)")
    }
    var all = Data()
    for await piece in output { all.append(piece) }
    return parse(all)
}

/// A curl that runs until it is ended, and what it gets, piece by piece.
struct RunningCurl: Sendable {
    let process: Process
    let pieces: AsyncStream<Data>

    init(_ arguments: [String], input: Data) throws {
        process = Process()
        process.executableURL = URL(filePath: "/usr/bin/curl")
        process.arguments = ["-sS", "-N", "--max-time", "60", "--data-binary", "@-"] + arguments
        let (stdin, stdout) = (Pipe(), Pipe())
        process.standardInput = stdin
        process.standardOutput = stdout
        try process.run()
        Thread.writing(input, to: stdin.fileHandleForWriting)
        let (pieces, piece) = AsyncStream.makeStream(of: Data.self)
        self.pieces = pieces
        let thread = Thread {
            while case let data = stdout.fileHandleForReading.availableData, !data.isEmpty {
                piece.yield(data)
            }
            piece.finish()
        }
        thread.start()
    }

    /// Kills it. A child inherits the blocked signals of the pool's threads, so SIGTERM would wait.
    func end() { kill(process.processIdentifier, SIGKILL) }
}

extension Thread {
    /// Everything that `handle` gives, read on a thread of its own.
    static func reading(_ handle: FileHandle) -> AsyncStream<Data> {
        let (pieces, piece) = AsyncStream.makeStream(of: Data.self)
        let thread = Thread {
            piece.yield((try? handle.readToEnd()) ?? Data())
            piece.finish()
        }
        thread.start()
        return pieces
    }

    static func writing(_ data: Data, to handle: FileHandle) {
        let thread = Thread {
            try? handle.write(contentsOf: data)
            try? handle.close()
        }
        thread.start()
    }
}

private func parse(_ bytes: Data) -> Answer {
    var rest = bytes
    var lines: [String] = []
    // An interim answer such as 100 stands before the real one.
    repeat {
        guard let end = rest.firstRange(of: Data("\r\n\r\n".utf8)) else { break }
        lines = String(decoding: rest[..<end.lowerBound], as: UTF8.self)
            .components(separatedBy: "\r\n")
        rest = rest[end.upperBound...]
    } while lines.first?.contains(" 100") == true
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
        let parts = line.split(separator: ":", maxSplits: 1)
        guard parts.count == 2 else { continue }
        headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces)
    }
    let status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    return Answer(status: status, headers: headers, body: Data(rest))
}

/// Posts `body` with curl to `method` as JSON.
func post(
    _ port: Int,
    _ method: String,
    _ body: String,
    _ more: [String] = []
) async throws -> Answer {
    try await curl(
        ["-H", "Content-Type: application/json"] + more + ["http://127.0.0.1:\(port)/\(method)"],
        input: Data(body.utf8)
    )
}
