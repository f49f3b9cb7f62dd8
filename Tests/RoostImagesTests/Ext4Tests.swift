import Foundation
import RoostModel
import Testing

@testable import RoostImages

@Suite("ext4 images")
struct Ext4Tests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// Writes an image and lets e2fsck judge it.
    @discardableResult
    private func image(
        _ name: String = "image",
        size: ByteCount = .mebibytes(64),
        journal: Bool = true,
        fill: (Ext4Builder) throws -> Void
    ) throws -> Ext4Summary {
        let file = try DiskFile.creating(folder.file(name))
        let builder = try Ext4Builder(file: file, size: size, journal: journal)
        try fill(builder)
        let summary = try builder.finish()
        let check = try run("e2fsck", ["-fn", folder.file(name)])
        #expect(check.status == 0, "\(check.output)")
        // Warnings do not change the status.
        #expect(!check.output.contains("? no"), "\(check.output)")
        return summary
    }

    private func debugfs(_ command: String, _ name: String = "image") throws -> String {
        try run("debugfs", ["-R", command, folder.file(name)]).output
    }

    @Test(arguments: [1, 2, 7, 8, 127, 128, 129, 300, 1025, 20_000, 2_000_000] as [UInt64])
    func anEmptyDiskOfAnySizeIsClean(mebibytes: UInt64) throws {
        try image(size: .mebibytes(mebibytes)) { _ in }
        let status = try DiskFile.reading(folder.file("image")).status()
        #expect(Int64(status.st_blocks) * 512 < 24 << 20, "an empty disk takes room on the host")
    }

    @Test func everyKindOfFileComesOutAsItWentIn() throws {
        try image { builder in
            let time = FileTime(seconds: 5_000_000_000, nanoseconds: 123_456_789)
            let odd = FileMetadata(mode: 0o4751, user: 70_000, group: 80_001, modified: time)
            try builder.add(content: Array("hello\n".utf8), odd, at: ArchivePath("a/file"))
            try builder.tree.link(ArchivePath("a/other"), to: ArchivePath("a/file"))
            let plain = FileMetadata(mode: 0o644)
            try builder.add(.symbolicLink(Array(repeating: 0x78, count: 59)), plain, at: "fast")
            try builder.add(.symbolicLink(Array(repeating: 0x79, count: 60)), plain, at: "slow")
            try builder.add(.characterDevice(major: 5, minor: 1), plain, at: "console")
            try builder.add(.blockDevice(major: 259, minor: 700), plain, at: "nvme")
            try builder.add(.fifo, plain, at: "fifo")
            try builder.add(.socket, plain, at: "socket")
        }
        let file = try debugfs("stat /a/file")
        #expect(file.contains("Mode:  04751") && file.contains("Links: 2"), "\(file)")
        #expect(file.contains("User: 70000   Group: 80001"), "\(file)")
        #expect(file.contains("mtime: 0x2a05f200:1d6f3455"), "\(file)")
        #expect(try debugfs("cat /a/other").hasSuffix("hello\n"))
        #expect(try debugfs("stat /fast").contains("Fast link dest: \"xxxxx"))
        let slow = try debugfs("cat /slow")
        #expect(slow.hasSuffix(String(repeating: "y", count: 60)))
        #expect(try debugfs("stat /console").contains("05:01"))
        #expect(try debugfs("stat /nvme").contains("259:700"))
        #expect(try debugfs("stat /fifo").contains("Type: FIFO"))
        #expect(try debugfs("stat /socket").contains("Type: socket"))
    }

    @Test func attributesFitBehindTheInodeOrIntoABlock() throws {
        let capability: [UInt8] = [1, 0, 0, 2, 0, 32, 0, 0] + Array(repeating: 0, count: 12)
        let long = Array(repeating: UInt8(0x61), count: 3000)
        try image { builder in
            let small = [ExtendedAttribute(name: "security.capability", value: capability)]
            try builder.add(
                content: [],
                FileMetadata(mode: 0o755, attributes: small),
                at: ArchivePath("small")
            )
            let large = [
                ExtendedAttribute(name: "user.zz", value: long),
                ExtendedAttribute(name: "user.a", value: [1, 2, 3]),
                ExtendedAttribute(name: "trusted.overlay.opaque", value: [0x79]),
            ]
            try builder.add(
                content: [],
                FileMetadata(mode: 0o755, attributes: large),
                at: ArchivePath("large")
            )
        }
        #expect(try debugfs("ea_list /small").contains("security.capability (20)"))
        let list = try debugfs("ea_list /large")
        #expect(list.contains("user.zz (3000)") && list.contains("user.a (3) = 01 02 03"))
        #expect(list.contains("trusted.overlay.opaque (1) = \"y\""), "\(list)")
    }

    @Test func moreAttributesThanABlockHoldsAreRefused() throws {
        let file = try DiskFile.creating(folder.file("image"))
        let builder = try Ext4Builder(file: file, size: .mebibytes(8))
        let huge = ExtendedAttribute(name: "user.a", value: Array(repeating: 1, count: 5000))
        try builder.add(.fifo, FileMetadata(mode: 0o644, attributes: [huge]), at: "pipe")
        #expect(throws: Fault.self) { try builder.finish() }
    }

    @Test func aFileInManyPiecesGetsATreeOfExtents() throws {
        // Every second 64 KiB is a hole: 3000 extents need two levels of blocks.
        let pieces = 6000
        let size = UInt64(pieces * ContentDigest.pieceSize) + 5 << 30
        try image(size: .mebibytes(300)) { builder in
            let reader = ContentReader(
                nextData: { offset in
                    let piece = offset / UInt64(ContentDigest.pieceSize)
                    guard piece < UInt64(pieces) else { return nil }
                    return (piece | 1) * UInt64(ContentDigest.pieceSize)
                },
                fill: { buffer, offset in
                    buffer.initializeMemory(as: UInt8.self, repeating: UInt8(offset >> 16 & 0xFF))
                }
            )
            try builder.add(size: size, reader, FileMetadata(mode: 0o600), at: ArchivePath("f"))
        }
        let text = try debugfs("stat /f")
        #expect(text.contains("Size: \(size)"), "\(text)")
        try #expect(
            #require(try debugfs("dump_extents /f").split(separator: "\n").last)
                .contains("2/ 2"),
            "the tree is not two levels deep"
        )
    }

    @Test func zerosTakeNoRoomAndCountAsHolesInTheDigest() throws {
        let zeros = [UInt8](repeating: 0, count: 8 << 20)
        let first = try image("zeros") {
            try $0.add(content: zeros + [1], FileMetadata(mode: 0o644), at: ArchivePath("f"))
        }
        let second = try image("holes") { builder in
            let end = UInt64(zeros.count)
            let reader = ContentReader(
                nextData: { max($0, end) },
                fill: { buffer, _ in buffer[0] = 1 }
            )
            let metadata = FileMetadata(mode: 0o644)
            try builder.add(size: end + 1, reader, metadata, at: ArchivePath("f"))
        }
        #expect(first == second)
        let status = try DiskFile.reading(folder.file("zeros")).status()
        #expect(Int64(status.st_blocks) * 512 < 1 << 20)
    }

    @Test func theSameFilesInAnotherOrderHaveTheSameDigestAndInTheSameOrderTheSameBytes() throws {
        func fill(_ names: [StaticString]) -> (Ext4Builder) throws -> Void {
            { builder in
                for name in names {
                    let content = Array(name.description.utf8)
                    try builder.add(
                        content: content,
                        FileMetadata(mode: 0o644),
                        at: ArchivePath(name)
                    )
                }
            }
        }
        let first = try image("1", fill: fill(["a", "b", "c/d"]))
        let second = try image("2", fill: fill(["a", "b", "c/d"]))
        let third = try image("3", fill: fill(["c/d", "b", "a"]))
        let other = try image("4", fill: fill(["c/d", "b", "e"]))
        #expect(first.treeDigest == second.treeDigest && first.treeDigest == third.treeDigest)
        #expect(first.treeDigest != other.treeDigest)
        #expect(try run("cmp", [folder.file("1"), folder.file("2")]).status == 0)
        #expect(try run("cmp", [folder.file("1"), folder.file("4")]).status == 1)
    }

    @Test func aHundredThousandFilesInOneDirectoryAreClean() throws {
        let summary = try image(size: .gibibytes(1)) { builder in
            for index in 0..<100_000 {
                let name = try #require(FileName(Array("file-number-\(index)".utf8)))
                let path = ArchivePath("d").appending(name)
                try builder.add(.fifo, FileMetadata(mode: 0o644), at: path)
            }
        }
        #expect(summary.files == 100_012)
    }

    @Test func replacedFilesGiveTheirBlocksBackOverwritten() throws {
        let secret = Array("a secret that a later layer deletes".utf8)
        try image { builder in
            var archive = Archive()
            archive.add("etc/secret", content: secret)
            archive.add("etc/twice", content: secret)
            archive.add("keep/old")
            try builder.add(TarReader(.bytes(archive.finished)))
            var layer = Archive()
            layer.add("etc/.wh.secret")
            layer.add("etc/twice", content: Array("new".utf8))
            layer.add("keep/new")
            layer.add("keep/.wh..wh..opq")
            try builder.add(TarReader(.bytes(layer.finished)), asLayer: true)
            #expect(builder.tree.find(ArchivePath("etc/secret")) == nil)
            #expect(builder.tree.find(ArchivePath("keep/old")) == nil)
            #expect(builder.tree.find(ArchivePath("keep/new")) != nil)
        }
        #expect(try run("grep", ["-c", "a secret", folder.file("image")]).output == "0\n")
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let file = try DiskFile.creating(folder.file("image"))
        let builder = try Ext4Builder(file: file, size: .mebibytes(2))
        let content = [UInt8](repeating: 7, count: 3 << 20)
        let fault = Fault(.limitExceeded, "the files do not fit into a disk of 2097152 bytes")
        #expect(throws: fault) {
            try builder.add(content: content, FileMetadata(mode: 0o644), at: ArchivePath("f"))
        }
    }
}

extension ArchivePath: ExpressibleByStringLiteral {
    /// Makes a path of text in a test's source.
    public init(stringLiteral value: StaticString) { self.init(value) }
}
