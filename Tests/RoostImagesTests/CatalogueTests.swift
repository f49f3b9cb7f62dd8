import Foundation
import RoostHost
import RoostModel
import Testing

@testable import RoostImages

@Suite("catalogue")
struct CatalogueTests {
    private let folder: TemporaryFolder
    private let images: ImageCatalogue

    init() throws {
        folder = try TemporaryFolder()
        images = ImageCatalogue(directory: folder.file("images"))
    }

    private func importOne(_ text: String) throws -> CatalogueEntry<ImageManifest> {
        var archive = Archive()
        archive.add("etc/motd", content: Array(text.utf8))
        return try images.importArchive(.bytes(archive.finished), size: .mebibytes(16))
    }

    @Test func theSameContentIsStoredOnceAndAnotherIsAnother() throws {
        let first = try importOne("a")
        let again = try importOne("a")
        let other = try importOne("b")
        #expect(first == again && first.digest != other.digest)
        #expect(try images.list().entries.map(\.digest) == [first, other].map(\.digest).sorted())
        #expect(try HostFolder.names(images.directory).count == 2)
        #expect(try images.find(first.digest) == first)
        let path = ImageCatalogue.rootDisk(first)
        #expect(try DiskFile.reading(path).status().st_mode & 0o777 == 0o444)
    }

    @Test func aFailedImportLeavesNothing() throws {
        var archive = Archive()
        archive.add("a", content: [1])
        let bytes = archive.bytes
        #expect(throws: Fault.self) { try images.importArchive(.bytes(bytes), size: .mebibytes(8)) }
        #expect(try HostFolder.names(images.directory).isEmpty)
    }

    @Test func whatCannotBeReadIsReportedAndKept() throws {
        let good = try importOne("a")
        let bad = try importOne("b")
        try FileManager.default.removeItem(atPath: "\(bad.path)/root.ext4")
        try HostFolder.create("\(images.directory)/notes")
        let listed = try images.list()
        #expect(listed.entries == [good])
        #expect(listed.unreadable.map(\.reason) == [.stateUnreadable, .stateUnreadable])
        #expect(try HostFolder.names(images.directory).count == 3)
        let changed = "\(good.path)/manifest.json"
        try FileManager.default.removeItem(atPath: changed)
        try HostFolder.write(Array("{}".utf8), to: changed)
        #expect(try images.list().unreadable.count == 3)
    }

    @Test func aDeletedEntryIsGoneAndAStrangerIsNotFound() throws {
        let entry = try importOne("a")
        try images.delete(entry.digest)
        #expect(try HostFolder.names(images.directory).isEmpty)
        for digest in [entry.digest, "../images", ""] {
            let fault = #expect(throws: Fault.self) { try images.delete(digest) }
            #expect(fault?.reason == .imageNotFound)
        }
    }

    @Test func leftoversOfACrashAreRemovedAndNothingElse() throws {
        let entry = try importOne("a")
        try HostFolder.createAll("\(images.directory)/.staging-1/x")
        try HostFolder.create("\(images.directory)/.deleted-2")
        #expect(try images.removeLeftovers() == 2)
        #expect(try images.list().entries == [entry])
    }

    @Test func theTinyRootHasAShellAndItsName() throws {
        let busybox = try #require(Tool.find("busybox"), "apt-get install busybox-static").path
        let entry = try images.importTinyRoot(busybox: busybox, size: .mebibytes(64))
        #expect(try images.importTinyRoot(busybox: busybox, size: .mebibytes(64)) == entry)
        let disk = ImageCatalogue.rootDisk(entry)
        let check = try run("e2fsck", ["-fn", disk])
        #expect(check.status == 0, "\(check.output)")
        #expect(try run("debugfs", ["-R", "stat /bin/sh", disk]).output.contains("/bin/busybox"))
        let release = try run("debugfs", ["-R", "cat /etc/os-release", disk])
        #expect(release.output.contains("ID=roost-tiny"))
        #expect(try run("debugfs", ["-R", "stat /tmp", disk]).output.contains("01777"))
        #expect(try HostFolder.names(entry.path) == ["manifest.json", "root.ext4"])
        let fault = #expect(throws: Fault.self) {
            try images.importTinyRoot(busybox: "/bin/ls", size: .mebibytes(64))
        }
        #expect(fault?.reason == .imageInvalid)
    }
}

@Suite("qcow2")
struct Qcow2Tests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test(arguments: [1, 512, 513, 3_000_000] as [UInt64])
    func qemuFindsNothingWrongWithAnOverlay(mebibytes: UInt64) throws {
        let base = folder.file("base, with=odd name")
        try DiskFile.creating(base).truncate(to: .mebibytes(1))
        let path = folder.file("overlay")
        let file = try DiskFile.creating(path)
        try Qcow2Overlay.create(in: file, backing: base, format: .raw, size: .mebibytes(mebibytes))
        let check = try run("qemu-img", ["check", path])
        #expect(check.status == 0, "\(check.output)")
        let told = try run("qemu-img", ["info", "--output=json", path]).output
        #expect(told.contains("\"virtual-size\": \(mebibytes << 20)"), "\(told)")
        #expect(told.contains("\"backing-filename-format\": \"raw\""))
        #expect(told.contains("\"backing-filename\": \"\(base)\""))
        let write = try run("qemu-io", ["-f", "qcow2", "-c", "write -P 7 0 128k", path])
        #expect(write.status == 0, "\(write.output)")
        #expect(try run("qemu-img", ["check", path]).status == 0)
    }

    @Test func imagesThatNameOtherFilesAreRefused() throws {
        let base = folder.file("base")
        try DiskFile.creating(base).truncate(to: .mebibytes(1))
        let overlay = try DiskFile.creating(folder.file("overlay"))
        try Qcow2Overlay.create(in: overlay, backing: base, format: .raw, size: .mebibytes(1))
        let data = folder.file("data")
        let options = "data_file=\(folder.file("raw")),data_file_raw=on"
        _ = try run("qemu-img", ["create", "-f", "qcow2", "-o", options, data, "1M"])
        let vmdk = folder.file("vmdk")
        _ = try run("qemu-img", ["create", "-f", "vmdk", vmdk, "1M"])
        for (path, word) in [
            (overlay.path, "backing file"), (data, "data file"), (vmdk, "VMDK"),
        ] {
            let file = try DiskFile.reading(path)
            let fault = #expect(throws: Fault.self) { try DiskImageHeader.inspect(file) }
            #expect(fault?.reason == .imageInvalid)
            #expect(fault?.message.contains(word) == true, "\(String(describing: fault))")
        }
    }

    @Test func plainImagesAreTaken() throws {
        let plain = folder.file("plain")
        _ = try run("qemu-img", ["create", "-f", "qcow2", plain, "3M"])
        #expect(
            try DiskImageHeader.inspect(DiskFile.reading(plain))
                == .qcow2(virtualSize: .mebibytes(3))
        )
        let raw = folder.file("raw")
        try DiskFile.creating(raw).truncate(to: .mebibytes(2))
        #expect(try DiskImageHeader.inspect(DiskFile.reading(raw)) == .raw(size: .mebibytes(2)))
    }

    @Test func noHeaderByteTrapsTheInspector() throws {
        let path = folder.file("image")
        _ = try run("qemu-img", ["create", "-f", "qcow2", path, "3M"])
        let bytes = try DiskFile.reading(path).read(512, at: 0)
        for index in 4..<120 {
            for value: UInt8 in [0, 1, 0x7F, 0xFF] {
                var changed = bytes
                changed[index] = value
                let file = try DiskFile.creating(folder.file("\(index)-\(value)"))
                try file.write(changed, at: 0)
                do throws(Fault) {
                    _ = try DiskImageHeader.inspect(file)
                } catch {
                    #expect(error.reason == .imageInvalid)
                }
            }
        }
    }
}
