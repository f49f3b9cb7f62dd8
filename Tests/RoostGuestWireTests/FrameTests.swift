import RoostGuestWire
import Testing

private let id = Array(UInt8(1)...16)

private var richExec: ExecRequest {
    var request = ExecRequest(session: id, arguments: ["sh", "-c", "echo ü"])
    request.environment = ["A=1", "B="]
    request.directory = "/tmp"
    request.user = "bob:wheel"
    request.timeoutMilliseconds = 5_000
    request.terminal = TerminalSize(rows: 24, columns: 80)
    request.hasInput = true
    request.onDetach = .drop
    request.from = 77
    return request
}

private var renewal: RenewRequest {
    var request = RenewRequest(entropy: Array(repeating: 7, count: 64))
    request.machineID = id
    request.hostname = "box"
    request.wallClock = 1
    request.ethernet = [0x52, 0x54, 1, 2, 3, 4]
    request.address = "10.0.2.15/24"
    return request
}

private let requests: [Request] = [
    .exec(richExec), .exec(ExecRequest(session: id, arguments: ["true"])),
    .attach(session: id, from: 9, killOnDetach: true), .listSessions,
    .signal(session: id, number: 15), .readFile(path: "/etc/hostname"), .facts(path: "/etc"),
    .writeFile(WriteFileRequest(path: "/x", mode: 0o644, uid: 1, gid: 2, size: 3)),
    .writeFile(WriteFileRequest(path: "/x", mode: 0o644, uid: 1, gid: 2, size: nil)),
    .tarOut(path: "/srv", contentsOnly: true), .tarIn(path: "/srv", ownersFromArchive: false),
    .stats, .ports, .setHostname("a"), .setClock(-1), .renewIdentity(renewal), .freeze, .thaw,
    .settle,
    .shutdown(reboot: true, graceMilliseconds: 100),
]

private let messages: [Message] = [
    .started(pid: 1, from: 2, attached: true), .exited(CommandEnd(.code(7), timedOut: true)),
    .exited(CommandEnd(.signal(9))), .exited(CommandEnd(.unknown)),
    .failed(GuestFailure(.diskFull, errno: 28, "no room")),
    .file(FileFacts(mode: 0o100_644, uid: 1, gid: 2, size: 3, modified: -4)),
    .done(bytes: 5), .resize(TerminalSize(rows: 1, columns: 2)), .signal(2),
]

private let frames: [Frame] =
    (requests.map { Frame.Body.open(credit: 4_096, $0) } + messages.map { .message($0) } + [
        .data(.stderr, [1, 2, 3]), .data(.main, []), .credit(9), .end, .reset, .ping(1), .pong(2),
        .event(.ready), .goOn,
    ]).map { Frame(epoch: 5, stream: 3, body: $0) }

private func synchronized() -> FrameDecoder {
    var decoder = FrameDecoder()
    decoder.feed(Hello(side: .host, nonce: 5).encoded())
    _ = try? decoder.next()
    return decoder
}

@Suite("Frames")
struct FrameTests {
    @Test(arguments: frames)
    func everyFrameComesBackAsItWentEvenByteByByte(frame: Frame) throws {
        var decoder = synchronized()
        let bytes = frame.encoded()
        for byte in bytes.dropLast() {
            decoder.feed([byte])
            #expect(try decoder.next() == nil)
        }
        decoder.feed(bytes.suffix(1))
        #expect(try decoder.next() == .frame(frame))
        #expect(try decoder.next() == nil)
    }

    @Test(arguments: frames)
    func aPayloadCutAnywhereIsRefusedAndNeverTrapped(frame: Frame) throws {
        if case .data = frame.body { return }
        let whole = frame.encoded()
        for count in 0..<(whole.count - Frame.headerSize) {
            var cut = Array(whole.prefix(Frame.headerSize + count))
            cut[1] = UInt8(count & 0xFF)
            cut[2] = UInt8(count >> 8)
            var decoder = synchronized()
            decoder.feed(cut)
            #expect(throws: WireError.self) { try decoder.next() }
        }
    }

    @Test func bytesAfterTheLastFieldAreRefused() {
        var bytes = Frame(epoch: 5, stream: 1, body: .ping(1)).encoded()
        bytes[1] += 1
        var decoder = synchronized()
        decoder.feed(bytes + [0])
        #expect(throws: WireError.trailingBytes(1)) { try decoder.next() }
    }

    @Test func anOversizedFrameIsRefusedByItsHeaderAlone() {
        var decoder = synchronized()
        decoder.feed([3, 1, 0, 1, 0, 5, 0, 0, 0, 1, 0, 0, 0])
        #expect(throws: WireError.oversizedFrame(65_537)) { try decoder.next() }
    }

    @Test(arguments: [
        (UInt8(0), WireError.unknownKind(0)), (77, .unknownKind(77)), (255, .unknownKind(255)),
    ])
    func anUnknownKindIsRefused(kind: UInt8, error: WireError) {
        var decoder = synchronized()
        decoder.feed([kind, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0])
        #expect(throws: error) { try decoder.next() }
    }

    @Test func randomBytesNeverTrapAndNeverPileUp() {
        var seed: UInt64 = 42
        var decoder = synchronized()
        for round in 0..<3_000 {
            var bytes: [UInt8] = []
            for _ in 0..<200 {
                seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                bytes.append(UInt8(truncatingIfNeeded: seed >> 40) & (round % 2 == 0 ? 0x0F : 0xFF))
            }
            if round % 50 == 0 { bytes += Hello(side: .host, nonce: 1).encoded() }
            decoder.feed(bytes)
            while true {
                do {
                    guard try decoder.next() != nil else { break }
                } catch {
                    decoder.desynchronize()
                }
            }
            #expect(decoder.buffered <= WireLimits.framePayload + 4_096)
        }
    }

    // Found by the fuzzer's target: the magic was looked for behind the frame that its beginning
    // completed, and the new host was never heard.
    @Test(arguments: 1...15)
    func aMagicWhoseBeginningCompletesADeadHostsFrameIsFound(count: Int) throws {
        let hello = Hello(side: .host, nonce: 6)
        let whole = Frame(epoch: 5, stream: 1, body: .data(.main, Array(repeating: 1, count: 40)))
        var decoder = synchronized()
        decoder.feed(whole.encoded().dropLast(count) + hello.encoded().prefix(count))
        _ = try decoder.next()
        #expect(try decoder.next() == nil)
        decoder.feed(hello.encoded().dropFirst(count))
        #expect(try decoder.next() == .hello(hello))
    }

    @Test func changedBytesOfValidFramesNeverTrap() {
        for frame in frames {
            let bytes = frame.encoded()
            for index in bytes.indices {
                for change: UInt8 in [1, 0x80, 0xFF] {
                    var changed = bytes
                    changed[index] ^= change
                    var decoder = synchronized()
                    decoder.feed(changed)
                    _ = try? decoder.next()
                }
            }
        }
    }
}

@Suite("Preamble")
struct PreambleTests {
    @Test func itIsFoundAfterGarbageAndInTheMiddleOfADeadHostsFrame() throws {
        var decoder = synchronized()
        let dead = Frame(epoch: 5, stream: 1, body: .data(.main, Array(repeating: 1, count: 999)))
        decoder.feed(dead.encoded().prefix(300))
        #expect(try decoder.next() == nil)
        let hello = Hello(side: .host, nonce: 6)
        let frame = Frame(epoch: 6, stream: 1, body: .end)
        decoder.feed(hello.encoded() + frame.encoded())
        #expect(try decoder.next() == .hello(hello))
        #expect(try decoder.next() == .frame(frame))
    }

    @Test func framesBeforeANewPreambleAreStillDelivered() throws {
        var decoder = synchronized()
        let frame = Frame(epoch: 5, stream: 1, body: .end)
        let hello = Hello(side: .host, nonce: 6)
        decoder.feed(frame.encoded() + hello.encoded())
        #expect(try decoder.next() == .frame(frame))
        #expect(try decoder.next() == .hello(hello))
    }

    @Test func aPreambleWithAWrongChecksumIsGarbage() throws {
        var decoder = FrameDecoder()
        var bytes = Hello(side: .host, nonce: 6).encoded()
        bytes[20] ^= 1
        decoder.feed(bytes)
        #expect(try decoder.next() == nil)
        let hello = Hello(side: .guest, nonce: 7, software: "x")
        decoder.feed(hello.encoded())
        #expect(try decoder.next() == .hello(hello))
    }

    // A file that holds a preamble must not end the conversation that carries it.
    @Test func dataThatHoldsPreamblesPassesThroughUnharmed() throws {
        let evil = Hello(side: .host, nonce: 9).encoded() + Hello.magic + Hello.magic.prefix(9)
        let sent = Array(repeating: evil, count: 20).flatMap { $0 }
        var decoder = synchronized()
        decoder.feed(Frame(epoch: 5, stream: 1, body: .data(.main, sent)).encoded())
        var received: [UInt8] = []
        while let item = try decoder.next() {
            guard case .frame(let frame) = item, case .data(_, let bytes) = frame.body else {
                Issue.record("a preamble was seen inside data")
                return
            }
            received += bytes
        }
        #expect(received == sent)
    }
}
