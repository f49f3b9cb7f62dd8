import RoostDriverQEMU

/// Tiny guests for tests; see ``BootCode``.
enum BootGuest: CaseIterable {
    /// Prints a … z for ever, a letter every 5 ms.
    case counter
    /// Prints as fast as the serial port takes it.
    case flood
    /// Prints one letter and powers the machine off through ACPI.
    case powersOff
    /// Prints a … z within three seconds and then powers off.
    case powersOffLater
    /// Prints one letter and resets the machine, for ever.
    case resets

    /// The bytes of a kernel file.
    var kernel: [UInt8] { BootCode.kernel(code) }

    private var code: [UInt8] {
        switch self {
        case .counter: return alphabet(delay(microseconds: 5000))
        case .powersOffLater:
            return alphabet(delay(microseconds: 120_000)).dropLast(2) + powerOff
        case .flood: return alphabet([])
        case .powersOff:
            return [0xb3, 0x61] + say + powerOff
        case .resets:
            return [0xb3, 0x61] + say + [0xb0, 0xfe, 0xe6, 0x64] + halt  // out 0x64, 0xfe
        }
    }

    /// Writes S5 to the ACPI control register of a q35.
    private var powerOff: [UInt8] {
        [0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef] + halt  // out 0x604, 0x2000
    }

    /// The BIOS's own wait, int 0x15 with AH = 0x86 and CX:DX microseconds.
    private func delay(microseconds: UInt32) -> [UInt8] {
        let bytes = (0..<4).map { UInt8(microseconds >> ($0 * 8) & 255) }
        return [0xb4, 0x86, 0xb9, bytes[2], bytes[3], 0xba, bytes[0], bytes[1], 0xcd, 0x15]
    }

    private func alphabet(_ delay: [UInt8]) -> [UInt8] {
        let body = say + delay + [0xfe, 0xc3, 0x80, 0xfb, 0x7b]  // inc bl; cmp bl, 'z' + 1
        let again = UInt8(truncatingIfNeeded: -(body.count + 2))
        let restart = UInt8(truncatingIfNeeded: -(body.count + 6))
        return [0xb3, 0x61] + body + [0x75, again, 0xeb, restart]  // jne; jmp to mov bl, 'a'
    }

    private var say: [UInt8] { BootCode.say }
    private var halt: [UInt8] { BootCode.halt }
}
