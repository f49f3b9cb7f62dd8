package import RoostDriver
internal import RoostGuestWire
package import RoostModel

/// What a QEMU command line is made of besides the VM: the host's side of it.
package struct CommandContext: Sendable, Hashable {
    /// `kvm` or `tcg`.
    package var accelerator: String
    /// The memory file, already made.
    package var memoryPath: String
    /// The child's descriptor of the listening control socket.
    package var qmpDescriptor: Int
    /// Likewise for the agent's.
    package var agentDescriptor: Int
    /// Maps the memory file copy-on-write: nothing is written to it.
    package var isPrivate: Bool
    /// Waits for a saved state and does not run by itself after it.
    package var isIncoming: Bool
    /// What the guest is shown of the process.
    package var life: ProcessLife

    package init(
        accelerator: String,
        memoryPath: String,
        qmpDescriptor: Int = 3,
        agentDescriptor: Int = 4,
        isPrivate: Bool = false,
        isIncoming: Bool = false,
        life: ProcessLife
    ) {
        self.accelerator = accelerator
        self.memoryPath = memoryPath
        self.qmpDescriptor = qmpDescriptor
        self.agentDescriptor = agentDescriptor
        self.isPrivate = isPrivate
        self.isIncoming = isIncoming
        self.life = life
    }
}

/// QEMU's arguments for one VM, without argv[0]. Pure: the same launch gives the same list.
///
/// Every part of memory, device and machine is in here; what shapes a saved state is this list.
package func qemuArguments(_ launch: VMLaunch, _ context: CommandContext) -> [String] {
    var list = base(launch, context)
    list += ["-kernel", launch.kernelPath, "-initrd", launch.initramfsPath]
    list += ["-append", kernelCommandLine(launch)]
    list += disk("root", "virtio0", path: launch.rootDiskPath, format: "qcow2", isReadOnly: false)
    if let modules = launch.modulesPath {
        list += disk("modules", "virtio1", path: modules, format: "raw", isReadOnly: true)
    }
    list += channel(context)
    list += network(launch)
    // Last, so that a reader finds the machine first; -S: half a machine must never run.
    if context.isIncoming { list += ["-S", "-incoming", "defer"] }
    return list
}

/// What the guest's kernel and agent are told; the agent's README has the contract.
package func kernelCommandLine(_ launch: VMLaunch) -> String {
    // panic=-1: a guest without the pvpanic driver resets instead of standing still for ever.
    // no_timer_check: an emulated timer on a busy host may be late for the kernel's test of it, and the
    // kernel then stands still ("8254 timer not connected to IO-APIC"). Under KVM it leaves that out.
    var words = [
        "console=ttyS0", "reboot=k", "panic=-1", "no_timer_check", "quiet", "roost.root=/dev/vda",
    ]
    if launch.modulesPath != nil { words.append("roost.modules=/dev/vdb") }
    words.append("roost.hostname=\(launch.name)")
    if launch.network == .user {
        words += ["roost.ip=10.0.2.15/24", "roost.gw=10.0.2.2", "roost.dns=10.0.2.3"]
    }
    return words.joined(separator: " ")
}

/// A value inside a QEMU option: a comma is written twice.
package func escaped(_ value: String) -> String { value.replacing(",", with: ",,") }

/// The id as QEMU's `-uuid` wants it, and as the process table shows it.
package func uuidText(_ id: VMID) -> String {
    let digits = Array(id.description)
    let cuts = [0, 8, 12, 16, 20, 32]
    return zip(cuts, cuts.dropFirst()).map { String(digits[$0..<$1]) }.joined(separator: "-")
}

/// The VM's Ethernet address as QEMU wants it: pairs of digits with colons.
package func ethernetAddress(_ id: VMID) -> String {
    id.ethernetAddress.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
}

private func base(_ launch: VMLaunch, _ context: CommandContext) -> [String] {
    // Not graphics=off: the BIOS would then write to the console.
    let off = "usb=off,vmport=off,smbus=off,sata=off,hpet=off,dump-guest-core=off"
    return [
        "-nodefaults", "-no-user-config",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-name", "guest=\(escaped(launch.name)),process=roost-\(launch.id.description.prefix(8))",
        "-uuid", uuidText(launch.id),
        "-machine", "q35,accel=\(context.accelerator),\(off),memory-backend=mem",
        "-cpu", context.accelerator == "kvm" ? "host" : "max",
        "-smp", "cpus=\(launch.cores),sockets=1,cores=\(launch.cores),threads=1",
        "-m", "\(launch.memoryMiB)M",
        "-object",
        "memory-backend-file,id=mem,size=\(launch.memoryMiB)M,"
            + "mem-path=\(escaped(context.memoryPath)),share=\(context.isPrivate ? "off" : "on")",
        "-display", "none", "-vga", "none",
        "-rtc", "base=utc,clock=host,driftfix=slew",
        // Written to vmm.log, so that a power-off is known even when no daemon was there to see it.
        "-trace", "qemu_system_shutdown_request",
        "-device", "pvpanic-pci", "-action", "panic=exit-failure",
        "-fw_cfg", "name=\(GuestLife.item),string=\(context.life.text)",
        "-object", "rng-random,id=rng0,filename=/dev/urandom",
        "-device", "virtio-rng-pci,rng=rng0",
        "-chardev", "file,id=console,path=console.log,append=on",
        "-serial", "chardev:console",
        "-chardev", "socket,id=qmp,fd=\(context.qmpDescriptor),server=on,wait=off",
        "-mon", "chardev=qmp,mode=control",
    ]
}

private func disk(
    _ node: String,
    _ device: String,
    path: String,
    format: String,
    isReadOnly: Bool
) -> [String] {
    // Host cache on, flushes honoured: a guest's fsync reaches the disk, and the host's page cache
    // is shared by all overlays of one image. `auto-read-only=off`: never silently read-only.
    let common = "read-only=\(isReadOnly ? "on" : "off"),auto-read-only=off,discard=unmap"
    let cache = "cache.direct=off,cache.no-flush=off"
    return [
        "-blockdev",
        "driver=file,node-name=\(node)-file,filename=\(escaped(path)),aio=threads,"
            + "\(cache),\(common)",
        "-blockdev", "driver=\(format),node-name=\(node),file=\(node)-file,\(cache),\(common)",
        "-device", "virtio-blk-pci,id=\(device),drive=\(node),serial=\(node)",
    ]
}

private func channel(_ context: CommandContext) -> [String] {
    [
        "-device", "virtio-serial-pci,id=serial0,max_ports=3",
        "-chardev", "socket,id=agent,fd=\(context.agentDescriptor),server=on,wait=off",
        "-device", "virtserialport,bus=serial0.0,chardev=agent,name=\(agentPortName)",
        "-chardev", "file,id=guest,path=guest.log,append=on",
        "-device", "virtserialport,bus=serial0.0,chardev=guest,name=roost.log.0",
    ]
}

/// The agent's port, and the mark by which our VMMs are known in the process table.
package let agentPortName = "roost.agent.0"

/// The published ports as QEMU writes them.
func forwards(_ launch: VMLaunch) -> [String] {
    guard launch.network == .user else { return [] }
    return launch.ports.sorted().map { port in
        "\(port.transport.rawValue):\(port.hostAddress):\(port.hostPort)"
            + "-10.0.2.15:\(port.guestPort)"
    }
}

private func network(_ launch: VMLaunch) -> [String] {
    guard launch.network == .user else { return ["-nic", "none"] }
    let forwards = forwards(launch).map { ",hostfwd=\($0)" }
    return [
        "-netdev", "user,id=net0,net=10.0.2.0/24,ipv6=off\(forwards.joined())",
        // No option ROM: nothing boots from the network.
        "-device", "virtio-net-pci,netdev=net0,mac=\(ethernetAddress(launch.id)),romfile=",
    ]
}
