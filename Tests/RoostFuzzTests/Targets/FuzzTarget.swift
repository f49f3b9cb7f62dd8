/// One decoder of bytes from outside, with what must hold for every input.
package struct FuzzTarget: Sendable {
    /// Its name, and its corpus' folder in `Fuzz/Corpus`.
    package let name: String
    /// Gives the decoder `input`. Refusing it is fine.
    ///
    /// - Throws: ``BrokenPromise`` when something that must hold does not.
    package let check: @Sendable (_ input: [UInt8]) throws -> Void
}

/// What an input has shown to be false.
package struct BrokenPromise: Error, CustomStringConvertible {
    package let description: String
}

/// All targets, in the order in which `make fuzz` runs them.
package let fuzzTargets: [FuzzTarget] =
    guestWireTargets + tarTargets + archiveTargets + agentTargets + kernelTargets + connectTargets
    + machineTargets + apiTargets + commandTargets + modelTargets + registryTargets

/// Throws unless `condition` holds.
func promise(_ condition: Bool, _ what: @autoclosure () -> String) throws {
    if !condition { throw BrokenPromise(description: what()) }
}

/// An input's parts: small numbers that steer a target, then its bytes.
struct Steering {
    private(set) var rest: ArraySlice<UInt8>

    init(_ input: [UInt8]) { rest = input[...] }

    /// The next byte; 0 when there is none.
    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    /// What is left, as text.
    var text: String { String(decoding: rest, as: UTF8.self) }
}

/// `bytes` in pieces of `size`; in one piece when it is 0.
func pieces(_ bytes: ArraySlice<UInt8>, of size: UInt8) -> [[UInt8]] {
    guard size > 0 else { return [Array(bytes)] }
    return stride(from: bytes.startIndex, to: bytes.endIndex, by: Int(size)).map {
        Array(bytes[$0..<min($0 + Int(size), bytes.endIndex)])
    }
}
