import Crypto
import Foundation
import RoostModel
import Testing

@testable import RoostImages

/// One layer in shorthand: `path` is a file that holds its layer's number, `path/` a directory,
/// `path>target` a hard link, `path~target` a symbolic link.
private func layer(_ members: [String], number: Int) -> [UInt8] {
    var archive = Archive()
    for member in members {
        if member.hasSuffix("/") {
            archive.add(member, type: "5", mode: 0o755)
        } else if let mark = member.firstIndex(of: ">") {
            let target = String(member[member.index(after: mark)...])
            archive.add(String(member[..<mark]), type: "1", link: target)
        } else if let mark = member.firstIndex(of: "~") {
            let target = String(member[member.index(after: mark)...])
            archive.add(String(member[..<mark]), type: "2", link: target)
        } else {
            archive.add(member, content: Array("\(number)".utf8))
        }
    }
    return archive.finished
}

@Suite struct LayerTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// What is in the tree, with what reads like the file's layer: `path=digest of content`.
    private func paths(_ layers: [[String]]) throws -> Set<String> {
        let file = try DiskFile.creating(folder.file("image"))
        let builder = try Ext4Builder(file: file, size: .mebibytes(16))
        for (index, members) in layers.enumerated() {
            let bytes = layer(members, number: index + 1)
            try builder.add(TarReader(.bytes(bytes)), asLayer: true)
        }
        var found: Set<String> = []
        func walk(_ id: FileTree.NodeID, _ prefix: String) {
            for (name, child) in builder.tree.nodes[id].children {
                let path = prefix + String(decoding: name.bytes, as: UTF8.self)
                found.insert(builder.tree.nodes[child].isDirectory ? path + "/" : path)
                walk(child, path + "/")
            }
        }
        walk(FileTree.root, "")
        return found
    }

    @Test(arguments: [
        // Later layers override and add.
        ([["a", "d/", "d/x"], ["d/y", "a"]], ["a", "d/", "d/x", "d/y"]),
        // A whiteout hides a file, a tree, and nothing that is not there.
        ([["a", "b"], [".wh.a", ".wh.none"]], ["b"]),
        ([["d/", "d/e/", "d/e/f"], [".wh.d"]], []),
        ([["d/", "d/a", "d/b"], ["d/.wh.a"]], ["d/", "d/b"]),
        // It hides earlier layers only, wherever it stands in its own.
        ([["a"], ["a", ".wh.a"]], ["a"]),
        ([["a"], [".wh.a", "a"]], ["a"]),
        ([["d/", "d/old"], ["d/", "d/new", ".wh.d"]], ["d/", "d/new"]),
        ([["d/", "d/old"], [".wh.d", "d/", "d/new"]], ["d/", "d/new"]),
        ([["a"], [".wh.a"], ["a"]], ["a"]),
        // An opaque directory keeps what its own layer puts there.
        ([["d/", "d/a", "d/e/", "d/e/b"], ["d/.wh..wh..opq", "d/c"]], ["d/", "d/c"]),
        (
            [["d/", "d/a", "d/e/", "d/e/b"], ["d/c", "d/e/x", "d/.wh..wh..opq"]],
            ["d/", "d/c", "d/e/", "d/e/x"]
        ),
        ([["a", "d/"], [".wh..wh..opq", "b"]], ["b"]),
        // Kinds change places.
        ([["x/", "x/in"], ["x"]], ["x"]),
        ([["x"], ["x/", "x/in"]], ["x/", "x/in"]),
        ([["x~etc"], ["x/", "x/in"]], ["x/", "x/in"]),
        // Hard links reach into earlier layers, and outlive the name that they came from.
        ([["a"], ["b>a"]], ["a", "b"]),
        ([["a"], ["b>a", ".wh.a"]], ["b"]),
        ([["a", "b>a"], [".wh.a"]], ["b"]),
    ])
    func layersAreAppliedInOrder(layers: [[String]], wanted: [String]) throws {
        #expect(try paths(layers) == Set(wanted))
    }

    @Test(arguments: [
        ["../a"], ["/a"], ["l~/etc", "l/a"], ["b>nothing"], ["a/", "b>a"], ["d/../../e"],
    ])
    func escapesAreRefused(members: [String]) throws {
        let fault = #expect(throws: Fault.self) { try paths([members]) }
        #expect(fault?.reason == .archiveInvalid)
    }

    // MARK: Whole images

    private func sha(_ bytes: [UInt8]) -> String { hexadecimal(SHA256.hash(data: bytes)) }

    private func importing(
        _ sources: [([UInt8], String)],
        confirm: @escaping () throws(Fault) -> Void = {}
    ) throws -> CatalogueEntry<ImageManifest> {
        let catalogue = ImageCatalogue(directory: folder.file("images"))
        let layers = sources.map { bytes, content in
            ImageLayer(
                name: "layer",
                content: content,
                source: .bytes(bytes, chunk: 1000),
                confirm: confirm
            )
        }
        return try catalogue.importLayers(
            layers,
            size: .mebibytes(16),
            configuration: ImageConfiguration()
        )
    }

    private func zipped(_ bytes: [UInt8]) throws -> [UInt8] {
        try Data(bytes).write(to: URL(filePath: folder.file("plain")))
        #expect(try run("gzip", ["-kfn", folder.file("plain")]).status == 0)
        return Array(try Data(contentsOf: URL(filePath: folder.file("plain.gz"))))
    }

    @Test func gzipAndPlainLayersAreOneImage() throws {
        let tar = layer(["a", "d/", "d/b"], number: 1)
        let plain = try importing([(tar, sha(tar))])
        let packed = try importing([(try zipped(tar), sha(tar))])
        #expect(plain.digest == packed.digest)
        // Members one after the other are one stream, and zeros behind it are padding.
        let parts = try zipped(Array(tar[..<700])) + zipped(Array(tar[700...]))
        #expect(try importing([(parts + [0, 0, 0], sha(tar))]).digest == plain.digest)
        #expect(try importing([(tar, sha(tar)), (tar, sha(tar))]).digest == plain.digest)
    }

    @Test func damagedLayersLeaveNothing() throws {
        let tar = layer(["a"], number: 1)
        let gzip = try zipped(tar)
        var flipped = gzip
        flipped[gzip.count / 2] ^= 0x10
        let cases: [([UInt8], String, Reason)] = [
            (flipped, sha(tar), .archiveInvalid),
            (Array(gzip.dropLast(9)), sha(tar), .archiveInvalid),
            (gzip + [1, 2, 3], sha(tar), .archiveInvalid),
            ([], sha([]), .archiveInvalid),
            (gzip, sha([1]), .digestMismatch),
            (tar + [1], sha(tar), .digestMismatch),
            ([0x28, 0xB5, 0x2F, 0xFD, 0, 0], sha(tar), .unsupported),
        ]
        for (bytes, content, reason) in cases {
            let fault = #expect(throws: Fault.self) { try importing([(bytes, content)]) }
            #expect(fault?.reason == reason, "\(fault?.description ?? "")")
            #expect(fault?.message.hasPrefix("layer: ") == true)
        }
        #expect(try HostFolder.names(folder.file("images")).isEmpty)
    }

    @Test func whatTheSourceIsGuiltyOfComesFirst() throws {
        let guilt = Fault(.digestMismatch, "the blob is another one")
        func confirm() throws(Fault) { throw guilt }
        let tar = layer(["a"], number: 1)
        #expect(throws: guilt) { try importing([(Array(tar[..<600]), "")], confirm: confirm) }
        #expect(throws: guilt) { try importing([(tar, sha(tar))], confirm: confirm) }
        #expect(try HostFolder.names(folder.file("images")).isEmpty)
    }

    @Test func aBombIsDefusedByTheBoundOfItsImage() throws {
        var archive = Archive()
        // Zeros take no room on the disk: the content is what is bounded.
        archive.add("zeros", content: [UInt8](repeating: 0, count: 65 << 20))
        let tar = archive.finished
        let fault = #expect(throws: Fault.self) { try importing([(try zipped(tar), sha(tar))]) }
        #expect(fault?.reason == .limitExceeded)
        var half = Archive()
        half.add("zeros", content: [UInt8](repeating: 0, count: 33 << 20))
        let one = half.finished
        _ = try importing([(one, sha(one))])
        let both = #expect(throws: Fault.self) {
            try importing([(one, sha(one)), (one, sha(one))])
        }
        #expect(both?.reason == .limitExceeded)
    }
}
