internal import RoostModel
internal import RoostTar

/// Takes a tar stream apart, in pieces of any size. Its input is not trusted: what is kept of it is
/// bounded, and a member without an end is an error.
struct TarParser {
    /// What comes out, in order.
    enum Event: Equatable {
        /// A member begins; for a file, `size` bytes of ``content(_:)`` follow.
        case member(TarMember)
        /// A member of a kind that is not copied; it is passed over.
        case skipped(String)
        case content(ArraySlice<UInt8>)
        case memberEnd
    }

    private enum Step {
        case header
        case extended(Int)
        case content(left: UInt64, padding: Int)
        case ignored(left: UInt64)
        case ended
    }

    /// The longest name or set of pax records.
    private static let extensionLimit = 64 << 10

    private var step = Step.header
    private var buffer: ArraySlice<UInt8> = []
    private var headers = TarHeaders(extensionLimit: extensionLimit)

    /// Whether the archive's end has come.
    var isEnded: Bool { if case .ended = step { true } else { false } }

    /// Takes `bytes`, and gives what they complete to `body`.
    mutating func read(
        _ bytes: [UInt8],
        _ body: (Event) throws(Fault) -> Void
    ) throws(Fault) {
        buffer += bytes
        while try advance(body) {}
    }

    private mutating func advance(_ body: (Event) throws(Fault) -> Void) throws(Fault) -> Bool {
        switch step {
        case .ended:
            buffer = []
            return false
        case .header:
            guard let block = take(TarHeaders.blockSize) else { return false }
            try begin(Array(block), body)
        case .extended(let count):
            guard let bytes = take(count + TarHeaders.padding(after: UInt64(count))) else {
                return false
            }
            do throws(TarProblem) {
                try headers.take(extension: Array(bytes.prefix(count)))
            } catch {
                throw Self.fault(error)
            }
            step = .header
        case .content(let left, let padding):
            if left == 0 {
                guard take(padding) != nil else { return false }
                step = .header
                try body(.memberEnd)
                return true
            }
            guard !buffer.isEmpty else { return false }
            let part = buffer.prefix(Int(min(left, UInt64(buffer.count))))
            buffer = buffer.dropFirst(part.count)
            step = .content(left: left - UInt64(part.count), padding: padding)
            try body(.content(part))
        case .ignored(let left):
            if left == 0 {
                step = .header
                return true
            }
            guard !buffer.isEmpty else { return false }
            let count = min(left, UInt64(buffer.count))
            buffer = buffer.dropFirst(Int(count))
            step = .ignored(left: left - count)
        }
        return true
    }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard buffer.count >= count else { return nil }
        defer { buffer = buffer.dropFirst(count) }
        return buffer.prefix(count)
    }

    private mutating func begin(
        _ block: [UInt8],
        _ body: (Event) throws(Fault) -> Void
    ) throws(Fault) {
        let next: TarHeaders.Step
        do throws(TarProblem) {
            next = try headers.take(block: block)
        } catch {
            throw Self.fault(error)
        }
        switch next {
        case .end: step = .ended
        case .extension(let count): step = .extended(count)
        case .member(let member):
            let padding = TarHeaders.padding(after: member.size)
            switch member.kind {
            case .file, .hardLink, .symbolicLink, .directory:
                step = .content(left: member.size, padding: padding)
                try body(.member(member))
            case .characterDevice, .blockDevice, .fifo, .other:
                step = .ignored(left: member.size + UInt64(padding))
                try body(.skipped(String(decoding: member.path, as: UTF8.self)))
            }
        }
    }

    private static func fault(_ problem: TarProblem) -> Fault {
        Fault(.archiveInvalid, "the stream is no tar archive that can be read: \(problem)")
    }
}
