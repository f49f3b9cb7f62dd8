import Foundation
import RoostDriverQEMU
import RoostLinux
import RoostModel
import Testing

@Suite("A VMM that misbehaves on its control socket")
struct HostileVMMTests {
    /// Opens a client against a server that says `bytes` once and nothing more.
    private func open(_ bytes: [UInt8], within time: Duration) async throws -> Fault? {
        let folder = "/tmp/roost-test-qmp-\(EntropySource().next())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let listener = try UnixSocket.listen(in: folder, name: "qmp.sock")
        let server = Task {
            guard await Reactor.shared.wait(listener.number, for: .read) == .ready else { return }
            let number = accept(listener.number, nil, nil)
            guard number >= 0 else { return }
            _ = fcntl(number, F_SETFL, O_NONBLOCK)
            let stream = SocketStream(Descriptor(number))
            try? await stream.write(bytes, until: .now + .seconds(5))
            while let got = try? await stream.read(upTo: 100), !got.isEmpty {}
        }
        defer { server.cancel() }
        return await #expect(throws: Fault.self) {
            let client = try await QMPClient.open(
                in: folder,
                name: "qmp.sock",
                within: time,
                handler: { _ in }
            )
            client.close()
        }
    }

    @Test(arguments: [
        ("hello\n", 1), ("{}\n", 1), ("[1,2]\n", 1), ("{\"QMP\":\n", 1),
        ("{\"event\":\"RESET\"}\n", 1000),
    ])
    func nonsenseEndsTheConnection(_ line: String, _ count: Int) async throws {
        let text = String(repeating: line, count: count) + "!\n"
        #expect(try await open(Array(text.utf8), within: .seconds(10))?.reason == .vmmFailed)
    }

    @Test func aLineWithoutEndEndsTheConnection() async throws {
        let endless = [UInt8](repeating: 32, count: LineDecoder.limit + 100)
        #expect(try await open(endless, within: .seconds(10))?.reason == .vmmFailed)
    }

    @Test(arguments: ["", "{\"QMP\":{}}\n"])
    func silenceEndsAtTheDeadline(_ text: String) async throws {
        #expect(try await open(Array(text.utf8), within: .milliseconds(100))?.reason == .deadline)
    }
}
