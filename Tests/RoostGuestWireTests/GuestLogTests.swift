import RoostGuestWire
import Testing

@Suite("The guest's log")
struct GuestLogTests {
    private let time = "2026-11-21T19:27:33.123456789Z"

    private func record(
        _ stream: GuestLogRecord.Stream,
        _ text: String,
        isPartial: Bool = false
    ) -> GuestLogRecord {
        GuestLogRecord(
            time: time,
            stream: stream,
            isPartial: isPartial,
            text: Array(text.utf8)[...]
        )
    }

    private func select(
        _ bytes: [UInt8],
        _ streams: Set<GuestLogRecord.Stream> = [.stdout, .stderr],
        showsTimes: Bool = false
    ) -> (text: String, used: Int) {
        let found = GuestLogFilter(streams, showsTimes: showsTimes).select(from: bytes[...])
        return (String(decoding: found.text, as: UTF8.self), found.used)
    }

    @Test("has the form of the container runtime interface")
    func form() {
        let line = String(decoding: record(.stdout, "on 8080 ").encoded, as: UTF8.self)
        #expect(line == "\(time) stdout F on 8080 \n")
    }

    @Test("reads back every record as it was", arguments: GuestLogRecord.Stream.allCases)
    func roundTrip(stream: GuestLogRecord.Stream) {
        for text in ["", " ", "a b  c", "\u{7f}é"] {
            for isPartial in [false, true] {
                let written = record(stream, text, isPartial: isPartial)
                #expect(GuestLogRecord(line: written.encoded.dropLast()) == written)
            }
        }
    }

    @Test(
        "takes nothing for a record that is none",
        arguments: [
            "", "x", "2026-11-21T19:27:33Z stdout F", "2026-11-21T19:27:33Z other F x",
            "2026-11-21T19:27:33Z stdout Q x", "2026-11-21T19:27:33Z stdout FF x",
            "yesterday stdout F x", "2026-11-21T19:27:33+01:00 stdout F x",
            "2026-11-21T19:27:3\u{1b}[1mZ stdout F x",
        ]
    )
    func strange(line: String) { #expect(GuestLogRecord(line: Array(line.utf8)[...]) == nil) }

    @Test("gives each writer's lines alone, and joins what was cut")
    func filter() {
        let bytes =
            record(.stdout, "one").encoded + record(.kernel, "boot").encoded
            + record(.stderr, "two").encoded + record(.stdout, "thr", isPartial: true).encoded
            + record(.stdout, "ee").encoded
        #expect(select(bytes) == ("one\ntwo\nthree\n", bytes.count))
        #expect(select(bytes, [.kernel]) == ("boot\n", bytes.count))
        #expect(select(bytes, [.kernel], showsTimes: true) == ("\(time) boot\n", bytes.count))
    }

    @Test("leaves the beginning of a record for the next time, and skips the rest of one")
    func edges() {
        let whole = record(.stdout, "one").encoded
        let next = record(.stdout, "two").encoded
        for cut in 1..<next.count {
            #expect(select(whole + next.prefix(cut)) == ("one\n", whole.count))
        }
        for cut in 1..<(whole.count - 1) {
            let tail = Array(whole.dropFirst(cut))
            #expect(select(tail + next) == ("two\n", tail.count + next.count))
        }
    }

    @Test("waits for no end of what is longer than a record can be")
    func flood() {
        let flood = [UInt8](repeating: 65, count: 2 * GuestLogRecord.textLimit + 1)
        #expect(select(flood) == ("", flood.count))
        #expect(select(Array(flood.dropLast())) == ("", 0))
    }
}

@Suite("A text in JSON")
struct JSONStringTests {
    @Test(
        "escapes what JSON has escaped",
        arguments: [
            ("", "\"\""), ("a\"b\\c", "\"a\\\"b\\\\c\""), ("\n\r\t", "\"\\n\\r\\t\""),
            ("\u{1}\u{7f}é", "\"\\u0001\\u007fé\""),
        ]
    )
    func escapes(text: String, json: String) { #expect(jsonString(text) == json) }
}
