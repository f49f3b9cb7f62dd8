import ArgumentParser
import Glibc
import Logging
import RoostModel

/// The daemon: control plane and node in one process.
@main
struct Roostd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "roostd",
        abstract: "Runs virtual machines for roost(1).",
        discussion: """
            Alone on a host it is control plane and node in one process, and serves its user over a \
            Unix socket. Example: roostd --state-dir ~/.local/share/roost
            Exit codes: 0 ended in order, 1 failed, 2 usage, 3 the state directory is held by another \
            daemon, 4 the socket is in use.
            """,
        version: Facts.version
    )

    @OptionGroup var settings: Settings

    /// As every command here, and with 2 for usage where ArgumentParser has 64.
    static func main() async {
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch  where exitCode(for: error) == .validationFailure {
            let text = Array("\(fullMessage(for: error))\n".utf8)
            _ = write(STDERR_FILENO, text, text.count)
            Glibc.exit(2)
        } catch {
            exit(withError: error)
        }
    }

    func run() async throws {
        let level = Logger.Level(rawValue: settings.logLevel)
        guard let level else {
            throw ValidationError("--log-level \(settings.logLevel) is none of the levels")
        }
        LoggingSystem.bootstrap { label in
            var handler = JSONLogHandler(label: label)
            handler.logLevel = level
            return handler
        }
        let log = Logger(label: "roostd")
        do throws(Fault) {
            try await Daemon(settings, log).run()
        } catch {
            log.error(
                "\(error.message)",
                metadata: ["reason": "\(error.reason.rawValue)", "remedy": "\(error.remedy)"]
            )
            throw ExitCode(error.exitCode)
        }
    }
}

extension Fault {
    /// What the daemon exits with.
    fileprivate var exitCode: Int32 {
        switch reason {
        case .stateDirectoryLocked: 3
        case .socketInUse: 4
        case .invalidFields, .socketPathTooLong, .driverMissing: 2
        default: 1
        }
    }
}
