package import RoostModel

/// Cuts a byte stream into lines without ever holding more than one line's limit.
package struct LineDecoder: Sendable {
    /// The most bytes of one message; a VMM that says more is broken or hostile.
    package static let limit = 1 << 20

    private var held: [UInt8] = []

    package init() {}

    /// Takes what was received and returns the lines that are complete now, without their ends.
    /// Empty lines are left out. Throws ``Reason/vmmFailed`` when a line is too long.
    package mutating func feed(_ bytes: [UInt8]) throws(Fault) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var rest = bytes[...]
        while let end = rest.firstIndex(of: 10) {
            try hold(rest[..<end])
            rest = rest[(end + 1)...]
            if held.last == 13 { held.removeLast() }
            if !held.isEmpty { lines.append(held) }
            held = []
        }
        try hold(rest)
        return lines
    }

    private mutating func hold(_ piece: ArraySlice<UInt8>) throws(Fault) {
        guard held.count + piece.count <= Self.limit else {
            throw Fault(.vmmFailed, "a QMP message of more than \(Self.limit) bytes")
        }
        held.append(contentsOf: piece)
    }
}
