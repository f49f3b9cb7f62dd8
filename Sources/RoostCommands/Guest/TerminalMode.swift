internal import Glibc
internal import RoostAPI
internal import RoostLinux
internal import RoostModel
internal import SwiftProtobuf
internal import Synchronization

/// The mode of the user's terminal, which is always given back: when a session ends, when the
/// process exits, and when a signal that we catch ends it.
enum TerminalMode {
    private struct Saved: Sendable {
        var descriptor: Int32
        var settings: termios
    }

    private static let saved = Mutex<Saved?>(nil)
    private static let restoresAtExit: Bool = {
        atexit { TerminalMode.restore() }
        return true
    }()

    /// Makes the terminal hand over every key as it is typed, Ctrl-C too.
    static func makeRaw(_ descriptor: Int32) throws(Fault) {
        var settings = termios()
        guard tcgetattr(descriptor, &settings) == 0 else {
            throw systemFault("read the mode of", "terminal", errno)
        }
        _ = restoresAtExit
        saved.withLock { $0 = $0 ?? Saved(descriptor: descriptor, settings: settings) }
        cfmakeraw(&settings)
        guard tcsetattr(descriptor, TCSADRAIN, &settings) == 0 else {
            throw systemFault("set the mode of", "terminal", errno)
        }
    }

    /// Gives the terminal its former mode back. May be called at any time.
    static func restore() {
        saved.withLock { saved in
            guard let old = saved else { return }
            var settings = old.settings
            tcsetattr(old.descriptor, TCSADRAIN, &settings)
            saved = nil
        }
    }

    /// The terminal's size; 80 × 24 when it does not say.
    static func size(_ descriptor: Int32) -> Roost_Compute_V1_TerminalSize {
        var window = winsize()
        let isKnown = ioctl(descriptor, UInt(TIOCGWINSZ), &window) == 0 && window.ws_row > 0
        return .with {
            $0.rows = isKnown ? Int32(window.ws_row) : 24
            $0.columns = isKnown ? Int32(window.ws_col) : 80
        }
    }
}
