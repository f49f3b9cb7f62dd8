// Saves, restores and forks a Debian guest with our agent, and prints what it took.
// Arguments: STATE MEMORY KERNEL.deb AGENT BUSYBOX MEMORY-MIB ROUNDS
import Foundation
import RoostDriver
import RoostDriverQEMU
import RoostGuestWire
import RoostImages
import RoostLinux
import RoostModel
import RoostNode

let arguments = CommandLine.arguments
guard arguments.count == 8, let memoryMiB = Int(arguments[6]), let rounds = Int(arguments[7]) else {
    print("usage: STATE MEMORY KERNEL.deb AGENT BUSYBOX MEMORY-MIB ROUNDS")
    exit(2)
}
let (state, memory) = (arguments[1], arguments[2])
let kernel = try KernelCatalogue(directory: "\(state)/kernels")
    .importPackage(arguments[3], agent: arguments[4])
let image = try ImageCatalogue(directory: "\(state)/images")
    .importTinyRoot(busybox: arguments[5], size: .gibibytes(1))
let driver = QEMUDriver(
    QEMUSettings(stateDirectory: state, memoryDirectory: memory, acceleration: .tcg)
)
let entropy = EntropySource()

func milliseconds(_ from: ContinuousClock.Instant) -> String {
    let parts = (ContinuousClock.now - from).components
    let value = Double(parts.seconds) * 1000 + Double(parts.attoseconds) / 1e15
    return String(format: "%.1f ms", value)
}

func newLaunch(over backing: String, format: String) async throws -> VMLaunch {
    let id = VMID(bits: UInt128(entropy.next()) << 64 | UInt128(entropy.next()))
    let folder = "\(state)/vms/\(id)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try await DiskTool().makeOverlay(
        "\(folder)/root.qcow2",
        over: backing,
        format: format,
        gibibytes: 1
    )
    return VMLaunch(
        id: id,
        name: "bench",
        cores: 1,
        memoryMiB: memoryMiB,
        directory: folder,
        kernelPath: "\(kernel.path)/vmlinuz",
        initramfsPath: "\(kernel.path)/initramfs.cpio",
        modulesPath: FileManager.default.fileExists(atPath: "\(kernel.path)/modules.img")
            ? "\(kernel.path)/modules.img" : nil,
        rootDiskPath: "\(folder)/root.qcow2",
        network: .user,
        ports: [],
        memoryDirectory: memory,
        generation: 1
    )
}

/// Greets the agent, renews the identity when asked, and answers what a shell command says.
func say(_ launch: VMLaunch, _ command: String, renew: Bool) async throws -> String {
    let stream = try await driver.guestChannel(launch.id)
    let connection = GuestConnection(
        over: stream,
        nonce: entropy.next(),
        now: SystemWallClock().now(),
        vm: launch.name
    )
    return try await withThrowingTaskGroup(of: String?.self) { group in
        group.addTask {
            await connection.run()
            return nil
        }
        group.addTask {
            _ = try await connection.ready()
            if renew {
                var request = RenewRequest(entropy: (0..<64).map { _ in UInt8.random(in: 0...255) })
                request.hostname = "fork-\(launch.id.short)"
                request.machineID = (0..<16).map { _ in UInt8.random(in: 0...255) }
                try await connection.renewIdentity(request)
            }
            let session = (0..<16).map { _ in UInt8.random(in: 0...255) }
            let exec = try await connection.exec(
                ExecRequest(session: session, arguments: ["/bin/sh", "-c", command])
            )
            var output: [UInt8] = []
            while let item = try await exec.next() {
                switch item {
                case .stdout(let bytes), .stderr(let bytes): output += bytes
                case .exited: break
                }
            }
            await connection.close()
            return String(decoding: output, as: UTF8.self)
        }
        var answer = ""
        for try await text in group { answer += text ?? "" }
        return answer
    }
}

func allocated(_ path: String) -> String {
    var status = stat()
    stat(path, &status)
    return "\((status.st_blocks * 512) >> 20) MiB"
}

let backing = ImageCatalogue.rootDisk(image)
let parent = try await newLaunch(over: backing, format: "raw")
var began = ContinuousClock.now
try await driver.start(parent)
print(
    try await say(parent, "uname -r", renew: false),
    "cold boot to first exec",
    milliseconds(began)
)

let folder = "\(state)/checkpoints/live"
for number in 1...2 {
    began = .now
    let fork = try await driver.save(
        parent,
        SaveOrder(folder: "\(folder)\(number)", memory: .onHost, afterwards: .goesOn)
    )
    print("live fork \(number), whole save:", milliseconds(began))
    began = .now
    print(try await say(parent, "echo parent goes on", renew: false), milliseconds(began))
    let child = try await newLaunch(over: fork.rootDiskPath, format: "qcow2")
    began = .now
    try await driver.start(child, from: fork)
    let started = milliseconds(began)
    let answer = try await say(child, "hostname", renew: true)
    print("child: running \(started), first exec \(milliseconds(began)):", answer)
    try await driver.kill(child.id)
}
let parentLog = try String(contentsOfFile: "\(parent.directory)/vmm.log", encoding: .utf8)
for line in parentLog.split(separator: "\n") where line.contains("roost: ") { print(line) }

began = .now
let template = try await driver.save(
    parent,
    SaveOrder(folder: "\(state)/checkpoints/template", memory: .onHost, afterwards: .ends)
)
print("template save, process reaped:", milliseconds(began))
for part in template.parts { print(" ", part.role, part.bytes, allocated(part.path)) }
var copies: [VMLaunch] = []
for _ in 0..<rounds {
    began = .now
    let copy = try await newLaunch(over: template.rootDiskPath, format: "qcow2")
    let disk = milliseconds(began)
    try await driver.start(copy, from: template)
    let running = milliseconds(began)
    let answer = try await say(
        copy,
        "cat /etc/machine-id; head -c 8 /dev/urandom | od -An -tx1; date +%s; hostname; "
            + "cat /sys/class/net/*/address",
        renew: true
    )
    print("copy: disk \(disk), running \(running), renewed and first exec \(milliseconds(began))")
    print(answer.replacing("\n", with: " "))
    copies.append(copy)
}
if let copy = copies.first {
    _ = try await say(copy, "echo kept > /root/note; echo 42 > /run/in-memory; sync", renew: false)
    began = .now
    let saved = try await driver.save(
        copy,
        SaveOrder(folder: "\(copy.directory)/suspended", memory: .onDisk, afterwards: .endsInPlace)
    )
    print("suspend of a copy:", milliseconds(began))
    for part in saved.parts { print(" ", part.role, part.bytes, allocated(part.path)) }
    began = .now
    try await driver.start(copy, from: saved)
    print("resumed:", milliseconds(began))
    let kept = try await say(copy, "cat /root/note /run/in-memory; uptime", renew: false)
    print(kept, milliseconds(began))
}
for id in try await driver.running() { try await driver.kill(id) }
for name in ["live1", "live2", "template"] {
    try await driver.discard(savedIn: "\(state)/checkpoints/\(name)")
}
