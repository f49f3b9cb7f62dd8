import Foundation
import RoostGuestWire
import RoostModel
import RoostNode
import Testing

private func run(_ program: String, _ arguments: String...) throws -> Int32 {
    let process = Process()
    process.executableURL = URL(filePath: program)
    process.arguments = arguments
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    return process.terminationStatus
}

private func all(_ reader: GuestReader) async throws -> [UInt8] {
    var bytes: [UInt8] = []
    while let part = try await reader.next() { bytes += part }
    return bytes
}

@Suite("Files", .serialized)
struct FileTests {
    @Test func aFileComesBackAsItWasWritten() async throws {
        try await withDirectory { directory in
            try await withAgent { guest in
                // The agent's own preamble in a file must not upset the channel.
                let bytes = Array(repeating: Hello(side: .host, nonce: 1).encoded(), count: 9_000)
                    .flatMap { $0 }
                let path = "\(directory)/f"
                let writer = try guest.writeFile(
                    WriteFileRequest(
                        path: path,
                        mode: 0o640,
                        uid: getuid(),
                        gid: getgid(),
                        size: UInt64(bytes.count)
                    )
                )
                try await writer.write(bytes)
                #expect(!FileManager.default.fileExists(atPath: path))
                #expect(try await writer.finish() == UInt64(bytes.count))
                let reader = try await guest.readFile(path)
                #expect(reader.facts?.mode == 0o100_640)
                #expect(try await all(reader) == bytes)
                #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["f"])
            }
        }
    }

    @Test func aFileCutShortIsNotPutInPlace() async throws {
        try await withDirectory { directory in
            try await withAgent { guest in
                let request = WriteFileRequest(
                    path: "\(directory)/f",
                    mode: 0o600,
                    uid: getuid(),
                    gid: getgid(),
                    size: 10
                )
                let writer = try guest.writeFile(request)
                try await writer.write([1, 2, 3])
                await #expect(throws: Fault.self) { try await writer.finish() }
                #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == [])
            }
        }
    }

    @Test(arguments: ["/no/such/file", "/etc", "/dev/null"])
    func whatIsNoFileIsRefused(path: String) async throws {
        try await withAgent { guest in
            await #expect(throws: Fault.self) { try await guest.readFile(path) }
        }
    }

    @Test func aTreeSurvivesTheRoundTripAndTarReadsIt() async throws {
        try await withDirectory { directory in
            let long = String(repeating: "n", count: 150)
            let script = """
                mkdir -p a/b/\(long); echo x > a/f; ln a/f a/g; ln -s ../a/f a/b/s; chmod 751 a/b
                chmod 4755 a/f; mkfifo a/p; head -c 100001 /dev/urandom > a/b/\(long)/r; touch -d @5 a/f
                """
            let make = "cd \(directory) && \(script)"
            #expect(try run("/bin/sh", "-c", make) == 0)
            try await withAgent { guest in
                let tar = try await all(try guest.tarOut("\(directory)/a", contentsOnly: false))
                let archive = "\(directory)/t.tar"
                try Data(tar).write(to: URL(filePath: archive))
                #expect(try run("/bin/mkdir", "\(directory)/x") == 0)
                #expect(try run("/bin/tar", "-C", "\(directory)/x", "-xpf", archive) == 0)
                let writer = try guest.tarIn("\(directory)/y", ownersFromArchive: true)
                try await writer.write(tar)
                #expect(try await writer.finish() == UInt64(tar.count))
                let list = "find . -printf '%P %y %m %s %U %G %n %T@ %l\\n' | sed 's/^ .*//' | sort"
                let compare = """
                    cd \(directory); (cd x/a; \(list)) > 1; (cd y/a; \(list)) > 2; (cd a; \(list)) > 3
                    cut -d. -f1 1 > 1c; cut -d. -f1 2 > 2c; cut -d. -f1 3 > 3c
                    cmp 1c 2c && cmp 2c 3c && cmp a/b/\(long)/r y/a/b/\(long)/r && test y/a/f -ef y/a/g
                    """
                #expect(try run("/bin/sh", "-c", compare) == 0)
            }
        }
    }

    @Test(arguments: [
        "printf x > ../evil; tar -cPf t ../evil",
        "printf x > /tmp/roost-evil; tar -cPf t /tmp/roost-evil",
        "ln -s /tmp l; tar -cf t l; rm l; mkdir l; printf x > l/roost-evil; tar -rf t l/roost-evil",
        "ln -s .. l; tar -cf t l; rm l; mkdir l; printf x > l/evil; tar -rf t l/evil",
        "printf x > f; tar -cf u f; head -c 700 u > t", "printf nonsense-nonsense > t",
    ])
    func anArchiveThatLeavesItsDirectoryOrIsCutIsRefused(script: String) async throws {
        try await withDirectory { directory in
            let make =
                "mkdir \(directory)/w && cd \(directory)/w && \(script); rm -f ../evil /tmp/roost-evil"
            #expect(try run("/bin/sh", "-c", make) == 0)
            let tar = try [UInt8](Data(contentsOf: URL(filePath: "\(directory)/w/t")))
            try await withAgent { guest in
                let writer = try guest.tarIn("\(directory)/in", ownersFromArchive: false)
                await #expect(throws: Fault.self) {
                    try await writer.write(tar)
                    _ = try await writer.finish()
                }
                #expect(!FileManager.default.fileExists(atPath: "/tmp/roost-evil"))
                #expect(!FileManager.default.fileExists(atPath: "\(directory)/evil"))
            }
        }
    }

    @Test func theGuestsFactsAreThere() async throws {
        try await withAgent { guest in
            let stats = try await guest.stats()
            #expect(stats.memoryTotalBytes > stats.memoryAvailableBytes)
            #expect(stats.cpuTotalTicks > stats.cpuBusyTicks && stats.processes > 0)
            var server = command("sleep", "0")
            server.onDetach = .kill
            let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(listener) }
            #expect(listen(listener, 1) == 0)
            #expect(
                try await guest.ports().contains {
                    $0.transport == .tcp && $0.address == [0, 0, 0, 0]
                }
            )
            try await guest.ping()
            await #expect { try await guest.setClock(Timestamp(milliseconds: 1)) } throws: {
                ($0 as? Fault)?.reason == .unsupported
            }
        }
    }
}
