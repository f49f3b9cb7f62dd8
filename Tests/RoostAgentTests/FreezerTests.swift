import Foundation
import Testing

@testable import RoostAgent

/// Over plain files in place of the kernel's: what a group says of itself is what the test wrote.
@Suite("Freezing the guest")
struct FreezerTests {
    private let root: String
    private let guest: String

    init() throws {
        root = "\(NSTemporaryDirectory())/roost-freezer-\(UUID().uuidString)"
        guest = "\(root)/roost.guest"
        for group in [root, guest, "\(root)/roost.agent"] {
            try FileManager.default.createDirectory(
                atPath: group,
                withIntermediateDirectories: true
            )
            try Self.write("", "\(group)/cgroup.procs")
        }
        try Self.write("0", "\(guest)/cgroup.freeze")
        try Self.write("frozen 0\n", "\(guest)/cgroup.events")
    }

    private static func write(_ text: String, _ path: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    /// By the last order: the kernel's file has no end to which one is added.
    private func isFrozen() throws -> Bool {
        try String(contentsOfFile: "\(guest)/cgroup.freeze", encoding: .utf8).hasSuffix("1")
    }

    /// Runs the loop until `count` of its milliseconds have passed.
    private func run(_ loop: EventLoop, milliseconds count: Int) {
        _ = loop.after(UInt64(count)) { loop.stop() }
        loop.run()
    }

    @Test("ends when all stand still")
    func ends() throws {
        defer { try? FileManager.default.removeItem(atPath: root) }
        let (loop, freezer) = (try EventLoop(), Freezer(root: root))
        var outcomes: [SystemFailure?] = []
        try freezer.freeze(on: loop) { outcomes.append($0) }
        #expect(outcomes.isEmpty)
        let isAsked = try isFrozen()
        #expect(isAsked && freezer.isHolding)
        try Self.write("frozen 1\n", "\(guest)/cgroup.events")
        run(loop, milliseconds: 20)
        #expect(outcomes.count == 1 && outcomes.first.flatMap { $0 } == nil)
        freezer.thaw()
        let isHeld = try isFrozen()
        #expect(!isHeld && !freezer.isHolding)
    }

    /// A late word that all stand still would make an agent fall silent whom nobody listens to.
    @Test("that was taken back, or whose host is gone, never says that it is done")
    func takenBack() throws {
        defer { try? FileManager.default.removeItem(atPath: root) }
        let (loop, freezer) = (try EventLoop(), Freezer(root: root))
        var said: [String] = []
        try freezer.freeze(on: loop) { _ in said.append("thawed") }
        freezer.thaw()
        run(loop, milliseconds: 20)
        try Self.write("0", "\(guest)/cgroup.freeze")
        try freezer.freeze(on: loop) { _ in said.append("forgotten") }
        freezer.forget()
        try Self.write("frozen 1\n", "\(guest)/cgroup.events")
        run(loop, milliseconds: 20)
        #expect(said.isEmpty && freezer.isHolding)
        // The next one finds all standing still.
        try freezer.freeze(on: loop) { _ in said.append("again") }
        #expect(said == ["again"])
    }
}
