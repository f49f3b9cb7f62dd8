internal import RoostGuestWire
internal import RoostLinux

/// What a VMM shows its guest of itself, so that a guest that stands still sees, without a word from anybody,
/// that another process has it now, and whether that is the same machine (RoostGuestWire, `GuestLife`).
package struct ProcessLife: Sendable, Hashable {
    package let text: String

    /// A process whose guest goes on at once if it stands still: the same machine, after a fork.
    package static func goesOn() -> ProcessLife { ProcessLife(GuestLife.goesOn) }

    /// Any other: a machine that boots, a copy, one that goes back.
    package static func another() -> ProcessLife { ProcessLife(GuestLife.waits) }

    package init(text: String) { self.text = text }

    private init(_ letter: UInt8) {
        let drawn = String(EntropySource().next() | 1 << 63, radix: 16).utf8.suffix(
            GuestLife.size - 1
        )
        text = String(decoding: [letter] + drawn, as: UTF8.self)
    }
}
