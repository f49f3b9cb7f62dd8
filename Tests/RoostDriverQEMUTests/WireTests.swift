import RoostDriver
import RoostLinux
import RoostModel
import Testing

@testable import RoostDriverQEMU

@Suite("Guest resets")
struct ResetTests {
    private func loops(after gaps: [Duration]) -> Int? {
        var count = ResetCount()
        var now = ContinuousClock.now
        for (index, gap) in gaps.enumerated() {
            now += gap
            if count.count(at: now) { return index }
        }
        return nil
    }

    @Test func aBurstOfEventsIsOneReset() {
        let burst = [Duration.seconds(20)] + Array(repeating: .milliseconds(3), count: 6)
        #expect(loops(after: burst + burst + burst + burst + burst) == nil)
    }

    @Test func aKernelThatPanicsAtEveryBootIsALoop() {
        #expect(loops(after: Array(repeating: .milliseconds(1400), count: 50)) == 5)
    }

    @Test func aGuestThatRebootsEveryQuarterMinuteIsNoLoop() {
        #expect(loops(after: Array(repeating: .seconds(15), count: 500)) == nil)
    }

    @Test func aFloodWithoutPauseIsALoop() {
        #expect(loops(after: Array(repeating: .milliseconds(10), count: 500)) == 60)
    }
}

@Suite("QMP's bytes")
struct WireTests {
    @Test func linesComeOutTheSameHoweverTheBytesAreCut() throws {
        let text = Array("{\"a\":1}\r\n\n{\"b\":2}\nrest".utf8)
        for size in 1...text.count {
            var decoder = LineDecoder()
            var lines: [[UInt8]] = []
            for start in stride(from: 0, to: text.count, by: size) {
                lines += try decoder.feed(Array(text[start..<min(start + size, text.count)]))
            }
            #expect(lines == [Array("{\"a\":1}".utf8), Array("{\"b\":2}".utf8)], "cut by \(size)")
        }
    }

    @Test func aLineThatNeverEndsIsRefusedBeforeItFillsMemory() throws {
        var decoder = LineDecoder()
        let piece = [UInt8](repeating: 65, count: 1 << 16)
        var taken = 0
        #expect(throws: Fault.self) {
            while taken < 8 << 20 {
                _ = try decoder.feed(piece)
                taken += piece.count
            }
        }
        #expect(taken <= LineDecoder.limit)
    }

    @Test(arguments: [
        "", "[]", "null", "{", "{\"return\":{}}", "{\"return\":{},\"id\":\"x\"}", "\u{0}",
        String(repeating: "[", count: 100_000), "{\"id\":1e400,\"return\":1}",
    ])
    func nonsenseIsAFaultAndNeverACrash(_ line: String) {
        #expect(throws: Fault.self) { try QMPMessage(line: Array(line.utf8)) }
    }

    @Test func theFourKindsOfMessageAreTold() throws {
        func read(_ text: String) throws -> QMPMessage { try QMPMessage(line: Array(text.utf8)) }
        #expect(
            try read(#"{"QMP":{"version":{"package":"v7"},"capabilities":[]}}"#)
                == .greeting(version: "v7")
        )
        #expect(
            try read(#"{"return":{"x":true},"id":4}"#)
                == .answer(id: 4, .object(["x": .bool(true)]))
        )
        #expect(
            try read(#"{"error":{"class":"GenericError","desc":"no"},"id":5}"#)
                == .refusal(id: 5, QMPError(kind: "GenericError", text: "no"))
        )
        #expect(
            try read(#"{"event":"STOP","timestamp":{"seconds":1,"microseconds":2}}"#)
                == .event(QMPEvent(name: "STOP", data: .null))
        )
    }
}
