import Glibc
import RoostSimulation

SimulatorCommand.fixHashing()
exit(SimulatorCommand.run(Array(CommandLine.arguments.dropFirst())))
