import Foundation
import NIOCore
import Testing

@testable import RoostConnect

@Suite("Bytes from outside")
struct BytesTests {
    /// Text that packs well, text that does not, and none.
    static let samples: [[UInt8]] = [
        [], Array("hello hello hello hello".utf8), [UInt8](repeating: 0, count: 100_000),
        noise(70_000, symbols: 256), noise(50_000, symbols: 3),
    ]

    /// Bytes of `symbols` values that follow no simple rule (xorshift).
    static func noise(_ count: Int, symbols: UInt64) -> [UInt8] {
        var state: UInt64 = 88_172_645_463_325_252
        var bytes: [UInt8] = []
        for _ in 0..<count {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            bytes.append(UInt8(state % symbols))
        }
        return bytes
    }

    @Test(arguments: samples)
    func whatGzipPacksIsUnpacked(sample: [UInt8]) async throws {
        let packed = try await gzip(Data(sample))
        #expect(try Inflate.gzip(Array(packed), limit: 1 << 20) == sample)
    }

    @Test func moreThanTheLimitIsRefused() async throws {
        let packed = try await gzip(Data(repeating: 1, count: 1000))
        #expect(try Inflate.gzip(Array(packed), limit: 1000).count == 1000)
        #expect(throws: Inflate.Problem.tooLarge) { try Inflate.gzip(Array(packed), limit: 999) }
    }

    @Test func cutBytesAreDamagedAndFlippedOnesNeverSaySomethingElse() async throws {
        let sample = Self.noise(400, symbols: 5)
        let packed = Array(try await gzip(Data(sample)))
        for length in 0..<packed.count {
            #expect(throws: Inflate.Problem.damaged) {
                try Inflate.gzip(Array(packed.prefix(length)), limit: 1 << 20)
            }
        }
        var refused = 0
        for index in packed.indices {
            for bit in 0..<8 {
                var flipped = packed
                flipped[index] ^= 1 << UInt8(bit)
                do throws(Inflate.Problem) {
                    // The header's time and the bits after the last code say nothing.
                    let content = try Inflate.gzip(flipped, limit: 1 << 20)
                    #expect(content == sample)
                } catch {
                    refused += 1
                }
            }
        }
        #expect(refused > packed.count * 7)
    }

    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
    ])
    func base64IsAsTheStandardSays(text: String, encoded: String) {
        let bytes = Array(text.utf8)
        #expect(Base64.encode(bytes, padded: true) == encoded)
        #expect(Base64.decode(encoded) == bytes)
        #expect(Base64.decode(Base64.encode(bytes, padded: false)) == bytes)
    }

    @Test(arguments: ["A", "AA=A", "A===", "Z.==", "AAAAA"])
    func whatIsNoBase64IsRefused(text: String) {
        #expect(Base64.decode(text) == nil)
    }

    @Test func framesAreCutWhereverTheBytesArrive() throws {
        let frames = [Frame(flags: 0, bytes: [1, 2, 3]), Frame(flags: 2, bytes: [])]
        let all = frames.flatMap { Array($0.encoded.readableBytesView) }
        for cut in 0...all.count {
            var decoder = FrameDecoder(limit: 3)
            var found: [Frame] = []
            for piece in [all.prefix(cut), all.dropFirst(cut)] {
                decoder.append(ByteBuffer(bytes: piece))
                while let frame = try decoder.next() { found.append(frame) }
            }
            try decoder.finish()
            #expect(found == frames)
        }
    }

    @Test func aWriterWaitsForASlowReaderAndHearsOfItsEnd() async throws {
        let handoff = Handoff<Int>(capacity: 2)
        let writing = Task {
            var sent = 0
            while sent < 100 {
                try await handoff.send(sent)
                sent += 1
            }
            handoff.finish()
        }
        var got: [Int] = []
        while let next = await handoff.next() { got.append(next) }
        #expect(got == Array(0..<100))
        try await writing.value
        let abandoned = Handoff<Int>(capacity: 1)
        let blocked = Task {
            while true { try await abandoned.send(1) }
        }
        _ = await abandoned.next()
        abandoned.abandon()
        await #expect(throws: (any Error).self) { try await blocked.value }
    }

    @Test func aWriterThatIsCancelledWaitsNoLongerAndLosesNothing() async throws {
        let handoff = Handoff<Int>(capacity: 1)
        try await handoff.send(1)
        let waiting = Task { try await handoff.send(2) }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        // What ends a call is said by a task that may be cancelled already.
        let late = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            try await handoff.send(3)
        }
        await #expect(throws: CancellationError.self) { try await late.value }
        handoff.finish()
        var got: [Int] = []
        while let next = await handoff.next() { got.append(next) }
        #expect(got == [1, 2, 3])
    }

    @Test(arguments: [
        ("0", "0m"), ("200", "200m"), ("99999999", "99999999m"), ("100000000", "100000S"),
        ("9999999999", "9999999S"),
    ])
    func timeoutsFitGRPCsEightDigits(milliseconds: String, timeout: String) {
        #expect(Incoming.timeout(milliseconds: milliseconds) == timeout)
    }

    @Test(arguments: ["", "-1", "1.5", "12345678901", "1s", "٣"])
    func otherTimeoutsAreRefused(text: String) {
        #expect(Incoming.timeout(milliseconds: text) == nil)
    }
}
