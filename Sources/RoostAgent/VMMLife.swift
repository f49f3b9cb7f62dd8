import CRoostLinux
import RoostGuestWire

/// What the VMM shows of itself (`GuestLife`), read by two instructions of the processor: a machine that
/// begins to run in another VMM sees it before its kernel hears anything.
///
/// While there is one, the agent may use two I/O ports, and what it starts then may too.
final class VMMLife {
    private let key: UInt16
    private let former: [UInt8]
    /// What the machine stands still for.
    let operation: OperationMark

    /// `nil` where no VMM shows one: an older one, another kind, a processor without I/O ports.
    init?(of operation: OperationMark) {
        guard roost_open_configuration() == 0 else { return nil }
        guard let key = Self.key() else {
            roost_close_configuration()
            return nil
        }
        self.key = key
        self.operation = operation
        former = Self.read(key, GuestLife.size)
    }

    deinit { roost_close_configuration() }

    enum Change {
        /// Another VMM has this machine, and says that it may go on.
        case goesOn
        /// Another VMM has it, and says that it is to wait.
        case waits
    }

    /// Looks for so long whether another VMM has this machine since the beginning; `nil`: the same one.
    func change(within milliseconds: UInt64) -> Change? {
        var present = [UInt8](repeating: 0, count: GuestLife.size)
        guard roost_await_configuration(key, former, &present, milliseconds * 1_000_000) == 1 else {
            return nil
        }
        return GuestLife.mayGoOn(from: former, to: present) ? .goesOn : .waits
    }

    /// The selector of the item, from the list of all: how many there are, then 64 bytes on each.
    /// Source: QEMU, docs/specs/fw_cfg.rst.
    private static func key() -> UInt16? {
        let (directory, size, most): (UInt16, Int, UInt32) = (0x19, 64, 256)
        let count = read(directory, 4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        guard count <= most else { return nil }
        let name = Array(GuestLife.item.utf8) + [0]
        let entries = read(directory, 4 + size * Int(count))
        for start in stride(from: 4, to: entries.count, by: size) {
            // Size, selector, two bytes of nothing, the name.
            let entry = entries[start..<(start + size)]
            guard entry.dropFirst(8).starts(with: name) else { continue }
            return UInt16(entry[start + 4]) << 8 | UInt16(entry[start + 5])
        }
        return nil
    }

    private static func read(_ key: UInt16, _ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        roost_read_configuration(key, &bytes, count)
        return bytes
    }
}
