import Foundation
import RoostModel
import RoostTar
import Synchronization
import Testing

@testable import RoostCommands

/// What a tree holds: for each name its kind, mode and content.
private func listing(_ root: String) throws -> [String: String] {
    let manager = FileManager.default
    var found: [String: String] = [:]
    for case let name as String in manager.enumerator(atPath: root) ?? .init() {
        let path = root + "/" + name
        let attributes = try manager.attributesOfItem(atPath: path)
        let mode = String((attributes[.posixPermissions] as? Int ?? 0), radix: 8)
        switch attributes[.type] as? FileAttributeType {
        case .typeSymbolicLink?:
            found[name] = "link " + (try manager.destinationOfSymbolicLink(atPath: path))
        case .typeDirectory?: found[name] = "directory \(mode)"
        default:
            let bytes = manager.contents(atPath: path) ?? Data()
            found[name] = "file \(mode) \(bytes.count) \(bytes.hashValue)"
        }
    }
    return found
}

private func makeTree(_ root: String) throws {
    let manager = FileManager.default
    let long = String(repeating: "n", count: 120)
    for directory in ["\(root)/sub/deep", "\(root)/\(long)"] {
        try manager.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }
    try Data((0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        .write(to: URL(filePath: "\(root)/sub/big"))
    try Data("x".utf8).write(to: URL(filePath: "\(root)/\(long)/\(long)"))
    try Data().write(to: URL(filePath: "\(root)/empty"))
    try manager.setAttributes([.posixPermissions: 0o751], ofItemAtPath: "\(root)/sub/big")
    try manager.setAttributes([.posixPermissions: 0o550], ofItemAtPath: "\(root)/sub/deep")
    try manager.createSymbolicLink(
        atPath: "\(root)/link",
        withDestinationPath: "../\(long)/nowhere"
    )
}

private func archive(_ path: String, name: String) throws -> [UInt8] {
    let reader = TreeReader(path, name: name)
    var bytes: [UInt8] = []
    while let piece = try reader.next() { bytes += piece }
    return bytes
}

@Suite struct CopyTests {
    @Test(arguments: [1, 511, 513, 1 << 20])
    func aTreeComesOutAsItWentIn(size: Int) throws {
        try inScratch { scratch in
            try makeTree("\(scratch)/tree")
            // A byte at a time is slow for a big file.
            if size == 1 { try FileManager.default.removeItem(atPath: "\(scratch)/tree/sub/big") }
            let bytes = try archive("\(scratch)/tree", name: "tree")
            #expect(bytes.count % 512 == 0)
            let writer = try TreeWriter(into: scratch, top: "copy")
            for start in stride(from: 0, to: bytes.count, by: size) {
                try writer.write(Array(bytes[start..<min(start + size, bytes.count)]))
            }
            #expect(try writer.finish() == [])
            #expect(try listing("\(scratch)/copy") == listing("\(scratch)/tree"))
            #expect(try listing("\(scratch)/tree").count > 5)
        }
    }

    @Test func aRealTarReadsOurArchive() throws {
        try inScratch { scratch in
            try makeTree("\(scratch)/tree")
            let bytes = try archive("\(scratch)/tree", name: "tree")
            try Data(bytes).write(to: URL(filePath: "\(scratch)/a.tar"))
            let tar = Process()
            tar.executableURL = URL(filePath: "/bin/tar")
            try FileManager.default.createDirectory(
                atPath: "\(scratch)/out",
                withIntermediateDirectories: true
            )
            tar.arguments = ["-xf", "\(scratch)/a.tar", "-C", "\(scratch)/out"]
            try tar.run()
            tar.waitUntilExit()
            #expect(tar.terminationStatus == 0)
            #expect(try listing("\(scratch)/out/tree") == listing("\(scratch)/tree"))
        }
    }

    @Test(arguments: ["../out", "/etc/out", "top/../../out"])
    func aNameThatLeavesTheDirectoryIsRefused(name: String) throws {
        try inScratch { scratch in
            let bytes = TarMember(.directory, path: Array(name.utf8)).encoded()
            let writer = try TreeWriter(into: scratch, top: nil)
            let fault = #expect(throws: Fault.self) { try writer.write(bytes) }
            #expect(fault?.reason == .archiveInvalid)
        }
    }

    @Test func aLinkInTheArchiveLeadsNothingOut() throws {
        try inScratch { scratch in
            try FileManager.default.createDirectory(
                atPath: "\(scratch)/in",
                withIntermediateDirectories: true
            )
            var link = TarMember(.symbolicLink, path: Array("t/link".utf8))
            link.link = Array(scratch.utf8)
            let file = TarMember(.file, path: Array("t/link/evil".utf8))
            let writer = try TreeWriter(into: "\(scratch)/in", top: "t")
            #expect(throws: Fault.self) { try writer.write(link.encoded() + file.encoded()) }
            #expect(!FileManager.default.fileExists(atPath: "\(scratch)/evil"))
        }
    }

    @Test func whatIsNoArchiveOrEndsEarlyIsRefused() throws {
        try inScratch { scratch in
            let writer = try TreeWriter(into: scratch, top: nil)
            #expect(throws: Fault.self) { try writer.write([UInt8](repeating: 7, count: 512)) }
            let cut = try TreeWriter(into: scratch, top: nil)
            var file = TarMember(.file, path: Array("t/f".utf8))
            file.size = 10
            try cut.write(file.encoded() + [1, 2, 3])
            #expect(throws: Fault.self) { try cut.finish() }
        }
    }

    @Test func filesGoBothWaysWithTheirModes() async throws {
        try await FakeDaemon.serving { daemon in
            let here = "\(daemon.directory)/f"
            try Data("hello".utf8).write(to: URL(filePath: here))
            try FileManager.default.setAttributes([.posixPermissions: 0o750], ofItemAtPath: here)
            let sent = try await daemon.roost("cp", here, "box:/tmp")
            #expect(sent == .init(status: 0, output: "", errors: ""))
            let file = try #require(daemon.guest.files.withLock { $0["/tmp/f"] })
            #expect(file.bytes == Array("hello".utf8) && file.mode == 0o750 && !file.isTree)
            let taken = try await daemon.roost("cp", "box:/tmp/f", "\(daemon.directory)/g")
            #expect(taken.status == 0)
            #expect(try listing(daemon.directory)["g"] == listing(daemon.directory)["f"])
            let missing = try await daemon.roost("cp", "box:/none", "\(daemon.directory)/h")
            #expect(missing.status == 3)
            #expect(try await daemon.roost("cp", "/none", "box:/tmp").status == 3)
            #expect(try await daemon.roost("cp", "a", "b").status == 2)
        }
    }

    @Test func treesGoBothWaysByDockersRules() async throws {
        try await FakeDaemon.serving { daemon in
            let tree = "\(daemon.directory)/tree"
            try makeTree(tree)
            // To a name that is not there: what is in it. To a directory: under its own name.
            #expect(try await daemon.roost("cp", tree, "box:/new").status == 0)
            #expect(try await daemon.roost("cp", tree, "box:/tmp").status == 0)
            let sent = daemon.guest.files.withLock { $0 }
            #expect(sent["/new"]?.bytes == (try archive(tree, name: ".")))
            #expect(sent["/tmp"]?.bytes == (try archive(tree, name: "tree")))
            // The other way, as a guest's tar begins with the tree's name.
            daemon.guest.files.withLock {
                $0["/tree"] = .init(bytes: sent["/tmp"]?.bytes ?? [], mode: 0o755, isTree: true)
            }
            let copy = "\(daemon.directory)/copy"
            #expect(try await daemon.roost("cp", "box:/tree", copy).status == 0)
            #expect(try listing(copy) == listing(tree))
            #expect(try await daemon.roost("cp", "box:/tree", copy).status == 0)
            #expect(try listing("\(copy)/tree") == listing(tree))
            let stream = try await daemon.roost("cp", "box:/none", "-")
            #expect(stream.status == 3)
        }
    }
}

private func inScratch(_ body: (String) throws -> Void) throws {
    let path = "/tmp/roost-cp-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
}
