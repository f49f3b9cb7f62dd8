// A daemon in miniature for the crash tests: starts one VM through the driver, says so on standard
// output, and then waits to be killed. Arguments: state directory, memory directory, VM id.
import Foundation
import RoostDriver
import RoostDriverQEMU
import RoostModel

let arguments = CommandLine.arguments
guard arguments.count == 4, let id = VMID(arguments[3]) else {
    FileHandle.standardError.write(Data("usage: STATE MEMORY ID\n".utf8))
    exit(2)
}
let folder = "\(arguments[1])/vms/\(id)"
let driver = QEMUDriver(
    QEMUSettings(
        stateDirectory: arguments[1],
        memoryDirectory: arguments[2],
        acceleration: .tcg
    )
)
let launch = VMLaunch(
    id: id,
    name: "crash",
    cores: 1,
    memoryMiB: 32,
    directory: folder,
    kernelPath: "\(folder)/kernel",
    initramfsPath: "\(folder)/initramfs",
    modulesPath: nil,
    rootDiskPath: "\(folder)/root.qcow2",
    network: .none,
    ports: [],
    memoryDirectory: arguments[2],
    generation: 11
)
do {
    try await driver.start(launch)
    print("started")
    fflush(nil)
} catch {
    print("failed: \(error)")
    exit(1)
}
_ = await driver.waitForExit(id)
