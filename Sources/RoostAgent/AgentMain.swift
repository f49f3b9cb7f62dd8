import CRoostLinux
import Glibc
import RoostGuestWire

/// The agent's ways to start.
package enum AgentMain {
    /// The name of the virtio-serial port.
    package static let portName = "roost.agent.0"

    /// Runs the agent: as process 1 it boots the machine; `--socket FD` serves that descriptor
    /// without touching the machine; else it serves the port of a machine that runs already.
    ///
    /// - Returns: the exit code. Process 1 never returns: it powers off.
    package static func run(arguments: [String]) -> Int32 {
        if getpid() == 1 { runAsInit() }
        if arguments.count == 3, arguments[1] == "--socket", let socket = Int32(arguments[2]) {
            return serve(
                socket,
                Agent.Role(isInit: false, mayChangeMachine: false, endsWithPeer: true)
            )
        }
        guard arguments.count == 1 else {
            say("usage: roost-agent [--socket FD]")
            return 2
        }
        return serveMachine(isInit: false)
    }

    private static func runAsInit() -> Never {
        do throws(BootFailure) {
            let isInit = try Boot.run()
            let code = serveMachine(isInit: isInit)
            if !isInit { exit(code) }
            powerOff("the agent ended with code \(code)")
        } catch {
            powerOff(error.text)
        }
    }

    private static func serveMachine(isInit: Bool) -> Int32 {
        guard let port = waitForPort(named: portName, milliseconds: 10_000) else {
            if isInit { powerOff("no virtio-serial port \(portName)") }
            say("no virtio-serial port \(portName)")
            return 1
        }
        say("ready")
        // Without it (another VMM's machine) there is no log beside the console.
        return serve(
            port,
            log: openPort(named: GuestLogRecord.portName),
            Agent.Role(isInit: isInit, mayChangeMachine: true, endsWithPeer: false)
        )
    }

    private static func serve(_ channel: Int32, log: Int32? = nil, _ role: Agent.Role) -> Int32 {
        guard let agent = Agent(channel: channel, log: log, role: role) else {
            say("cannot start: errno \(errno)")
            return 1
        }
        agent.run()
        return 0
    }

    private static func powerOff(_ reason: String) -> Never {
        say("fatal: \(reason)")
        sync()
        // The console is a slow serial line; what it has not sent is lost with the machine.
        tcdrain(2)
        _ = roost_reboot(0)
        while true { pause() }
    }
}
