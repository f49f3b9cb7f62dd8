import Foundation
import Glibc
import RoostModel
import Testing

@testable import RoostLinux

@Suite("Files")
final class FileTests {
    private func folder() throws -> String {
        let path = "\(root)/\(EntropySource().next())"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    /// One folder for all of a test's; removed with the suite's value.
    private let root = "/tmp/roost-test-files-\(EntropySource().next())"

    deinit { try? FileManager.default.removeItem(atPath: root) }

    @Test func aDurableFileIsReplacedWholeAndLeavesNoTemporary() throws {
        let folder = try folder()
        let path = "\(folder)/a, b.json"
        try DurableFile.write(path, [1, 2, 3])
        try DurableFile.write(path, [4])
        #expect(try DurableFile.read(path, limit: 10) == [4])
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["a, b.json"])
        #expect(try DurableFile.read("\(folder)/none", limit: 10) == nil)
        #expect(throws: Fault.self) {
            try DurableFile.write("\(folder)/none/x", [1])
        }
    }

    @Test func aFullDiskIsToldApartAndTheOldFileStays() async throws {
        let mount = try folder()
        let mounted = try await runTool(
            "/usr/bin/mount",
            ["-t", "tmpfs", "-o", "size=64k", "roost-test", mount],
            deadline: .seconds(10)
        )
        try #require(mounted.succeeded, "mounting needs root")
        let path = "\(mount)/state"
        try DurableFile.write(path, [1])
        let fault = #expect(throws: Fault.self) {
            try DurableFile.write(path, [UInt8](repeating: 7, count: 200_000))
        }
        #expect(fault?.reason == .diskFull && fault?.metadata["path"] == path)
        #expect(try DurableFile.read(path, limit: 10) == [1])
        #expect(try FileManager.default.contentsOfDirectory(atPath: mount) == ["state"])
        _ = try await runTool("/usr/bin/umount", [mount], deadline: .seconds(10))
    }

    @Test func whatIsSetAsideNeverOverwrites() throws {
        let folder = try folder()
        let path = "\(folder)/h"
        for number in 1...3 {
            try DurableFile.write(path, [UInt8(number)])
            #expect(try DurableFile.quarantine(path) == "\(path).unreadable-\(number)")
        }
        #expect(try DurableFile.read("\(path).unreadable-2", limit: 10) == [2])
        #expect(try DurableFile.quarantine(path) == nil)
    }

    @Test func aSecondHolderOfADirectoryIsToldWhoHasIt() throws {
        let folder = try folder()
        let lock = try DirectoryLock(folder)
        let fault = #expect(throws: Fault.self) { _ = try DirectoryLock(folder) }
        #expect(fault?.reason == .stateDirectoryLocked)
        #expect(fault?.metadata["pid"] == "\(getpid())")
        lock.release()
        _ = try DirectoryLock(folder)
    }

    @Test func aHolderThatIsDeadIsWaitedFor() async throws {
        let folder = try folder()
        let lock = try DirectoryLock(folder)
        // Above any pid that Linux gives.
        try Data("4194305\n".utf8).write(to: URL(filePath: "\(folder)/lock"))
        var pauses = 0
        _ = try await DirectoryLock.taken(folder) {
            pauses += 1
            if pauses == 3 { lock.release() }
        }
        #expect(pauses == 3)
    }

    @Test func aHolderThatIsAZombieIsWaitedFor() async throws {
        let folder = try folder()
        let lock = try DirectoryLock(folder)
        var child: pid_t = 0
        try #require(posix_spawn(&child, "/bin/true", nil, nil, [nil], [nil]) == 0)
        defer { waitpid(child, nil, 0) }
        var end = siginfo_t()
        try #require(waitid(P_PID, id_t(child), &end, WEXITED | WNOWAIT) == 0)
        try Data("\(child)\n".utf8).write(to: URL(filePath: "\(folder)/lock"))
        var pauses = 0
        _ = try await DirectoryLock.taken(folder) {
            pauses += 1
            lock.release()
        }
        #expect(pauses == 1)
    }

    @Test func aHolderThatLivesIsNotWaitedFor() async throws {
        let folder = try folder()
        let lock = try DirectoryLock(folder)
        await #expect(throws: Fault.self) {
            _ = try await DirectoryLock.taken(folder) { Issue.record("waits for a live holder") }
        }
        lock.release()
    }

    @Test func aBoundedLogKeepsItsTailAndItsOffsets() throws {
        let path = "\(try folder())/console.log"
        let log = BoundedLog(path, kept: 64 << 10)
        #expect(try log.read(from: 0).isEnd)
        let file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        defer { close(file) }
        var trimmed = 0
        for number in 0..<40_000 {
            let line = Array("line \(number)\n".utf8)
            #expect(write(file, line, line.count) == line.count)
            if number % 1000 == 0, try log.trim() { trimmed += 1 }
        }
        #expect(trimmed > 1)
        var state = stat()
        #expect(fstat(file, &state) == 0)
        #expect(state.st_blocks * 512 <= 3 * (64 << 10))
        let head = try log.read(from: 0, limit: 100)
        #expect(!head.bytes.contains(0) && head.next > 100)
        let end = UInt64(state.st_size) - 11
        #expect(try log.read(from: end).bytes == Array("line 39999\n".utf8))
        #expect(log.lastWords(limit: 11) == "line 39999\n")
        #expect(log.lastWords(since: end + 5, limit: 4096) == "39999\n")
    }

    @Test func lastWordsCannotCommandATerminal() throws {
        let path = "\(try folder())/vmm.log"
        try DurableFile.write(path, Array("a\u{1b}[2Jb\r\n\u{7f}".utf8))
        #expect(BoundedLog(path).lastWords() == "a?[2Jb?\n?")
    }

    @Test func aWatchedLogIsBoundedWithoutBeingAsked() async throws {
        let path = "\(try folder())/console.log"
        let file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        defer { close(file) }
        let log = BoundedLog(path, kept: 16 << 10)
        let keeper = Task { await log.keepBounded() }
        let block = [UInt8](repeating: 65, count: 8 << 10)
        var state = stat()
        var writes = 0
        // A writer that goes on: at some moment less is held than was written. Counted, not timed:
        // beside other tests a single turn may take seconds.
        repeat {
            #expect(write(file, block, block.count) == block.count)
            _ = await Reactor.shared.sleep(until: .now + .milliseconds(5))
            fstat(file, &state)
            writes += 1
        } while state.st_blocks * 512 >= state.st_size && writes < 4000
        #expect(state.st_blocks * 512 < state.st_size)
        keeper.cancel()
        await keeper.value
    }
}
