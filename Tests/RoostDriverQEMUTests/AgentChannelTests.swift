import Glibc
import RoostLinux
import RoostModel
import Testing

@testable import RoostDriverQEMU

@Suite("The channel to an agent whose VMM is replaced")
struct AgentChannelTests {
    private func pair() throws -> (SocketStream, SocketStream) {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        try #require(socketpair(AF_UNIX, kind, 0, &ends) == 0)
        return (SocketStream(Descriptor(ends[0])), SocketStream(Descriptor(ends[1])))
    }

    @Test("goes on for who reads and who writes") func goesOn() async throws {
        let (former, source) = try pair()
        let (next, successor) = try pair()
        let channel = AgentChannel(former)
        try await source.write([1])
        let first = try await channel.read(upTo: 10)
        #expect(first == [1])
        // Whoever waits since before waits on.
        async let waiting = channel.read(upTo: 10)
        channel.carry(to: next)
        source.closeNow()
        try await successor.write([2])
        let second = try await waiting
        #expect(second == [2])
        try await channel.write([3])
        let said = try await successor.read(upTo: 10)
        #expect(said == [3])
        #expect(channel.hasReceived)
        successor.closeNow()
        let end = try await channel.read(upTo: 10)
        #expect(end.isEmpty)
    }

    @Test("says what the former one still held, then what the next one says")
    func held() async throws {
        let (former, source) = try pair()
        let (next, successor) = try pair()
        let channel = AgentChannel(former)
        try await source.write([1, 2, 3])
        try await successor.write([4])
        channel.carry(to: next)
        for expected: [UInt8] in [[1, 2], [3], [4]] {
            let said = try await channel.read(upTo: 2)
            #expect(said == expected)
        }
    }

    @Test("was heard from, however often it was carried") func heard() async throws {
        let (former, source) = try pair()
        let channel = AgentChannel(former)
        #expect(!channel.hasReceived)
        try await source.write([1])
        _ = try await channel.read(upTo: 10)
        for _ in 0..<2 { channel.carry(to: try pair().0) }
        #expect(channel.hasReceived)
    }

    @Test("stays closed") func closed() async throws {
        let (former, _) = try pair()
        let (next, successor) = try pair()
        let channel = AgentChannel(former)
        await channel.close()
        channel.carry(to: next)
        let end = try await successor.read(upTo: 10)
        #expect(end.isEmpty)
    }
}
