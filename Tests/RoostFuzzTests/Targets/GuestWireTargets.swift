@testable import RoostGuestWire

let guestWireTargets = [
    FuzzTarget(name: "guest-stream", check: guestStream),
    FuzzTarget(name: "guest-frame", check: guestFrame),
    FuzzTarget(name: "guest-answer", check: guestAnswer),
    FuzzTarget(name: "guest-log", check: guestLog),
]

/// What a guest writes for its log: pieces change nothing, and nothing but what was written is shown.
private func guestLog(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let size = max(Int(steering.byte()), 1)
    let showsTimes = steering.byte() & 1 == 1
    let filter = GuestLogFilter([.stdout, .kernel], showsTimes: showsTimes)
    let whole = filter.select(from: steering.rest)
    try promise(whole.used <= steering.rest.count, "\(whole.used) of \(steering.rest.count)")
    try promise(whole.text.count <= whole.used, "\(whole.text.count) of \(whole.used) bytes")
    var (held, shown): ([UInt8], [UInt8]) = ([], [])
    for piece in pieces(steering.rest, of: UInt8(size)) {
        held += piece
        let (text, used) = filter.select(from: held[...])
        shown += text
        held.removeFirst(used)
        try promise(held.count <= 2 * GuestLogRecord.textLimit, "\(held.count) bytes are held")
    }
    try promise(shown == whole.text, "pieces of \(size) bytes gave other text")
    for line in steering.rest.split(separator: 10) {
        guard let record = GuestLogRecord(line: line) else { continue }
        try promise(record.encoded.dropLast().elementsEqual(line), "\(record) became other bytes")
    }
}

/// A connection's bytes, in pieces: the same preambles are found, and memory is bounded.
private func guestStream(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let size = steering.byte()
    let side: Hello.Side = size & 1 == 0 ? .guest : .host
    let whole = try read(pieces(steering.rest, of: 0), as: side)
    let cut = try read(pieces(steering.rest, of: max(size, 1)), as: side)
    try promise(whole.hellos == cut.hellos, "pieces gave \(cut.hellos), not \(whole.hellos)")
    // The beginning of a second magic, even of no preamble, may complete a frame before it.
    let bytes = Array(steering.rest)
    let hasSecond = bytes.withUnsafeBufferPointer { bytes in
        offsetOfMagic(in: bytes, from: 0)
            .flatMap { offsetOfMagic(in: bytes, from: $0 + 1) } != nil
    }
    if !hasSecond, whole.errors == 0, cut.errors == 0 {
        try promise(whole.frames == cut.frames, "pieces gave \(cut.frames), not \(whole.frames)")
    }
}

private struct Heard {
    var hellos: [Hello] = []
    var frames: [Frame] = []
    var errors = 0
}

/// Goes on after errors with the next preamble, as the agent does.
private func read(_ pieces: [[UInt8]], as side: Hello.Side) throws -> Heard {
    var decoder = FrameDecoder()
    var mux: Mux?
    var heard = Heard()
    for piece in pieces {
        let before = decoder.buffered
        decoder.feed(piece)
        try promise(decoder.buffered <= before + piece.count, "more is held than was fed")
        var isDone = false
        while !isDone {
            do throws(WireError) {
                switch try decoder.next() {
                case nil: isDone = true
                case .hello(let hello):
                    heard.hellos.append(hello)
                    var new = Mux(side: side, epoch: hello.epoch, peer: hello)
                    if side == .host { _ = new.open(window: 4096) }
                    mux = new
                case .frame(let frame):
                    heard.frames.append(frame)
                    _ = try mux?.receive(frame)
                }
            } catch {
                heard.errors += 1
                decoder.desynchronize()
            }
        }
        if let mux {
            try promise(mux.count <= WireLimits.streams, "\(mux.count) streams")
            let limit = WireLimits.streams * WireLimits.credit
            try promise(mux.grantedBytes <= limit, "\(mux.grantedBytes) bytes are granted")
        }
    }
    return heard
}

/// One frame's payload: what was read is written and read the same.
private func guestFrame(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let kind = steering.byte() % 10
    guard steering.rest.count <= WireLimits.framePayload,
        let body = try? Frame.Body(kind: kind, payload: steering.rest)
    else { return }
    let frame = Frame(epoch: 5, stream: 3, body: body)
    let encoded = frame.encoded()
    let magic = encoded.withUnsafeBufferPointer { offsetOfMagic(in: $0, from: 0) }
    // Data is cut where it holds the magic; every other frame that holds it came as no frame.
    guard magic == nil else { return }
    var decoder = FrameDecoder()
    decoder.feed(Hello(side: .host, nonce: 5).encoded() + encoded)
    _ = try decoder.next()
    var bodies: [Frame.Body] = []
    while case .frame(let next) = try decoder.next() { bodies.append(next.body) }
    if case .data(let channel, let bytes) = body {
        var joined: [UInt8] = []
        for case .data(channel, let part) in bodies { joined += part }
        try promise(joined == bytes, "data became other data")
    } else {
        try promise(bodies == [body], "\(body) became \(bodies)")
    }
}

/// The answers that a host collects whole.
private func guestAnswer(_ input: [UInt8]) throws {
    var steering = Steering(input)
    switch steering.byte() % 3 {
    case 0: try roundTrip(GuestStats.self, Array(steering.rest))
    case 1: try roundTrip([ListeningPort].self, Array(steering.rest))
    default: try roundTrip([SessionSummary].self, Array(steering.rest))
    }
}

private func roundTrip<A: Answer & Equatable>(_ type: A.Type, _ bytes: [UInt8]) throws {
    guard let answer = try? A(decoding: bytes) else { return }
    let again = try A(decoding: answer.encoded())
    try promise(again == answer, "\(answer) became \(again)")
}
