import Glibc
import RoostAgent

exit(AgentMain.run(arguments: CommandLine.arguments))
