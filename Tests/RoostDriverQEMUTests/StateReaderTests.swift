import Foundation
import Glibc
import RoostLinux
import RoostModel
import Testing

@testable import RoostDriverQEMU

/// A state that is loaded while it is written.
@Suite("A state's reader")
struct StateReaderTests {
    private let path = NSTemporaryDirectory() + "roost-state-\(UUID().uuidString)"

    private func write(_ bytes: [UInt8], _ target: StateTarget, at offset: UInt64 = 0) throws {
        try bytes.withUnsafeBytes { try target.write($0, at: offset) }
    }

    @Test func hasEveryByteThatTheFileHasAndThenTheEnd() async throws {
        let (reader, ends) = try StateReader.make(for: "box")
        let target = StateTarget(file: try PageFile.create(path), path: path, reader: reader)
        defer { unlink(path) }
        // More than a socket holds, so that the writer has to wait for the reader.
        let state = (0..<(3 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let read = Thread.reading(ends[0])
        try write(Array(state[..<100]), target)
        try write(Array(state[100...]), target, at: 100)
        target.end()
        #expect(await read.value == state)
        #expect(try Data(contentsOf: URL(filePath: path)) == Data(state))
    }

    @Test func thatIsGoneFailsTheSaveByName() throws {
        let (reader, ends) = try StateReader.make(for: "box")
        ends[0].close()
        let fault = #expect(throws: Fault.self) {
            try [UInt8](repeating: 1, count: 10).withUnsafeBytes { try reader.write($0) }
        }
        #expect(fault?.reason == .vmmFailed)
        #expect(fault?.message.contains("box") == true)
    }
}

extension Thread {
    /// What comes out of `end` until there is no more, read on a thread of its own.
    fileprivate static func reading(_ end: Descriptor) -> Task<[UInt8], Never> {
        Task {
            await withCheckedContinuation { done in
                Thread {
                    var (all, room) = ([UInt8](), [UInt8](repeating: 0, count: 1 << 16))
                    while true {
                        let count = read(end.number, &room, room.count)
                        guard count > 0 else { return done.resume(returning: all) }
                        all += room[..<count]
                    }
                }.start()
            }
        }
    }
}
