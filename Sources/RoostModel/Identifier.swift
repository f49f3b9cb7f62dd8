/// A typed identifier: 128 random bits, written as 32 lowercase hexadecimal digits.
///
/// The phantom `Subject` makes passing a node's identifier where a VM's is
/// wanted a compile error. An identifier is an address, not a secret.
package struct Identifier<Subject>: Hashable, Sendable {
    // Two halves, since a stored UInt128 is aligned to 16 bytes, and async code that carries such
    // values crashed (Swift 6.3.1: tasks resumed at address 0).
    private let high: UInt64
    private let low: UInt64

    /// The identifier's bits, most significant first.
    package var bits: UInt128 { UInt128(high) << 64 | UInt128(low) }

    /// Wraps `bits` that were stored or sent.
    package init(bits: UInt128) {
        high = UInt64(truncatingIfNeeded: bits >> 64)
        low = UInt64(truncatingIfNeeded: bits)
    }

    /// Draws an identifier from `generator`.
    ///
    /// There is no default generator: a caller that wants chance says so, and a
    /// simulation passes its seeded one.
    package init(using generator: inout some RandomNumberGenerator) {
        self.init(bits: UInt128.random(in: .min ... .max, using: &generator))
    }

    /// Reads 32 lowercase hexadecimal digits; `nil` for anything else.
    package init?(_ text: some StringProtocol) {
        // By hand, since every row that is read or written has some: the library's way by way of
        // UInt128 took a third of a simulated fleet's time.
        var (high, low, count) = (UInt64(0), UInt64(0), 0)
        for byte in text.utf8 {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            default: return nil
            }
            guard count < 32 else { return nil }
            high = high &<< 4 | low &>> 60
            low = low &<< 4 | UInt64(digit)
            count += 1
        }
        guard count == 32 else { return nil }
        (self.high, self.low) = (high, low)
    }
}

extension Identifier: Comparable {
    /// Orders by the bits, so that ties are broken the same way everywhere.
    package static func < (left: Self, right: Self) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }
}

extension Identifier: CustomStringConvertible {
    /// The identifier as 32 lowercase hexadecimal digits.
    package var description: String {
        String(unsafeUninitializedCapacity: 32) { buffer in
            for place in 0..<16 {
                let shift = UInt64(60 - 4 * place)
                buffer[place] = hexDigit(high &>> shift)
                buffer[place + 16] = hexDigit(low &>> shift)
            }
            return 32
        }
    }

    /// The first 12 digits, for people.
    package var short: String { String(description.prefix(12)) }
}

/// The digit of the last four bits.
private func hexDigit(_ bits: UInt64) -> UInt8 {
    let value = UInt8(truncatingIfNeeded: bits & 15)
    return value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
}

extension Identifier: Codable {
    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let value = Self(text) else {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath,
                    debugDescription: "not an identifier: \(text)"
                )
            )
        }
        self = value
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// The subject of a ``VMID``. Never instantiated.
package enum VMSubject {}
/// The subject of a ``NodeID``. Never instantiated.
package enum NodeSubject {}
/// The subject of a ``CheckpointID``. Never instantiated.
package enum CheckpointSubject {}

/// Names one VM for its whole life, across moves and restarts.
package typealias VMID = Identifier<VMSubject>
/// Names one node. A node that is wiped and rejoins gets a new one.
package typealias NodeID = Identifier<NodeSubject>
/// Names one kept moment of one VM. Never used again.
package typealias CheckpointID = Identifier<CheckpointSubject>

extension Identifier<VMSubject> {
    /// The Ethernet address of the VM's first device, 6 bytes: locally administered, 52:54 and the
    /// id's last four bytes. It stays the VM's.
    package var ethernetAddress: [UInt8] {
        [0x52, 0x54]
            + stride(from: 24, through: 0, by: -8).map { UInt8(truncatingIfNeeded: bits >> $0) }
    }
}
