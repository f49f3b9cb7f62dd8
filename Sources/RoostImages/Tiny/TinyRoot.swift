import Glibc
package import RoostModel

/// The smallest root file system that a person can use: Debian's busybox-static and a few files.
package enum TinyRoot {
    /// The directories and their modes, parents first.
    private static let directories: [(path: StaticString, mode: UInt16)] = [
        ("bin", 0o755), ("dev", 0o755), ("etc", 0o755), ("home", 0o755), ("lib", 0o755),
        ("lib/modules", 0o755), ("mnt", 0o755), ("opt", 0o755), ("proc", 0o555), ("root", 0o700),
        ("run", 0o755), ("sbin", 0o755), ("srv", 0o755), ("sys", 0o555), ("tmp", 0o1777),
        ("usr", 0o755), ("usr/bin", 0o755), ("usr/lib", 0o755), ("usr/local", 0o755),
        ("usr/local/bin", 0o755), ("usr/sbin", 0o755), ("var", 0o755), ("var/log", 0o755),
        ("var/tmp", 0o1777),
    ]

    private static let files: [(path: StaticString, mode: UInt16, text: String)] = [
        ("etc/fstab", 0o644, ""),
        (
            "etc/group", 0o644,
            "root:x:0:\ndaemon:x:1:\ntty:x:5:\nusers:x:100:\nnogroup:x:65534:\n"
        ),
        ("etc/hostname", 0o644, "roost\n"),
        ("etc/hosts", 0o644, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n"),
        (
            "etc/os-release", 0o644,
            """
            NAME="Roost tiny"
            ID=roost-tiny
            PRETTY_NAME="Roost tiny (busybox)"
            VERSION_ID=1

            """
        ),
        (
            "etc/passwd", 0o644,
            """
            root:x:0:0:root:/root:/bin/sh
            daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
            nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin

            """
        ),
        (
            "etc/profile", 0o644,
            """
            export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
            export PS1='\\u@\\h:\\w\\$ '

            """
        ),
        ("etc/resolv.conf", 0o644, ""),
        ("etc/shadow", 0o600, "root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n"),
        ("etc/shells", 0o644, "/bin/sh\n/bin/ash\n"),
    ]

    /// Adds the files. `applets` are busybox's names for itself, such as `usr/bin/wc`.
    static func add(
        busybox: [UInt8],
        applets: [ArchivePath],
        to builder: Ext4Builder
    ) throws(Fault) {
        for directory in directories {
            let metadata = FileMetadata(mode: directory.mode)
            try builder.add(.directory, metadata, at: ArchivePath(directory.path))
        }
        for file in files {
            let metadata = FileMetadata(mode: file.mode)
            try builder.add(content: Array(file.text.utf8), metadata, at: ArchivePath(file.path))
        }
        let program = ArchivePath("bin/busybox")
        try builder.add(content: busybox, FileMetadata(mode: 0o755), at: program)
        let console = FileKind.characterDevice(major: 5, minor: 1)
        try builder.add(console, FileMetadata(mode: 0o600), at: ArchivePath("dev/console"))
        let null = FileKind.characterDevice(major: 1, minor: 3)
        try builder.add(null, FileMetadata(mode: 0o666), at: ArchivePath("dev/null"))
        let link = FileMetadata(mode: 0o777)
        let run = ArchivePath("var/run")
        try builder.add(.symbolicLink(Array("/run".utf8)), link, at: run)
        for applet in applets where applet != program {
            try builder.add(.symbolicLink(Array("/bin/busybox".utf8)), link, at: applet)
        }
    }

    /// Reads what `busybox --list-full` says: a path a line.
    static func applets(_ text: [UInt8]) throws(Fault) -> [ArchivePath] {
        let lines = text.split(separator: 0x0A)
        guard (10...2000).contains(lines.count) else {
            throw Fault(.imageInvalid, "busybox lists \(lines.count) applets")
        }
        var paths: [ArchivePath] = []
        for line in lines {
            let path = try ArchivePath(archived: Array(line))
            // `linuxrc` at the top is for initial ram disks of old.
            if path.names.count > 1 { paths.append(path) }
        }
        return paths
    }
}

extension Catalogue<ImageManifest> {
    /// Makes the tiny root image from the statically linked busybox at `busybox`. Blocking.
    ///
    /// The program is run once, as `busybox --list-full`, to learn its applets' names.
    ///
    /// - Throws: `pathNotFound`, `imageInvalid` if it is no static x86-64 busybox, `diskFull`.
    package func importTinyRoot(
        busybox: String,
        size: ByteCount,
        configuration: ImageConfiguration = ImageConfiguration(
            command: ["/bin/sh", "-l"],
            environment: ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"],
            workingDirectory: "/root"
        )
    ) throws(Fault) -> CatalogueEntry<ImageManifest> {
        let program = try DiskFile.reading(busybox).readAll(limit: .mebibytes(64))
        guard Self.isStaticProgram(program) else {
            throw Fault(
                .imageInvalid,
                "\(printable(busybox)) is no statically linked x86-64 program"
            )
        }
        return try assemble(size: size, configuration: configuration) {
            builder,
            folder throws(Fault) in
            let output = "\(folder)/applets"
            try Tool(path: busybox).run(
                ["--list-full"],
                output: output,
                seconds: 10,
                failure: .imageInvalid
            )
            let text = try DiskFile.reading(output).readAll(limit: .mebibytes(1))
            // Busybox does not notice that it cannot write.
            if text.isEmpty, isFull(folder) { throw systemFault(ENOSPC, "write", output) }
            try HostFolder.removeAll(output)
            try HostFolder.removeAll("\(output).log")
            let applets = try TinyRoot.applets(text)
            try TinyRoot.add(busybox: program, applets: applets, to: builder)
        }
    }

    /// Whether it is an ELF program for x86-64 without an interpreter (segment type 3).
    private static func isStaticProgram(_ bytes: [UInt8]) -> Bool {
        guard bytes.starts(with: [0x7F, 0x45, 0x4C, 0x46, 2, 1]),
            bytes.little(UInt16.self, at: 18) == 62,
            let table = bytes.little(UInt64.self, at: 32).flatMap({ Int(exactly: $0) }),
            let size = bytes.little(UInt16.self, at: 54),
            let count = bytes.little(UInt16.self, at: 56), count > 0, table < bytes.count
        else { return false }
        return (0..<Int(count)).allSatisfy { index in
            bytes.little(UInt32.self, at: table + index * Int(size)) != 3
        }
    }
}

/// Whether the file system of `path` has no room.
private func isFull(_ path: String) -> Bool {
    var facts = statvfs()
    return statvfs(path, &facts) == 0 && facts.f_bavail == 0
}
