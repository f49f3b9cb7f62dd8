import Foundation
import Testing

@testable import RoostAgent

@Suite("A copy's host keys", .timeLimit(.minutes(1)))
final class HostKeyTests {
    private let folder = NSTemporaryDirectory() + "roost-keys-\(UUID().uuidString)"
    private var children: [(pid: Int32, action: (Int32) -> Void)] = []

    init() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for kind in ["ed25519", "ecdsa"] {
            for end in ["", ".pub"] { try Data("old".utf8).write(to: key(kind, end)) }
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    private func key(_ kind: String, _ end: String = "") -> URL {
        URL(fileURLWithPath: "\(folder)/ssh_host_\(kind)_key\(end)")
    }

    private func begin(_ keys: HostKeys, _ done: @escaping (SystemFailure?) -> Void) {
        keys.renew(whenEnded: { [unowned self] in children.append(($0, $1)) }, done: done)
    }

    /// Takes note of each child's end, in the order of their beginnings.
    private func waitForAll() {
        while !children.isEmpty {
            let (pid, action) = children.removeFirst()
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
            action(status)
        }
    }

    private func isRenewed() throws -> Bool {
        let left = try FileManager.default.contentsOfDirectory(atPath: folder)
        guard left.count == 4 else { return false }
        return try [("ed25519", "ssh-ed25519 "), ("ecdsa", "ecdsa-sha2-")].allSatisfy {
            kind,
            begins in
            let secret = try String(contentsOf: key(kind), encoding: .utf8)
            let shown = try String(contentsOf: key(kind, ".pub"), encoding: .utf8)
            return secret.contains("PRIVATE KEY") && shown.hasPrefix(begins)
        }
    }

    @Test("each kind is made anew, and nothing else is left")
    func renews() throws {
        let keys = HostKeys(folder: folder)
        var ended: [SystemFailure?] = []
        begin(keys) { ended.append($0) }
        waitForAll()
        #expect(ended.count == 1 && ended[0] == nil, "\(ended)")
        #expect(try isRenewed())
    }

    @Test("one that is begun anew takes nothing from the one before, which is not heard of again")
    func again() throws {
        let keys = HostKeys(folder: folder)
        var ended: [Int] = []
        for number in 1...3 {
            begin(keys) { failure in
                #expect(failure == nil)
                ended.append(number)
            }
        }
        // Not two at a time: the second waits for the end of the first.
        #expect(children.count == 1)
        waitForAll()
        #expect(ended == [3])
        #expect(try isRenewed())
    }

    @Test("one that is abandoned ends, and another can be begun")
    func abandoned() throws {
        let keys = HostKeys(folder: folder)
        var ended: [Int] = []
        begin(keys) { _ in ended.append(1) }
        keys.abandon()
        waitForAll()
        #expect(ended.isEmpty)
        begin(keys) { _ in ended.append(2) }
        waitForAll()
        #expect(ended == [2])
        #expect(try isRenewed())
    }

    @Test("what cannot be made is said, and the old key stays")
    func fails() throws {
        try Data("old".utf8).write(to: key("none"))
        let keys = HostKeys(folder: folder)
        var ended: [SystemFailure?] = []
        begin(keys) { ended.append($0) }
        waitForAll()
        #expect(ended.count == 1 && ended[0]?.errno == EIO, "\(ended)")
        #expect(try String(contentsOf: key("none"), encoding: .utf8) == "old")
    }
}
