import RoostTar
import Testing

/// What the headers in `bytes` come to; content is not expected.
private func members(
    _ bytes: [UInt8],
    limit: Int = 1 << 16
) throws(TarProblem) -> [TarMember] {
    var headers = TarHeaders(extensionLimit: limit)
    var found: [TarMember] = []
    var rest = bytes[...]
    while rest.count >= TarHeaders.blockSize {
        let block = Array(rest.prefix(TarHeaders.blockSize))
        rest = rest.dropFirst(TarHeaders.blockSize)
        switch try headers.take(block: block) {
        case .extension(let count):
            try headers.take(extension: Array(rest.prefix(count)))
            rest = rest.dropFirst(count + TarHeaders.padding(after: UInt64(count)))
        case .member(let member): found.append(member)
        case .end: return found
        }
    }
    return found
}

/// A pax header with `records`, then a file.
private func pax(_ records: String, letter: Character = "x") -> [UInt8] {
    var header = TarMember(.other(letter.asciiValue ?? 0), path: Array("pax".utf8))
    header.size = UInt64(records.utf8.count)
    let padding = [UInt8](repeating: 0, count: TarHeaders.padding(after: header.size))
    return header.encoded() + Array(records.utf8) + padding
        + TarMember(.file, path: Array("f".utf8)).encoded()
}

/// `block` with other bytes at `offset`, and its checksum made right again.
private func changed(_ block: [UInt8], _ text: String, at offset: Int) -> [UInt8] {
    var block = block
    block.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
    block.replaceSubrange(148..<156, with: Array(repeating: 32, count: 8))
    let sum = String(block.reduce(0) { $0 + Int($1) }, radix: 8)
    let padded = String(repeating: "0", count: 6 - sum.count) + sum + "\0 "
    block.replaceSubrange(148..<156, with: padded.utf8)
    return block
}

@Suite("Tar headers")
struct HeaderTests {
    static let written: [TarMember] = {
        var all: [TarMember] = []
        let kinds: [TarMember.Kind] = [
            .file, .hardLink, .symbolicLink, .characterDevice, .blockDevice, .directory, .fifo,
            .other(0x53),
        ]
        for kind in kinds {
            var member = TarMember(kind, path: Array("a/b".utf8))
            member.link = Array("c".utf8)
            member.mode = 0o4751
            member.modified = 1_700_000_000
            if kind == .characterDevice || kind == .blockDevice {
                (member.major, member.minor) = (1, 3)
            }
            all.append(member)
        }
        var far = TarMember(.file, path: Array(repeating: 0x78, count: 300))
        far.link = Array(repeating: 0xFF, count: 101)
        (far.user, far.group, far.size, far.modified) = (.max, .max, 1 << 61, -5)
        all.append(far)
        var late = TarMember(.file, path: Array(repeating: 0x79, count: 100))
        (late.user, late.size, late.modified) = (0o7777777, 0o77777777777, 0o77777777777)
        all.append(late)
        return all
    }()

    @Test(arguments: written)
    func whatIsWrittenIsReadTheSame(member: TarMember) throws {
        #expect(try members(member.encoded()) == [member])
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let problem: TarProblem
        let bytes: [UInt8]
    }

    static let file = TarMember(.file, path: Array("f".utf8)).encoded()
    static let refusals = [
        Refusal(
            testDescription: "checksum",
            problem: .checksum,
            bytes: Array("x".utf8) + file.dropFirst()
        ),
        Refusal(
            testDescription: "a sign in an octal number",
            problem: .number(field: "mode", path: [0x66]),
            bytes: changed(file, "+000644", at: 100)
        ),
        Refusal(
            testDescription: "a negative size",
            problem: .number(field: "size", path: [0x66]),
            bytes: {
                var block = file
                block.replaceSubrange(124..<136, with: [UInt8](repeating: 0xFF, count: 12))
                return changed(block, "", at: 0)
            }()
        ),
        Refusal(
            testDescription: "a sign in a record's length",
            problem: .record,
            bytes: pax("+9 path=x\n")
        ),
        Refusal(testDescription: "a record too long", problem: .record, bytes: pax("99 path=x\n")),
        Refusal(testDescription: "a record of no key", problem: .record, bytes: pax("7 path\n")),
        // Found by reading: its absolute value is no number, and taking it was a trap.
        Refusal(
            testDescription: "the earliest time there is",
            problem: .value(key: "mtime", value: Array("-9223372036854775808".utf8)),
            bytes: pax("30 mtime=-9223372036854775808\n")
        ),
        Refusal(
            testDescription: "a sign in a time's fraction",
            problem: .value(key: "mtime", value: Array("1.+5".utf8)),
            bytes: pax("14 mtime=1.+5\n")
        ),
        Refusal(
            testDescription: "a size that fits no disk",
            problem: .value(key: "size", value: Array("4611686018427387904".utf8)),
            bytes: pax("28 size=4611686018427387904\n")
        ),
        Refusal(
            testDescription: "sparse",
            problem: .sparse("GNU.sparse.major"),
            bytes: pax("22 GNU.sparse.major=1\n")
        ),
        Refusal(
            testDescription: "too many attributes",
            problem: .tooManyAttributes,
            bytes: pax((0...256).map { "25 SCHILY.xattr.u.\($0 + 1000)=x\n" }.joined())
        ),
        Refusal(
            testDescription: "seventeen headers",
            problem: .tooManyExtensions,
            bytes: Array(repeating: pax("").prefix(512), count: 17).flatMap { $0 }
        ),
        Refusal(
            testDescription: "a long header",
            problem: .extensionTooLong(bytes: 1 << 17, limit: 1 << 16),
            bytes: pax(String(repeating: "x", count: 1 << 17))
        ),
        Refusal(
            testDescription: "no member after a header",
            problem: .endsInHeaders,
            bytes: Array(pax("").prefix(512)) + [UInt8](repeating: 0, count: 512)
        ),
    ]

    @Test(arguments: refusals)
    func isRefused(refusal: Refusal) {
        #expect(throws: refusal.problem) { try members(refusal.bytes) }
    }

    @Test func recordsHoldForOneMemberAndGlobalOnesForAll() throws {
        let bytes = pax("11 gid=700\n", letter: "g") + pax("10 uid=42\n") + Self.file
        let found = try members(bytes)
        #expect(found.map(\.group) == [700, 700, 700])
        #expect(found.map(\.user) == [0, 42, 0])
    }

    @Test(arguments: [
        ("1.5", 1, 500_000_000), ("-0.25", -1, 750_000_000), ("-3", -3, 0),
        ("1700000000.1234567899", 1_700_000_000, 123_456_789),
    ])
    func timesAreReadToTheNanosecond(text: String, seconds: Int64, nanoseconds: UInt32) throws {
        let record = " mtime=\(text)\n"
        let found = try members(pax("\(record.utf8.count + 2)\(record)"))
        #expect(found.map(\.modified) == [seconds])
        #expect(found.map(\.nanoseconds) == [nanoseconds])
    }

    @Test func aFileWhoseNameEndsInASlashIsADirectory() throws {
        #expect(
            try members(TarMember(.file, path: Array("d/".utf8)).encoded()).map(\.kind) == [
                .directory
            ]
        )
    }
}
