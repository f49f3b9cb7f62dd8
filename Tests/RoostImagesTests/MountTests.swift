import Foundation
import RoostModel
import Testing

@testable import RoostImages

/// The kernel's own opinion. Only root may mount; e2fsck and debugfs judge for everybody.
@Suite("mounted images", .serialized, .enabled(if: getuid() == 0, "only root may mount"))
struct MountTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// Makes a tree with one of everything, by the usual tools.
    private func makeTree() throws -> String {
        let tree = folder.file("tree")
        for name in ["d/deep/er", "sticky", "lost+found"] {
            try FileManager.default.createDirectory(
                atPath: "\(tree)/\(name)",
                withIntermediateDirectories: true
            )
        }
        let big = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        try Data(big).write(to: URL(fileURLWithPath: "\(tree)/d/big"))
        try Data().write(to: URL(fileURLWithPath: "\(tree)/d/empty"))
        let long = String(repeating: "l", count: 200)
        try Data([1]).write(to: URL(fileURLWithPath: "\(tree)/d/\(long)"))
        for command: [String] in [
            ["ln", "\(tree)/d/big", "\(tree)/d/deep/er/hard"],
            ["ln", "-s", "../big", "\(tree)/d/deep/short"],
            ["ln", "-s", String(repeating: "x/", count: 100), "\(tree)/d/deep/long"],
            ["chmod", "1777", "\(tree)/sticky"],
            ["chown", "100000:200000", "\(tree)/d/empty"],
            ["chmod", "6751", "\(tree)/d/empty"],
            ["mknod", "\(tree)/tty", "c", "4", "64"],
            ["mknod", "\(tree)/disk", "b", "259", "1000"],
            ["mkfifo", "\(tree)/fifo"],
            ["touch", "-d", "2040-02-03 04:05:06.789", "\(tree)/d/big"],
            ["touch", "-h", "-d", "1960-01-01", "\(tree)/d/deep/short"],
            ["setfattr", "-n", "user.note", "-v", "hello", "\(tree)/d/big"],
            ["setfattr", "-n", "trusted.x", "-v", long, "\(tree)/sticky"],
        ] {
            let result = try run(command[0], Array(command.dropFirst()))
            #expect(result.status == 0, "\(command): \(result.output)")
        }
        return tree
    }

    private func listing(_ path: String) throws -> String {
        let format = "%p %y %m %U %G %n %s %T@ %l\\n"
        let find = try run("find", [path, "-mindepth", "1", "-printf", format])
        let attributes = try run(
            "getfattr",
            ["-R", "-P", "-h", "-d", "-m", "-", "--absolute-names", path]
        )
        let text = find.output + attributes.output
        return text.replacing(path, with: "").split(separator: "\n")
            .map { line in
                // A directory's size is the file system's affair.
                let words = line.split(separator: " ")
                guard words.count > 6, words[1] == "d" else { return String(line) }
                return (words[..<6] + words[7...]).joined(separator: " ")
            }
            .sorted().joined(separator: "\n")
    }

    private func expectMounted(_ image: String, equals tree: String) throws {
        let check = try run("e2fsck", ["-fn", image])
        #expect(check.status == 0 && !check.output.contains("? no"), "\(check.output)")
        let mount = folder.file("mount")
        try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: true)
        let result = try run("mount", ["-o", "loop,ro", image, mount])
        try #require(result.status == 0, "\(result.output)")
        defer { _ = try? run("umount", [mount]) }
        let found = try listing(mount)
        let wanted = try listing(tree)
        #expect(found == wanted)
        for name in ["d/big", "d/deep/er/hard", "d/empty"] {
            #expect(try run("cmp", ["\(mount)/\(name)", "\(tree)/\(name)"]).status == 0)
        }
    }

    @Test func aTarIsMountedAsGNUTarWouldExtractIt() throws {
        let tree = try makeTree()
        let archive = folder.file("tree.tar")
        let tar = try run(
            "tar",
            ["--format=pax", "--xattrs", "--xattrs-include=*", "-C", tree, "-cf", archive, "."]
        )
        try #require(tar.status == 0, "\(tar.output)")
        let file = try DiskFile.creating(folder.file("image"))
        let builder = try Ext4Builder(file: file, size: .mebibytes(32))
        try builder.add(TarReader(.file(try DiskFile.reading(archive))))
        let fromTar = try builder.finish()
        try expectMounted(folder.file("image"), equals: tree)

        let other = try DiskFile.creating(folder.file("other"))
        let second = try Ext4Builder(file: other, size: .mebibytes(32))
        try second.add(hostDirectory: tree)
        #expect(try second.finish().treeDigest == fromTar.treeDigest)
        try expectMounted(folder.file("other"), equals: tree)
    }

    @Test func aFullHostDiskIsSaidAndLeavesNothing() throws {
        let small = folder.file("small")
        try FileManager.default.createDirectory(atPath: small, withIntermediateDirectories: true)
        let mounted = try run("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", small])
        try #require(mounted.status == 0, "\(mounted.output)")
        defer { _ = try? run("umount", [small]) }
        var archive = Archive()
        let content = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 | 1) }
        archive.add("big", content: content)
        let catalogue = ImageCatalogue(directory: "\(small)/images")
        let bytes = archive.finished
        let fault = #expect(throws: Fault.self) {
            try catalogue.importArchive(.bytes(bytes), size: .mebibytes(64))
        }
        #expect(fault?.reason == .diskFull, "\(String(describing: fault))")
        #expect(try HostFolder.names("\(small)/images").isEmpty)
    }
}
