/// The body of an answer that is collected whole: sent as data, then the stream ends.
package protocol Answer: Sendable {
    /// Appends the fields.
    func encode(into writer: inout ByteWriter)
    /// Reads the fields.
    init(from reader: inout ByteReader) throws(WireError)
}

extension Answer {
    /// The body.
    package func encoded() -> [UInt8] {
        var writer = ByteWriter()
        encode(into: &writer)
        return writer.bytes
    }

    /// Reads a whole body; nothing may be left over.
    package init(decoding bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes[...])
        try self.init(from: &reader)
        try reader.finish()
    }
}

extension Array: Answer where Element: Answer {
    package func encode(into writer: inout ByteWriter) {
        writer.list(Array(prefix(WireLimits.entries))) { $1.encode(into: &$0) }
    }

    package init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.list(limit: WireLimits.entries) {
            (reader) throws(WireError) in try Element(from: &reader)
        }
    }
}

/// What a guest says of its own load. All counters rise from boot.
package struct GuestStats: Answer, Hashable {
    package var uptimeMilliseconds: UInt64
    /// Load averages times 100, over 1, 5 and 15 minutes.
    package var loadHundredths: [UInt32]
    package var memoryTotalBytes: UInt64
    package var memoryAvailableBytes: UInt64
    /// Clock ticks of all processors together that were spent working; 100 a second each.
    package var cpuBusyTicks: UInt64
    /// Clock ticks of all processors together, idle ones too.
    package var cpuTotalTicks: UInt64
    package var diskTotalBytes: UInt64
    package var diskUsedBytes: UInt64
    package var processes: UInt32

    /// All zeros.
    package init() {
        uptimeMilliseconds = 0
        loadHundredths = [0, 0, 0]
        memoryTotalBytes = 0
        memoryAvailableBytes = 0
        cpuBusyTicks = 0
        cpuTotalTicks = 0
        diskTotalBytes = 0
        diskUsedBytes = 0
        processes = 0
    }

    package func encode(into writer: inout ByteWriter) {
        writer.number(uptimeMilliseconds)
        for index in 0..<3 { writer.number(loadHundredths[index]) }
        writer.number(memoryTotalBytes)
        writer.number(memoryAvailableBytes)
        writer.number(cpuBusyTicks)
        writer.number(cpuTotalTicks)
        writer.number(diskTotalBytes)
        writer.number(diskUsedBytes)
        writer.number(processes)
    }

    package init(from reader: inout ByteReader) throws(WireError) {
        uptimeMilliseconds = try reader.number()
        loadHundredths = []
        for _ in 0..<3 { loadHundredths.append(try reader.number()) }
        memoryTotalBytes = try reader.number()
        memoryAvailableBytes = try reader.number()
        cpuBusyTicks = try reader.number()
        cpuTotalTicks = try reader.number()
        diskTotalBytes = try reader.number()
        diskUsedBytes = try reader.number()
        processes = try reader.number()
    }
}

/// A port that something in the guest listens on.
package struct ListeningPort: Answer, Hashable, Comparable {
    /// Which table it stands in.
    package enum Transport: UInt8, Sendable {
        case tcp = 1
        case udp = 2
    }

    package var transport: Transport
    package var port: UInt16
    /// The address it is bound to: 4 or 16 bytes, network order.
    package var address: [UInt8]

    package init(transport: Transport, port: UInt16, address: [UInt8]) {
        self.transport = transport
        self.port = port
        self.address = address
    }

    package func encode(into writer: inout ByteWriter) {
        writer.number(transport.rawValue)
        writer.number(port)
        writer.number(UInt8(address.count))
        writer.raw(address)
    }

    package init(from reader: inout ByteReader) throws(WireError) {
        let tag = try reader.number(UInt8.self)
        guard let transport = Transport(rawValue: tag) else { throw .unknownTag(tag) }
        self.transport = transport
        port = try reader.number()
        let count = try reader.number(UInt8.self)
        guard count == 4 || count == 16 else { throw .oversizedField(Int(count)) }
        address = try reader.raw(Int(count))
    }

    package static func < (left: Self, right: Self) -> Bool {
        (left.port, left.transport.rawValue, left.address.count)
            < (right.port, right.transport.rawValue, right.address.count)
    }
}

/// A session that the agent knows.
package struct SessionSummary: Answer, Hashable {
    /// Its id: the operation's 16 bytes.
    package var session: [UInt8]
    package var pid: UInt32
    /// The command line, cut to 255 bytes.
    package var command: String
    package var isTerminal: Bool
    package var isAttached: Bool
    /// Seconds since 1970, by the guest's clock.
    package var startedSeconds: Int64
    /// How it ended, or `nil` while it runs.
    package var status: CommandEnd?

    package init(session: [UInt8], pid: UInt32, command: String, startedSeconds: Int64) {
        self.session = session
        self.pid = pid
        self.command = command
        self.startedSeconds = startedSeconds
        isTerminal = false
        isAttached = false
        status = nil
    }

    package func encode(into writer: inout ByteWriter) {
        writer.raw(session.prefix(16))
        writer.number(pid)
        writer.text(command, limit: WireLimits.name)
        writer.flag(isTerminal)
        writer.flag(isAttached)
        writer.number(startedSeconds)
        writer.flag(status != nil)
        if let status { status.encode(into: &writer) }
    }

    package init(from reader: inout ByteReader) throws(WireError) {
        session = try reader.raw(16)
        pid = try reader.number()
        command = try reader.text(limit: WireLimits.name)
        isTerminal = try reader.flag()
        isAttached = try reader.flag()
        startedSeconds = try reader.number()
        status = try reader.flag() ? try CommandEnd(from: &reader) : nil
    }
}
