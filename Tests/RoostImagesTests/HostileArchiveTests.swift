import RoostModel
import Testing

@testable import RoostImages

@Suite("Hostile archives")
struct HostileArchiveTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let reason: Reason
        let mentions: String
        let build: @Sendable (inout Archive) -> Void
    }

    static let cases = [
        Case(testDescription: "dot dot", reason: .archiveInvalid, mentions: "a/../../b") {
            $0.add("a/../../b")
        },
        Case(testDescription: "absolute", reason: .archiveInvalid, mentions: "/etc/passwd") {
            $0.add("/etc/passwd")
        },
        Case(
            testDescription: "hard link out",
            reason: .archiveInvalid,
            mentions: "../../etc/shadow"
        ) { $0.add("a", type: "1", link: "../../etc/shadow") },
        Case(testDescription: "hard link to nothing", reason: .archiveInvalid, mentions: "\"a\"") {
            $0.add("a", type: "1", link: "b")
        },
        Case(testDescription: "hard link to a directory", reason: .archiveInvalid, mentions: "d") {
            $0.add("d", type: "5")
            $0.add("a", type: "1", link: "d")
        },
        Case(testDescription: "through a link", reason: .archiveInvalid, mentions: "l/passwd") {
            $0.add("l", type: "2", link: "/etc")
            $0.add("l/passwd")
        },
        Case(testDescription: "below a file", reason: .archiveInvalid, mentions: "f/x") {
            $0.add("f")
            $0.add("f/x")
        },
        Case(
            testDescription: "file over full directory",
            reason: .archiveInvalid,
            mentions: "\"d\""
        ) {
            $0.add("d/x")
            $0.add("d")
        },
        Case(testDescription: "8 EiB", reason: .limitExceeded, mentions: "huge") {
            $0.add("huge", size: 1 << 61)
        },
        Case(testDescription: "negative size", reason: .archiveInvalid, mentions: "n") {
            $0.add("n", size: .max)
        },
        Case(testDescription: "NUL in a pax path", reason: .archiveInvalid, mentions: "NUL") {
            $0.pax([("path", [0x61, 0, 0x62])])
            $0.add("a")
        },
        Case(testDescription: "empty name", reason: .archiveInvalid, mentions: "empty path") {
            $0.add("")
        },
        Case(testDescription: "long name", reason: .archiveInvalid, mentions: "255") {
            $0.pax([("path", Array(repeating: 0x61, count: 256))])
            $0.add("a")
        },
        Case(testDescription: "long path", reason: .archiveInvalid, mentions: "4100") {
            $0.pax([("path", Array(repeating: [0x61, 0x2F], count: 2050).flatMap { $0 })])
            $0.add("a")
        },
        Case(testDescription: "sparse", reason: .archiveInvalid, mentions: "GNU.sparse.major") {
            $0.pax([("GNU.sparse.major", [0x31])])
            $0.add("a")
        },
        Case(testDescription: "old sparse", reason: .archiveInvalid, mentions: "type \"S\"") {
            $0.add("s", type: "S")
        },
        Case(testDescription: "huge pax header", reason: .limitExceeded, mentions: "1048576") {
            $0.add("pax", type: "x", size: 1 << 30)
        },
        Case(testDescription: "malformed pax", reason: .archiveInvalid, mentions: "malformed") {
            $0.add("pax", type: "x", content: Array("99 path=a\n".utf8))
        },
        Case(testDescription: "device 4096:0", reason: .archiveInvalid, mentions: "4096:0") {
            $0.add("dev", type: "3", device: (4096, 0))
        },
        Case(testDescription: "root as a file", reason: .archiveInvalid, mentions: "root") {
            $0.add("./")
            $0.add(".", type: "0")
        },
        Case(testDescription: "empty link", reason: .archiveInvalid, mentions: "target of 0") {
            $0.add("l", type: "2")
        },
    ]

    @Test(arguments: cases)
    func isRefusedNamingTheEntry(_ hostile: Case) throws {
        var archive = Archive()
        archive.add("before", content: [1, 2, 3])
        hostile.build(&archive)
        let fault = try #require(try faultOfImporting(archive.finished))
        #expect(fault.reason == hostile.reason, "\(fault)")
        #expect(fault.message.contains(hostile.mentions), "\(fault)")
    }

    @Test func namesWithControlCharactersAreKeptInTheImageAndEscapedInMessages() throws {
        var archive = Archive()
        archive.add("a\nb\u{1B}[31m")
        #expect(try faultOfImporting(archive.finished) == nil)
        archive.add("a\nb\u{1B}[31m/../x")
        let fault = try #require(try faultOfImporting(archive.finished))
        #expect(!fault.message.unicodeScalars.contains { $0.value < 0x20 })
        #expect(fault.message.contains("a\\u{a}b"))
    }

    @Test func oneEntryTooManyIsRefusedWithoutReadingOn() throws {
        var archive = Archive()
        for index in 0...100 { archive.add("f\(index)") }
        // Garbage after it would be another fault.
        archive.bytes += Array(repeating: 7, count: 512)
        let fault = try #require(
            try faultOfImporting(archive.bytes, limits: TarLimits(entries: 100))
        )
        #expect(fault == Fault(.limitExceeded, "more than 100 entries in the archive"))
    }

    @Test func anEndlessArchiveIsRefusedSoon() throws {
        let header = Archive.header(
            Array("x".utf8),
            type: "0",
            mode: 0o644,
            owner: 0,
            time: 0,
            link: "",
            size: 0,
            device: (0, 0)
        )
        var sent = 0
        let reader = TarReader(
            ByteSource { buffer throws(Fault) in
                let count = buffer.count / 512 * 512
                for start in stride(from: 0, to: count, by: 512) {
                    UnsafeMutableRawBufferPointer(rebasing: buffer[start..<start + 512])
                        .copyBytes(from: header)
                }
                sent += count / 512
                return count
            },
            limits: TarLimits(entries: 10_000)
        )
        #expect(TarLimits().entries == 1_000_000)
        #expect(throws: Fault(.limitExceeded, "more than 10000 entries in the archive")) {
            while try reader.next() != nil {}
        }
        #expect(sent < 12_000)
    }

    static let sound: [UInt8] = {
        var archive = Archive()
        archive.add("d/", type: "5", mode: 0o755)
        archive.pax([("path", Array("d/long".utf8)), ("mtime", Array("1.5".utf8))])
        archive.add("x", content: Array(repeating: 9, count: 1500))
        archive.add("d/link", type: "1", link: "d/long")
        archive.add("s", type: "2", link: "d/long")
        return archive.finished
    }()

    @Test func everyCutIsNoticed() throws {
        #expect(try faultOfImporting(Self.sound) == nil)
        // A single block of zeros is an end mark too, as for other readers.
        for length in stride(from: 0, to: Self.sound.count - 1023, by: 61) {
            let fault = try #require(
                try faultOfImporting(Array(Self.sound[..<length])),
                "cut at \(length)"
            )
            #expect(fault.reason == .archiveInvalid)
        }
    }

    @Test func everyChangedHeaderByteIsNoticed() throws {
        // The sum's own field may end in anything.
        for index in 0..<512 where index != 155 {
            var bytes = Self.sound
            bytes[index] ^= 0x15
            let fault = try faultOfImporting(bytes)
            #expect(fault?.reason == .archiveInvalid, "byte \(index)")
        }
    }

    @Test(arguments: 0..<300 as Range<UInt64>)
    func noBrokenArchiveTraps(seed: UInt64) throws {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        func next(_ limit: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(limit))
        }
        var bytes = Self.sound
        for _ in 0...next(12) {
            let header = next(bytes.count / 512) * 512
            bytes[header + next(512)] = UInt8(next(256))
            // With the sum mended the change is believed.
            for index in 148..<156 { bytes[header + index] = 0x20 }
            let sum = bytes[header..<header + 512].reduce(0) { $0 + Int($1) }
            let text = String(sum, radix: 8)
            let padded = String(repeating: "0", count: 6 - text.utf8.count) + text
            bytes.put(Array(padded.utf8) + [0], at: header + 148)
        }
        if let fault = try faultOfImporting(bytes) {
            #expect([.archiveInvalid, .limitExceeded].contains(fault.reason), "\(fault)")
        }
    }
}
