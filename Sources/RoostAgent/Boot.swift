import CRoostLinux
import Glibc

/// What the kernel's command line tells the agent. See the README for the contract.
struct BootSettings: Equatable {
    var root = "/dev/vda"
    var rootFlags = ""
    var rootType = "ext4"
    var initPath: String?
    var modulesDisk: String?
    var hostname: String?
    var network: NetworkSettings?
    /// Milliseconds to wait for a disk.
    var deviceTimeout: Int32 = 10_000

    /// Reads `roost.*=` words; the last of a kind wins, all others are ignored.
    init(commandLine: String) {
        var words: [String: String] = [:]
        for word in commandLine.split(whereSeparator: \.isWhitespace) {
            guard word.hasPrefix("roost."), let equals = word.firstIndex(of: "=") else { continue }
            words[String(word[..<equals].dropFirst(6))] = String(word[word.index(after: equals)...])
        }
        root = words["root"] ?? root
        rootFlags = words["rootflags"] ?? rootFlags
        rootType = words["rootfstype"] ?? rootType
        initPath = words["init"]
        modulesDisk = words["modules"]
        hostname = words["hostname"]
        if let address = words["ip"] {
            network = NetworkSettings(
                address: address,
                gateway: words["gw"] ?? "",
                nameserver: words["dns"] ?? ""
            )
        }
    }
}

/// A step of the boot that failed for good.
struct BootFailure: Error {
    let text: String
}

/// Takes a machine from the kernel's hand to a mounted, named, connected system.
///
///     /proc /sys /dev ▶ modules ▶ root disk ▶ kernel's modules ▶ switch root ▶ run, shm, pts,
///     cgroup ▶ host name ▶ network ▶ (the image's init becomes process 1) ▶ port
struct Boot {
    private static let newRoot = "/.roost-root"
    private let settings: BootSettings

    /// Runs every step. Afterwards this process is process 1, or a child of the image's init.
    ///
    /// - Returns: whether this process is process 1.
    static func run() throws(BootFailure) -> Bool {
        mountKernelFileSystems()
        openConsole()
        let boot = Boot(
            settings: BootSettings(commandLine: RoostAgent.text(of: "/proc/cmdline") ?? "")
        )
        loadModules()
        if boot.settings.root != "none" {
            try boot.mountRoot()
            boot.mountModules()
            try boot.switchRoot()
        }
        mountRuntimeFileSystems()
        boot.setName()
        boot.setNetwork()
        guard let path = boot.settings.initPath else {
            _ = roost_soft_cad()
            return true
        }
        return try boot.become(path)
    }

    private static func mountKernelFileSystems() {
        let plain = ROOST_MS_NOSUID | ROOST_MS_NOEXEC
        for (type, target, flags, options) in [
            ("proc", "/proc", plain | ROOST_MS_NODEV, ""),
            ("sysfs", "/sys", plain | ROOST_MS_NODEV, ""),
            ("devtmpfs", "/dev", ROOST_MS_NOSUID, "mode=0755"),
        ] {
            mkdir(target, 0o755)
            _ = roost_mount(type, target, type, flags, options)
        }
    }

    /// The kernel opens no console for an initramfs without /dev/console.
    private static func openConsole() {
        var descriptor = open("/dev/console", O_RDWR | O_NOCTTY)
        if descriptor < 0 { descriptor = open("/dev/null", O_RDWR) }
        guard descriptor >= 0 else { return }
        for standard: Int32 in 0...2 where standard != descriptor { dup2(descriptor, standard) }
        if descriptor > 2 { close(descriptor) }
    }

    /// Loads /modules.list in order. A module that fails is named and left out: the kernel may
    /// have it built in, and what really needs it fails with a clearer error.
    private static func loadModules() {
        guard let list = RoostAgent.text(of: "/modules.list") else { return }
        for line in list.split(separator: "\n") where line.hasPrefix("/") {
            let path = String(line)
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else {
                say("module \(path): not in the initramfs")
                continue
            }
            let result = roost_load_module(descriptor, "")
            close(descriptor)
            // Its memory in the initramfs is needed no more.
            unlink(path)
            if result < 0 && result != -EEXIST { say("module \(path): errno \(-result)") }
        }
    }

    private func mountRoot() throws(BootFailure) {
        try wait(for: settings.root)
        mkdir(Self.newRoot, 0o755)
        let result = roost_mount(
            settings.root,
            Self.newRoot,
            settings.rootType,
            0,
            settings.rootFlags
        )
        if result == -EROFS || result == -EACCES {
            // The disk itself is read-only.
            let again = roost_mount(
                settings.root,
                Self.newRoot,
                settings.rootType,
                ROOST_MS_RDONLY,
                settings.rootFlags
            )
            guard again < 0 else { return }
        }
        guard result < 0 else {
            growRoot()
            return
        }
        throw BootFailure(
            text: "cannot mount \(settings.root) as \(settings.rootType): "
                + SystemFailure(call: "mount", subject: settings.root, errno: -result).text
        )
    }

    /// The disk may be larger than its image: then the file system grows into it, while mounted.
    private func growRoot() {
        guard settings.rootType == "ext4" else { return }
        let result = roost_grow_ext4(Self.newRoot, settings.root)
        if result < 0 { say("cannot grow \(settings.root): errno \(-result)") }
    }

    /// Waits until a device node is there, told by the kernel's uevents.
    private func wait(for device: String) throws(BootFailure) {
        guard access(device, F_OK) != 0 else { return }
        let socket = roost_uevent_socket()
        defer { if socket >= 0 { close(socket) } }
        let deadline = bootNanoseconds() + UInt64(settings.deviceTimeout) * 1_000_000
        while access(device, F_OK) != 0 {
            let now = bootNanoseconds()
            guard now < deadline else {
                let found = entries(of: "/sys/block").sorted().joined(separator: " ")
                throw BootFailure(
                    text: "no \(device) after \(settings.deviceTimeout) ms; disks: \(found)"
                )
            }
            var poller = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            // Without the socket (or if an event came before it was open) look again soon.
            let left = Int32((deadline - now) / 1_000_000) + 1
            _ = poll(&poller, socket >= 0 ? 1 : 0, socket >= 0 ? min(left, 250) : 10)
            while socket >= 0, let event = readSome(socket, 8_192), !event.isEmpty {}
        }
    }

    /// Mounts the kernel's other modules and shows them at /lib/modules/<release>. Best effort.
    private func mountModules() {
        guard let disk = settings.modulesDisk else { return }
        var name = utsname()
        uname(&name)
        let release = withUnsafeBytes(of: &name.release) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        let hold = "/.roost-modules"
        mkdir(hold, 0o755)
        let flags = ROOST_MS_RDONLY | ROOST_MS_NOSUID | ROOST_MS_NODEV
        do throws(BootFailure) { try wait(for: disk) } catch { return say(error.text) }
        let types: [String] = ["ext4", "squashfs", "erofs"]
        guard types.contains(where: { type in roost_mount(disk, hold, type, flags, "") >= 0 })
        else { return say("cannot mount the modules of \(disk)") }
        let inner = ["\(hold)/lib/modules/\(release)", "\(hold)/\(release)", hold]
        let source = inner.first { access($0, F_OK) == 0 } ?? hold
        let target = "\(Self.newRoot)/lib/modules/\(release)"
        mkdir("\(Self.newRoot)/lib", 0o755)
        mkdir("\(Self.newRoot)/lib/modules", 0o755)
        mkdir(target, 0o755)
        if roost_mount(source, target, nil, ROOST_MS_BIND, nil) < 0 {
            say("cannot show the modules at /lib/modules/\(release)")
        }
        _ = roost_unmount(hold, ROOST_MNT_DETACH)
    }

    /// As switch_root(8): the mounts move along, then the new root takes the old one's place.
    private func switchRoot() throws(BootFailure) {
        for mount in ["/dev", "/proc", "/sys"] {
            let target = Self.newRoot + mount
            mkdir(target, 0o755)
            if roost_mount(mount, target, nil, ROOST_MS_MOVE, nil) < 0 {
                throw BootFailure(text: "the root disk has no usable \(mount)")
            }
        }
        unlink("/modules.list")
        guard chdir(Self.newRoot) == 0, roost_mount(".", "/", nil, ROOST_MS_MOVE, nil) >= 0,
            chroot(".") == 0, chdir("/") == 0
        else { throw BootFailure(text: "cannot switch to the root disk: errno \(errno)") }
    }

    private static func mountRuntimeFileSystems() {
        let safe = ROOST_MS_NOSUID | ROOST_MS_NODEV
        for (type, target, flags, options) in [
            (
                "devpts", "/dev/pts", ROOST_MS_NOSUID | ROOST_MS_NOEXEC,
                "gid=5,mode=620,ptmxmode=666"
            ),
            ("tmpfs", "/dev/shm", safe, "mode=1777"),
            ("tmpfs", "/run", safe, "mode=0755"),
            ("cgroup2", "/sys/fs/cgroup", safe | ROOST_MS_NOEXEC, ""),
        ] {
            mkdir(target, 0o755)
            _ = roost_mount(type, target, type, flags, options)
        }
        // On the disk: a memory file system here would take what builds need.
        if mkdir("/tmp", 0o1777) == 0 { chmod("/tmp", 0o1777) }
        for (link, target) in [
            ("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "fd/0"), ("/dev/stdout", "fd/1"),
            ("/dev/stderr", "fd/2"),
        ] { symlink(target, link) }
    }

    private func setName() {
        if let hostname = settings.hostname {
            do throws(SystemFailure) { try setHostname(hostname) } catch { say(error.text) }
        }
        try? replaceHosts(with: settings.hostname ?? "")
    }

    private func setNetwork() {
        _ = roost_link_up("lo")
        guard let network = settings.network else { return }
        do throws(SystemFailure) { try network.apply() } catch { say(error.text) }
    }

    /// Hands process 1 to the image's init; the agent goes on as its child.
    private func become(_ path: String) throws(BootFailure) -> Bool {
        let result = withCStrings([path]) { arguments in
            withCStrings(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "TERM=linux"]) {
                roost_become_init(path, arguments, $0)
            }
        }
        guard result == 0 else {
            throw BootFailure(text: "cannot run init \(path): errno \(-result)")
        }
        return false
    }
}
