import Foundation
import RoostModel
import Testing

@testable import RoostLinux

@Suite("Waiting")
struct WaitingTests {
    @Test func streamsCarryMoreThanTheKernelHolds() async throws {
        let (left, end) = try streamPair()
        let flags = fcntl(end.number, F_GETFL, 0)
        #expect(fcntl(end.number, F_SETFL, flags | O_NONBLOCK) == 0)
        let right = SocketStream(end)
        let sent = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        async let writing: Void = left.write(sent)
        var got: [UInt8] = []
        while got.count < sent.count { got += try await right.read(upTo: 50_000) }
        try await writing
        #expect(got == sent)
        await left.close()
        #expect(try await right.read(upTo: 1) == [])
        await #expect(throws: Fault.self) { try await right.write([1]) }
    }

    @Test func aReadEndsByCancellationByDeadlineAndByClosing() async throws {
        let (stream, other) = try streamPair()
        let late = await #expect(throws: Fault.self) {
            try await stream.read(upTo: 1, until: .now + .milliseconds(20))
        }
        #expect(late?.reason == .deadline)
        let task = Task { try await stream.read(upTo: 1) }
        task.cancel()
        let cancelled = await #expect(throws: Fault.self) { _ = try await task.value }
        #expect(cancelled?.reason == .opCancelled)
        async let bytes = stream.read(upTo: 1)
        await stream.close()
        #expect(try await bytes == [])
        withExtendedLifetime(other) {}
    }

    @Test func aLatchWakesEveryWaiterOnceAndKeepsItsFirstValue() async {
        let latch = Latch<Int>()
        #expect(await latch.wait(until: .now + .milliseconds(10)) == nil)
        let cancelled = Task { await latch.wait() }
        cancelled.cancel()
        #expect(await cancelled.value == nil)
        let waiters = (0..<50).map { _ in Task { await latch.wait() } }
        #expect(latch.set(1) && !latch.set(2))
        for waiter in waiters { #expect(await waiter.value == 1) }
        #expect(await latch.wait() == 1)
    }

    @Test func aThousandCancelledWaitsLeaveTheReactorAsItWas() async throws {
        let (stream, other) = try streamPair()
        for _ in 0..<1000 {
            let task = Task { try await stream.read(upTo: 1) }
            if Bool.random() { await Task.yield() }
            task.cancel()
            _ = try? await task.value
        }
        var one: UInt8 = 9
        #expect(write(other.number, &one, 1) == 1)
        #expect(try await stream.read(upTo: 1) == [9])
    }

    @Test func manyBlockedCallsDoNotStopTheTasks() async throws {
        let gate = try streamPair()
        // More calls than Swift has threads, all blocked in the kernel.
        let blocked = (0..<20).map { _ in
            Task {
                try await onItsOwnThread { () throws(Fault) in
                    var byte: UInt8 = 0
                    return read(gate.1.number, &byte, 1)
                }
            }
        }
        #expect(await Task { 5 }.value == 5)
        try await gate.0.write([UInt8](repeating: 0, count: 20))
        for task in blocked { #expect(try await task.value == 1) }
    }

    @Test func twoWatchesOfOneFileDoNotEndEachOther() async throws {
        let path = "/tmp/roost-test-watch-\(EntropySource().next())"
        try DurableFile.write(path, [])
        defer { try? FileManager.default.removeItem(atPath: path) }
        let handle = try #require(FileHandle(forWritingAtPath: path))
        for _ in 0..<200 {
            var first: FileWatch? = try FileWatch(path, .contents)
            let second = try FileWatch(path, .contents)
            withExtendedLifetime(first) {}
            first = nil
            try handle.write(contentsOf: Data([1]))
            await second.changed()
        }
    }

    @Test func aSocketPathMayBeLongerThanTheKernelsLimit() async throws {
        let folder = "/tmp/roost-test-" + String(repeating: "x", count: 150)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let listener = try UnixSocket.listen(in: folder, name: "a.sock")
        let stream = try await UnixSocket.connect(in: folder, name: "a.sock")
        var state = stat()
        #expect(stat("\(folder)/a.sock", &state) == 0)
        withExtendedLifetime((listener, stream)) {}
        await #expect(throws: Fault.self) {
            _ = try await UnixSocket.connect(in: folder, name: "b.sock")
        }
        try FileManager.default.removeItem(atPath: folder)
    }
}
