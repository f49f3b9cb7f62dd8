import CRoostLinux
import Dispatch
import Foundation
import RoostAgent
import RoostGuestWire
import RoostHost
import RoostModel
import RoostNode
import Testing

/// One end of a socket pair, with a thread of its own for each direction.
final class SocketStream: ByteStream {
    private let descriptor: Int32
    private let reading = DispatchQueue(label: "read")
    private let writing = DispatchQueue(label: "write")

    init(_ descriptor: Int32) { self.descriptor = descriptor }
    deinit { Glibc.close(descriptor) }

    func read(upTo limit: Int) async throws(Fault) -> [UInt8] {
        let descriptor = descriptor
        return await withCheckedContinuation { continuation in
            reading.async {
                var bytes = [UInt8](repeating: 0, count: limit)
                let count = Glibc.read(descriptor, &bytes, limit)
                continuation.resume(returning: Array(bytes.prefix(max(0, count))))
            }
        }
    }

    func write(_ bytes: [UInt8]) async throws(Fault) {
        let descriptor = descriptor
        await withCheckedContinuation { continuation in
            writing.async {
                var rest = bytes[...]
                while !rest.isEmpty {
                    let count = rest.withUnsafeBytes {
                        send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                    }
                    if count <= 0 { break }
                    rest = rest.dropFirst(count)
                }
                continuation.resume()
            }
        }
    }

    func close() async { shutdown(descriptor, Int32(SHUT_RDWR)) }
}

/// The real agent on a thread of its own, and the channel to it. `log` is its log's descriptor, which
/// it closes.
func withAgent(
    log: Int32? = nil,
    _ body: (GuestConnection) async throws -> Void
) async throws {
    var ends: [Int32] = [-1, -1]
    try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
    let (host, guest) = (ends[0], ends[1])
    let thread = Thread {
        let role = Agent.Role(isInit: false, mayChangeMachine: false, endsWithPeer: true)
        Agent(channel: guest, log: log, role: role)?.run()
    }
    thread.start()
    let connection = GuestConnection(
        over: SocketStream(host),
        nonce: .random(in: .min ... .max),
        now: nil,
        vm: "box"
    )
    async let serving: Void = connection.run()
    do {
        _ = try await connection.ready()
        try await body(connection)
    } catch {
        await connection.close()
        await serving
        throw error
    }
    await connection.close()
    await serving
}

/// What a command said in all.
struct Outcome: Equatable {
    var stdout = ""
    var stderr = ""
    var status: CommandEnd?
}

extension GuestSession {
    /// Reads to the end.
    func outcome() async throws -> Outcome {
        var outcome = Outcome()
        while let output = try await next() {
            switch output {
            case .stdout(let bytes): outcome.stdout += String(decoding: bytes, as: UTF8.self)
            case .stderr(let bytes): outcome.stderr += String(decoding: bytes, as: UTF8.self)
            case .exited(let status): outcome.status = status
            }
        }
        return outcome
    }
}

/// A request under a fresh session id.
func command(_ arguments: String...) -> ExecRequest {
    ExecRequest(session: (0..<16).map { _ in .random(in: 0...255) }, arguments: arguments)
}

/// A fresh directory that is removed afterwards.
func withDirectory(_ body: (String) async throws -> Void) async throws {
    let path = "/tmp/roost-agent-test-\(UInt64.random(in: .min ... .max))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(atPath: path) }
    try await body(path)
}
