internal import ArgumentParser
internal import GRPCCore
internal import Glibc
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// Runs the command line with this process's arguments and surroundings.
///
/// - Returns: the status to exit with.
package func roostMain() async -> Int32 {
    // A reader that is gone is seen as EPIPE, so that there is time to end the guest's command.
    signal(SIGPIPE, SIG_IGN)
    // What failed operations say more of themselves, which JSON cannot tell without knowing its type.
    Google_Protobuf_Any.register(messageType: Google_Rpc_ErrorInfo.self)
    let status = await roostMain(Array(CommandLine.arguments.dropFirst()), in: .current())
    TerminalMode.restore()
    return status
}

/// Runs the command line with `arguments`, which begin after the program's name.
func roostMain(_ arguments: [String], in invocation: Invocation) async -> Int32 {
    let words = movingLeadingOptions(arguments) { word in
        Roost.configuration.subcommands.contains {
            $0._commandName == word && !$0.configuration.subcommands.isEmpty
        }
    }
    var invocation = invocation
    let command: any RoostCommand
    do {
        // Asynchronous, since the candidates of a completion come from the daemon.
        var parsed = try await Candidates.$environment.withValue(invocation.environment) {
            try await Roost.asyncParseAsRoot(words)
        }
        guard let found = parsed as? any RoostCommand else {
            // ArgumentParser's own: help, and a group without a verb. Both throw what to print.
            try parsed.run()
            return ExitStatus.ok
        }
        command = found
    } catch {
        return report(parsing: error, words, in: invocation)
    }
    invocation.isQuiet = command.connection.quiet
    invocation.isPlain = command.connection.noColor
    do {
        return try await command.run(in: invocation)
    } catch {
        return report(error, passesGuestCode: command is any GuestCodeCommand, in: invocation)
    }
}

/// A command whose status is the guest's, so that our own failures are 125 to 127.
protocol GuestCodeCommand: RoostCommand {}

/// The words of the commands that are ``GuestCodeCommand``.
let guestCodeCommands: Set<String> = ["run", "exec", "sh"]

/// Writes what was wrong with the arguments, or the help that they ask for.
private func report(parsing error: any Error, _ words: [String], in invocation: Invocation) -> Int32
{
    let text = Roost.fullMessage(for: error)
    guard Roost.exitCode(for: error) != .success else {
        return (try? invocation.write(text + "\n")) == nil ? ExitStatus.brokenPipe : ExitStatus.ok
    }
    let mark = "Error: "
    invocation.talk(text.hasPrefix(mark) ? "error: " + text.dropFirst(mark.count) : text)
    return words.first.map(guestCodeCommands.contains) ?? false
        ? ExitStatus.toolFailed : ExitStatus.usage
}

/// Writes `error: …` and `hint: …`, and returns the status for it.
func report(
    _ error: any Error,
    passesGuestCode: Bool = false,
    subject: String? = nil,
    in invocation: Invocation
) -> Int32 {
    if error is BrokenOutput { return ExitStatus.brokenPipe }
    if let exit = error as? ExitWith { return exit.status }
    let received = ReceivedFault(reporting: error)
    let prefix = subject.map { "\($0): " } ?? ""
    invocation.talk("error: \(prefix)\(received)")
    // What was typed is corrected with the help at hand, not by sending a request again.
    let isTyped = (error as? Fault)?.reason == .invalidFields
    let hint = isTyped ? "see roost help, and --help of the command" : received.remedy
    if !hint.isEmpty { invocation.talk("hint: \(hint)") }
    return passesGuestCode
        ? ExitStatus.ofCommand(received.fault) : ExitStatus.of(received.fault.reason)
}

/// Ends the program with a status when everything has been said.
struct ExitWith: Error {
    var status: Int32
}

extension ReceivedFault {
    /// Any error of this program in the one form that is shown.
    init(reporting error: any Error) {
        switch error {
        case let received as ReceivedFault: self = received
        case let fault as Fault: self.init(RPCError(fault))
        case let error as RPCError: self.init(error)
        case is CancellationError: self.init(RPCError(Fault(.opCancelled, "interrupted")))
        default: self.init(RPCError(Fault(.bug, "\(error)")))
        }
    }
}

/// The reason of any error of this program.
func reason(of error: any Error) -> Reason { ReceivedFault(reporting: error).fault.reason }
