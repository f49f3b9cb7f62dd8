import GRPCCore
import HTTPTypes
import NIOCore

@testable import RoostConnect

let connectTargets = [
    FuzzTarget(name: "inflate", check: inflate),
    FuzzTarget(name: "connect-frames", check: connectFrames),
    FuzzTarget(name: "connect-headers", check: connectHeaders),
]

/// A compressed request: what comes out is within the limit; what was stored comes out again.
private func inflate(_ input: [UInt8]) throws {
    let limit = 1 << 16
    if let output = try? Inflate.gzip(input, limit: limit) {
        try promise(output.count <= limit, "\(output.count) bytes")
    }
    // The raw stream behind a right header: the checksum would stop nearly every mutation.
    let header: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3]
    if let output = try? Inflate.gzip(header + input, limit: limit) {
        try promise(output.count <= limit, "\(output.count) bytes")
    }
}

/// A framed body: pieces change nothing, and base64 comes back as it went.
private func connectFrames(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let size = steering.byte()
    let whole = frames(pieces(steering.rest, of: 0))
    let cut = frames(pieces(steering.rest, of: max(size, 1)))
    try promise(whole == cut, "pieces of \(size) bytes gave \(cut), not \(whole)")
    var again = FrameDecoder(limit: 1 << 16)
    for frame in whole.frames { again.append(frame.encoded) }
    for frame in whole.frames { try promise(try again.next() == frame, "a frame changed") }
    try again.finish()
    let text = Base64.encode(steering.rest, padded: size & 1 == 0)
    try promise(Base64.decode(text).map { $0[...] == steering.rest } == true, "base64 \(text)")
}

private struct Frames: Equatable {
    var frames: [Frame] = []
    var problem = ""
}

private func frames(_ pieces: [[UInt8]]) -> Frames {
    var found = Frames()
    var decoder = FrameDecoder(limit: 1 << 16)
    do throws(RPCError) {
        for piece in pieces {
            decoder.append(ByteBuffer(bytes: piece))
            while let frame = try decoder.next() { found.frames.append(frame) }
        }
        try decoder.finish()
    } catch {
        found.problem = error.message
    }
    return found
}

/// What a request's head says: timeout, content type, metadata.
private func connectHeaders(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let kind = steering.byte()
    let text = steering.text
    switch kind % 4 {
    case 0:
        guard let timeout = Incoming.timeout(milliseconds: text) else { return }
        // gRPC: at most eight digits and a unit.
        try promise((2...9).contains(timeout.utf8.count), "timeout \(timeout)")
    case 1:
        guard let dialect = Dialect(contentType: text) else { return }
        let again = Dialect(contentType: dialect.contentType)
        try promise(again == dialect, "\(dialect) became \(again as Any)")
    case 2:
        let lines = text.split(separator: "\n")
        var fields = HTTPFields()
        for line in lines {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, let name = HTTPField.Name(String(parts[0])) else { continue }
            fields.append(HTTPField(name: name, value: String(parts[1])))
        }
        let metadata = Metadata(fields)
        try promise(metadata.count <= text.utf8.count, "\(metadata.count) entries")
        _ = metadata.headers(prefix: "trailer-")
    default:
        guard let bytes = Base64.decode(text) else { return }
        let again = Base64.decode(Base64.encode(bytes, padded: false))
        try promise(again == bytes, "\(text) became other bytes")
    }
}
