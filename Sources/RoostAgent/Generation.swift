import Glibc
import RoostGuestWire

/// Which of all that came from one machine this one is, for programs that must know: a file with one
/// line of 32 hex digits that is another one after every boot, fork, way back and resumption of kept
/// memory. It is replaced by a rename, so that nobody reads half of it, and a watch hears of it.
final class Generation {
    static let path = "/run/roost/generation"

    /// What the file says, and the VM's id: those of the machine that this was, until a renewal of it
    /// has come to its end. The id is empty where the machine's firmware does not say it.
    private(set) var present: String
    private(set) var vm: String

    /// A machine that boots.
    init() {
        present = hexadecimal((0..<16).map { _ in .random(in: 0...255) })
        let board = text(of: "/sys/class/dmi/id/product_uuid") ?? ""
        vm = board.lowercased().filter(\.isHexDigit)
        publish()
    }

    /// Writes the file unless it is there: the image's init may have mounted over /run.
    func publish() {
        guard access(Self.path, F_OK) != 0 else { return }
        do throws(SystemFailure) { try write(present) } catch { say(error.text) }
    }

    /// Shows the next one to programs; ``take(_:vm:)`` follows when they may go on.
    func write(_ generation: String) throws(SystemFailure) {
        let fresh = "\(Self.path).new"
        if mkdir("/run/roost", 0o755) != 0, errno != EEXIST {
            throw SystemFailure(call: "mkdir", subject: "/run/roost", errno: errno)
        }
        try put("\(generation)\n", at: fresh, mode: 0o444)
        try check(rename(fresh, Self.path), "rename", Self.path)
    }

    func take(_ generation: String, vm: String) {
        present = generation
        self.vm = vm
    }
}

/// Two digits a byte, the most significant first.
func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { byte in
        let text = String(byte, radix: 16)
        return text.utf8.count == 2 ? text : "0" + text
    }.joined()
}
