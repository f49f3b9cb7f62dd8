/// One record of what a guest writes for its log: a line of the port ``portName``.
///
///     2026-11-21T19:27:33.123456789Z stdout F listening on 8080
///     time                           stream tag text
///
/// The form is that of the Kubernetes container runtime interface's logs, so that their tools read it
/// too. Tag `F` ends a line of the writer's, `P` says that the line goes on in the stream's next
/// record.
package struct GuestLogRecord: Hashable, Sendable {
    /// Who wrote it.
    package enum Stream: String, CaseIterable, Sendable {
        case stdout
        case stderr
        case kernel
        case agent
    }

    /// The name of the virtio-serial port that takes the records.
    package static let portName = "roost.log.0"
    /// The bytes of text in one record; a longer line is cut into several.
    package static let textLimit = 16_384

    /// When the agent had it, by the guest's clock: RFC 3339 with nanoseconds, UTC. No spaces.
    package var time: String
    package var stream: Stream
    /// Whether the writer's line goes on.
    package var isPartial: Bool
    /// Without the newline.
    package var text: ArraySlice<UInt8>

    package init(time: String, stream: Stream, isPartial: Bool, text: ArraySlice<UInt8>) {
        self.time = time
        self.stream = stream
        self.isPartial = isPartial
        self.text = text
    }

    /// The record as a line, newline included.
    package var encoded: [UInt8] {
        Array("\(time) \(stream.rawValue) \(isPartial ? "P" : "F") ".utf8) + text + [10]
    }

    /// Reads a line without its newline; `nil` when it is none of ours. The guest is not trusted: its
    /// root can write here what it likes.
    package init?(line: ArraySlice<UInt8>) {
        let parts = line.split(separator: 32, maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4, Self.isTime(parts[0]),
            let stream = Stream(rawValue: String(decoding: parts[1], as: UTF8.self)),
            parts[2].elementsEqual([70]) || parts[2].elementsEqual([80])
        else { return nil }
        time = String(decoding: parts[0], as: UTF8.self)
        self.stream = stream
        isPartial = parts[2].first == 80
        text = parts[3]
    }

    /// `2026-11-21T19:27:33.123456789Z`, with any number of digits after the point.
    private static func isTime(_ bytes: ArraySlice<UInt8>) -> Bool {
        let form = Array("0000-00-00T00:00:00".utf8)
        guard (20...30).contains(bytes.count), bytes.last == 90 else { return false }
        let fits = zip(bytes, form).allSatisfy { $0 == $1 || ($1 == 48 && 48...57 ~= $0) }
        let fraction = bytes.dropFirst(form.count).dropLast()
        return fits && (fraction.isEmpty || fraction.first == 46)
            && fraction.dropFirst().allSatisfy { 48...57 ~= $0 }
    }
}

/// Chooses records of some streams out of a piece of the log.
package struct GuestLogFilter: Sendable {
    private let streams: Set<GuestLogRecord.Stream>
    private let showsTimes: Bool

    /// Takes the records of `streams`, each with its time before it when `showsTimes`.
    package init(_ streams: Set<GuestLogRecord.Stream>, showsTimes: Bool) {
        self.streams = streams
        self.showsTimes = showsTimes
    }

    /// What was written to the streams in `bytes`, and how many of them hold whole records. Lines that
    /// are no records are left out: the rest of one whose beginning was given back, or what a process
    /// of the guest wrote there by itself.
    package func select(from bytes: ArraySlice<UInt8>) -> (text: [UInt8], used: Int) {
        var text: [UInt8] = []
        var rest = bytes
        while let end = rest.firstIndex(of: 10) {
            if let record = GuestLogRecord(line: rest[rest.startIndex..<end]),
                streams.contains(record.stream)
            {
                if showsTimes { text += Array("\(record.time) ".utf8) }
                text += record.text
                if !record.isPartial { text.append(10) }
            }
            rest = rest[(end + 1)...]
        }
        // Longer than any record: no end of it is waited for.
        let used =
            rest.count > 2 * GuestLogRecord.textLimit ? bytes.count : bytes.count - rest.count
        return (text, used)
    }
}
