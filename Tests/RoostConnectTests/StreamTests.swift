import Foundation
import RoostAPI
import RoostConnect
import RoostModel
import SwiftProtobuf
import Testing

private let watch = "roost.compute.v1.VMService/WatchVMs"

/// `json` in a frame, as a Connect stream wants it.
private func framed(_ json: String, flags: UInt8 = 0) -> Data {
    framed(Data(json.utf8), flags: flags)
}

private func framed(_ bytes: Data, flags: UInt8 = 0) -> Data {
    Data([flags]) + withUnsafeBytes(of: UInt32(bytes.count).bigEndian) { Data($0) } + bytes
}

/// The frames in `body`, as flags and JSON.
private func frames(_ body: Data) -> [(flags: UInt8, json: [String: Any])] {
    var rest = body
    var found: [(UInt8, [String: Any])] = []
    while rest.count >= 5 {
        let header = Array(rest.prefix(5))
        let length = header[1...].reduce(0) { $0 << 8 | Int($1) }
        let bytes = rest.dropFirst(5).prefix(length)
        let json = (try? JSONSerialization.jsonObject(with: Data(bytes))) as? [String: Any]
        found.append((header[0], json ?? [:]))
        rest = rest.dropFirst(5 + length)
    }
    return found
}

private func stream(_ port: Int, _ body: Data, _ more: [String] = []) async throws -> Answer {
    try await curl(
        ["-H", "Content-Type: application/connect+json"] + more
            + ["http://127.0.0.1:\(port)/\(watch)"],
        input: body
    )
}

@Suite("Connect streams over a real socket", .timeLimit(.minutes(2)))
struct StreamTests {
    @Test(arguments: ["--http1.1", "--http2-prior-knowledge"])
    func aServerStreamSendsItsMessagesAndAnEnd(version: String) async throws {
        let answer = try await Serving().run { port in
            try await stream(port, framed(#"{"from_revision":3,"id":"end"}"#), [version])
        }
        #expect(answer.status == 200)
        #expect(answer.headers["content-type"] == "application/connect+json")
        #expect(answer.headers["roost-op-id"] == madeOperation.description)
        let frames = frames(answer.body)
        #expect(frames.map(\.flags) == [0, 0, 0, 2])
        #expect(frames.dropLast().map { $0.json["revision"] as? String } == [nil, "1", "2"])
        #expect(frames.first?.json["type"] as? String == "BOOKMARK")
        #expect(frames.last?.json["error"] == nil)
    }

    @Test func anErrorAfterMessagesIsInTheLastFrame() async throws {
        let answer = try await Serving().run { port in
            try await stream(port, framed(#"{"fromRevision":"1","id":"fail"}"#))
        }
        let frames = frames(answer.body)
        #expect(frames.map(\.flags) == [0, 2])
        let error = try #require(frames.last?.json["error"] as? [String: Any])
        #expect(error["code"] as? String == "out_of_range")
        #expect((error["message"] as? String)?.hasSuffix("(\(madeOperation.short))") == true)
        let types = (error["details"] as? [[String: String]])?.compactMap { $0["type"] }
        #expect(types?.contains("google.rpc.ErrorInfo") == true)
    }

    @Test func gzippedFramesAreRead() async throws {
        let packed = try await gzip(Data(#"{"from_revision":1,"id":"end"}"#.utf8))
        let answer = try await Serving().run { port in
            try await stream(
                port,
                framed(packed, flags: 1),
                [
                    "-H", "Connect-Content-Encoding: gzip",
                ]
            )
        }
        #expect(frames(answer.body).map(\.flags) == [0, 2])
    }

    @Test(arguments: [
        (framed(#"{"from_revision":"x"}"#), "from_revision: wants a whole number"),
        (framed("{}").dropLast(), "the body ends inside a message"),
        (framed("{}", flags: 8), "unknown flags 8"),
        (Data([0, 0xFF, 0xFF, 0xFF, 0xFF, 1]), "at most 4194304 bytes"),
        (framed("{}", flags: 1), "the compression '' is not offered"),
    ])
    func aBadFrameIsRefusedWithAnOpID(body: Data, text: String) async throws {
        let answer = try await Serving().run { try await stream($0, body) }
        let error = try #require(frames(answer.body).last?.json["error"] as? [String: Any])
        let message = try #require(error["message"] as? String)
        #expect(message.contains(text))
        #expect(message.hasSuffix("(\(madeOperation.short))"))
    }

    @Test func bothWaysOverHTTP1IsRefusedHonestly() async throws {
        let answer = try await Serving().run { port in
            try await curl(
                [
                    "--http1.1", "-H", "Content-Type: application/connect+json",
                    "http://127.0.0.1:\(port)/roost.compute.v1.GuestService/Exec",
                ],
                input: framed(#"{"start":{"arguments":["true"]}}"#)
            )
        }
        let error = try #require(frames(answer.body).last?.json["error"] as? [String: Any])
        #expect(error["code"] as? String == "unimplemented")
        #expect((error["message"] as? String)?.contains("use gRPC") == true)
    }

    @Test func clientStreamsWork() async throws {
        let answer = try await Serving().run { port in
            try await curl(
                [
                    "-H", "Content-Type: application/connect+json",
                    "http://127.0.0.1:\(port)/roost.compute.v1.GuestService/CopyIn",
                ],
                input: framed(#"{"start":{"path":"/x"}}"#) + framed(#"{"data":"AAAA"}"#)
            )
        }
        #expect(frames(answer.body).map(\.flags) == [0, 2])
        #expect(frames(answer.body).last?.json["error"] == nil)
    }

    @Test(arguments: ["--http1.1", "--http2-prior-knowledge"])
    func aWatchEndsWhenItsClientGoes(version: String) async throws {
        let serving = Serving()
        let wasCancelled = try await serving.run { port in
            let client = try RunningCurl(
                [
                    version, "-H", "Content-Type: application/connect+json",
                    "http://127.0.0.1:\(port)/\(watch)",
                ],
                input: framed(#"{"from_revision":1}"#)
            )
            // Its first message is here, so the watch runs.
            for await _ in client.pieces { break }
            client.end()
            return await serving.vms.watchEnds.stream.first { _ in true }
        }
        #expect(wasCancelled == true)
    }

    @Test func aUnaryCallEndsWhenItsClientGoesAndOthersGoOn() async throws {
        let serving = Serving()
        let (steps, answer) = try await serving.run { port in
            let client = try RunningCurl(
                [
                    "-H", "Content-Type: application/json",
                    "http://127.0.0.1:\(port)/roost.compute.v1.VMService/GetVM",
                ],
                input: Data(#"{"id":"slow"}"#.utf8)
            )
            var steps: [Bool] = []
            for await step in serving.vms.slowCalls.stream {
                steps.append(step)
                if steps.count == 2 { break }
                client.end()
            }
            let other = try await post(port, "roost.compute.v1.VMService/GetVM", #"{"id":"x"}"#)
            return (steps, other)
        }
        #expect(steps == [false, true])
        #expect(answer.status == 404)
    }

    @Test func shutdownEndsWatchesWithAnErrorThatInvitesARetry() async throws {
        let client = try await Serving(isEnding: true).run { port in
            let client = try RunningCurl(
                [
                    "-H", "Content-Type: application/connect+json",
                    "http://127.0.0.1:\(port)/\(watch)",
                ],
                input: framed(#"{"from_revision":1}"#)
            )
            for await _ in client.pieces { break }
            return client
        }
        var rest = Data()
        for await piece in client.pieces { rest.append(piece) }
        let error = try #require(frames(rest).last?.json["error"] as? [String: Any])
        // Retry, says that code; a call that its own client broke off is `canceled`.
        #expect(error["code"] as? String == "unavailable")
    }

    @Test(arguments: ["--http1.1", "--http2-prior-knowledge"])
    func aCallThatNeverEndsIsCutOffWhenConnectionsAreClosed(version: String) async throws {
        let serving = Serving()
        let answer = try await serving.run { port, transport in
            let client = try RunningCurl(
                [
                    version, "-H", "Content-Type: application/json",
                    "http://127.0.0.1:\(port)/roost.compute.v1.VMService/GetVM",
                ],
                input: Data(#"{"id":"stubborn"}"#.utf8)
            )
            for await _ in serving.vms.slowCalls.stream { break }
            transport.beginGracefulShutdown()
            transport.closeConnections()
            var answer = Data()
            for await piece in client.pieces { answer.append(piece) }
            serving.vms.release.continuation.yield()
            return answer
        }
        #expect(answer.isEmpty)
    }

    /// The peer's answer to the last ping comes first: from then on the end of the answer is what the
    /// connection closes at.
    @Test func anAnswerThatIsGivenAfterTheEndBeganArrivesWhole() async throws {
        let serving = Serving()
        let answer = try await serving.run { port, transport in
            let path = "/roost.compute.v1.VMService/GetVM"
            return try await FrameClient.call(port: port, path: path, json: #"{"id":"stubborn"}"#) {
                client in
                for await _ in serving.vms.slowCalls.stream { break }
                transport.beginGracefulShutdown()
                var answer: [UInt8] = []
                while let frame = try await client.next() {
                    switch (frame.kind, frame.stream) {
                    case (FrameClient.ping, _) where frame.flags == 0:
                        try await client.send(
                            FrameClient.ping,
                            flags: FrameClient.lastOrAnswer,
                            stream: 0,
                            frame.content
                        )
                    case (FrameClient.goAway, _) where frame.content.starts(with: [0, 0, 0, 1]):
                        serving.vms.release.continuation.yield()
                    case (FrameClient.data, 1):
                        answer += frame.content
                        if frame.flags == FrameClient.lastOrAnswer { return answer }
                    default: break
                    }
                }
                return answer + Array(" and no end".utf8)
            }
        }
        let text = String(decoding: answer, as: UTF8.self)
        #expect(text.contains("no VM 'éstubborn'") && text.hasSuffix("}"))
    }

    @Test func keepAliveServesManyCallsOnOneConnection() async throws {
        let url = "roost.compute.v1.VMService/GetVM"
        let answer = try await Serving().run { port in
            let address = "http://127.0.0.1:\(port)/\(url)"
            return try await curl(
                [
                    "-H", "Content-Type: application/json", "-w", "\nconnects=%{num_connects}",
                    address, "-o", "/dev/null", address,
                ],
                input: Data(#"{"id":"x"}"#.utf8)
            )
        }
        #expect(answer.text.hasSuffix("connects=0"))
    }
}
