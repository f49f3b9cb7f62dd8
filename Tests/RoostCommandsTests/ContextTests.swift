import Foundation
import RoostModel
import RoostTrust
import Testing

@testable import RoostCommands

@Suite struct EndpointTests {
    @Test(arguments: [
        ("unix:///run/roost.sock", "unix:///run/roost.sock"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.8.7:1/", "http://127.9.8.7:1"),
        ("http://localhost:80", "http://127.0.0.1:80"), ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://roost.example:8444/", "https://roost.example:8444"),
        ("https://10.0.0.1:8444", "https://10.0.0.1:8444"),
        ("https://[fd00::1]:8444", "https://[fd00::1]:8444"),
    ])
    func loopbackAndSocketsAreRead(text: String, wanted: String) throws {
        #expect(try Endpoint(text).description == wanted)
    }

    @Test(arguments: [
        ("unix://run/roost.sock", Reason.invalidFields), ("unix:///", .invalidFields),
        ("unix:///" + String(repeating: "s", count: 104), .socketPathTooLong),
        ("http://10.0.0.1:8080", .invalidFields), ("http://roost.example:8080", .invalidFields),
        ("http://127.0.0.1", .invalidFields), ("http://127.0.0.1:0", .invalidFields),
        ("http://127.0.0.1:65536", .invalidFields),
        ("http://127.0.0.1.evil.org:80", .invalidFields),
        ("http://127.0.0.01:80", .invalidFields), ("http://u@127.0.0.1:80", .invalidFields),
        ("http://127.0.0.1:80/x", .invalidFields), ("ftp://127.0.0.1:80", .invalidFields),
        ("", .invalidFields), ("https://roost.example", .invalidFields),
        ("https://:8444", .invalidFields), ("https://roost.example:0", .invalidFields),
        ("https://roost.example:8444/x", .invalidFields), ("https://a b:8444", .invalidFields),
        ("https://[::1:8444", .invalidFields), ("https://t@roost.example:8444", .invalidFields),
    ])
    func everythingElseIsRefused(text: String, reason: Reason) {
        let fault = #expect(throws: Fault.self) { try Endpoint(text) }
        #expect(fault?.reason == reason, "\(text)")
    }
}

@Suite struct AccessTextTests {
    static let token = AccessToken(
        id: Array(repeating: 1, count: 6),
        secret: Array(repeating: 2, count: 16),
        fingerprint: String(repeating: "a", count: 64)
    )

    @Test func whatIsPrintedIsReadWithItsAddressOrWithout() throws {
        let text = Self.token.text.reveal()
        #expect(try AccessText(text).token == Self.token)
        #expect(try AccessText(text).endpoint == nil)
        let whole = try AccessText("https://\(text)@control.example:8444")
        #expect(whole.token == Self.token && whole.endpoint == "https://control.example:8444")
        let endpoint = Endpoint.fleet(host: "control.example", port: 8444, Self.token)
        #expect(endpoint.description == "https://control.example:8444")
    }

    @Test func whatIsCutOrHasNoAddressIsRefused() {
        let text = Self.token.text.reveal()
        let cases: [(String, Reason)] = [
            ("", .accessTokenInvalid), ("https://\(text)", .accessTokenInvalid),
            ("https://\(text.dropLast())@h:1", .accessTokenInvalid),
            ("https://\(text)@h", .invalidFields), ("https://\(text)@\(text)@h:1", .invalidFields),
        ]
        for (text, reason) in cases {
            let fault = #expect(throws: Fault.self) { try AccessText(text) }
            #expect(fault?.reason == reason)
            #expect(fault?.message.contains("0202020202") == false)
        }
    }
}

@Suite struct ContextChoiceTests {
    struct Row: Sendable {
        var context: String?
        var socket: String?
        var state: String?
        var environment: [String: String] = [:]
        var wanted: ContextChoice
    }

    static let everything = ["ROOST_SOCKET": "/s", "ROOST_STATE_DIR": "/d", "ROOST_CONTEXT": "b"]
    static let rows = [
        Row(context: "a", environment: everything, wanted: .named("a", by: "--context")),
        Row(socket: "/x", environment: everything, wanted: .local("--socket")),
        Row(state: "/x", environment: everything, wanted: .local("--state-dir")),
        Row(environment: everything, wanted: .local("ROOST_SOCKET")),
        Row(
            environment: ["ROOST_STATE_DIR": "/d", "ROOST_CONTEXT": "b"],
            wanted: .local("ROOST_STATE_DIR")
        ),
        Row(
            environment: ["ROOST_CONTEXT": "b", "ROOST_SOCKET": ""],
            wanted: .named("b", by: "ROOST_CONTEXT")
        ),
        Row(environment: ["ROOST_CONTEXT": ""], wanted: .used),
    ]

    @Test(arguments: rows)
    func flagsBeforeEnvironmentBeforeUse(row: Row) throws {
        let found = try ContextChoice(
            contextFlag: row.context,
            socketFlag: row.socket,
            stateFlag: row.state,
            environment: row.environment
        )
        #expect(found == row.wanted)
    }

    @Test func twoFlagsThatNameDaemonsAreOneTooMany() {
        #expect(throws: Fault.self) {
            try ContextChoice(contextFlag: "a", socketFlag: "/x", stateFlag: nil, environment: [:])
        }
    }
}

/// A home of its own for each test.
private func withHome(
    _ body: (_ home: String, _ file: String) async throws -> Void
) async throws {
    let home = "/tmp/roost-context-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: home) }
    try await body(home, "\(home)/roost/contexts.json")
}

@Suite struct ContextTests {
    @Test func aContextIsMadeUsedShownAndForgotten() async throws {
        try await FakeDaemon.serving { daemon in
            daemon.vms.add(FakeVMs.vm("box"))
            let here = [
                "ROOST_SOCKET": "", "XDG_CONFIG_HOME": daemon.directory,
                // This host's own daemon is not there, and must not be asked for.
                "XDG_DATA_HOME": daemon.directory + "/data", "PATH": "/nonexistent",
            ]
            func roost(_ words: String...) async throws -> FakeDaemon.Outcome {
                try await daemon.roost(words, input: "", environment: here)
            }
            let url = "unix://\(daemon.socket)"
            #expect(try await roost("context", "create", "lab", "--endpoint", url).status == 0)
            #expect(try await roost("context", "ls", "-q").output == "default\nlab\n")
            let byFlag = try await roost("--context", "lab", "ls", "-q")
            #expect(byFlag == .init(status: 0, output: "box\n", errors: ""))
            var environment = here
            environment["ROOST_CONTEXT"] = "lab"
            let byVariable = try await daemon.roost(
                ["ls", "-q"],
                input: "",
                environment: environment
            )
            #expect(byVariable.output == "box\n")
            #expect(try await roost("context", "use", "lab").status == 0)
            #expect(try await roost("ls", "-q").output == "box\n")
            #expect(try await roost("context", "show", "-o", "name").output == "lab\n")
            let inUse = try await roost("context", "rm", "lab")
            #expect(inUse.status == 4)
            #expect(inUse.errors.contains("roost context use default"))
            #expect(try await roost("context", "use", "default").status == 0)
            #expect(try await roost("context", "rm", "lab").status == 0)
            #expect(try await roost("context", "show", "lab").status == 3)
            #expect(try await roost("context", "ls", "-q").output == "default\n")
        }
    }

    @Test func thePlaceOfADaemonInTheEnvironmentIsStrongerThanUse() async throws {
        try await FakeDaemon.serving { daemon in
            let config = ["XDG_CONFIG_HOME": daemon.directory]
            let dead = "unix://\(daemon.directory)/dead.sock"
            let made = try await daemon.roost(
                "context",
                "create",
                "dead",
                "--endpoint",
                dead,
                environment: config
            )
            #expect(made.status == 0)
            let used = try await daemon.roost("context", "use", "dead", environment: config)
            #expect(used.errors.contains("ROOST_SOCKET is stronger"))
            #expect(try await daemon.roost("ls", "-q", environment: config).status == 0)
        }
    }

    @Test func aContextsDaemonIsNeverStartedNorLookedAfter() async throws {
        try await withHome { home, _ in
            func roost(_ words: String...) async -> (Int32, String) {
                let errors = Pipe()
                let invocation = Invocation(
                    environment: ["HOME": home, "XDG_CONFIG_HOME": home, "PATH": "/nonexistent"],
                    output: -1,
                    errors: errors.fileHandleForWriting.fileDescriptor
                )
                let status = await roostMain(words, in: invocation)
                try? errors.fileHandleForWriting.close()
                let text = errors.fileHandleForReading.readDataToEndOfFile()
                return (status, String(decoding: text, as: UTF8.self))
            }
            _ = await roost("context", "create", "dead", "--endpoint", "unix://\(home)/dead.sock")
            _ = await roost("context", "create", "shut", "--endpoint", "http://127.0.0.1:1")
            for name in ["dead", "shut"] {
                for words in [["ls"], ["run", "-d", "--name", "x"], ["daemon", "status"]] {
                    var invocation = Invocation(
                        environment: ["HOME": home, "XDG_CONFIG_HOME": home],
                        output: -1,
                        errors: -1
                    )
                    invocation.programDirectory = "/nonexistent"
                    let status = await roostMain(words + ["--context", name], in: invocation)
                    #expect(status == (words[0] == "run" ? 125 : 6), "\(name) \(words)")
                }
            }
            let (status, said) = await roost("ls", "--context", "dead")
            #expect(status == 6)
            #expect(said.contains("no daemon answers at unix://\(home)/dead.sock"))
            #expect(said.contains("hint: start the daemon where it runs"))
            for verb in ["start", "stop", "restart", "logs"] {
                let (status, said) = await roost("daemon", verb, "--context", "dead")
                #expect(status == 1)
                #expect(said.contains("is looked after where it runs"), "\(verb)")
            }
        }
    }

    static let corrupt = [
        "", "{", "[]", "nonsense", #"{"contexts":[]}"#, #"{"version":2,"contexts":[]}"#,
        #"{"version":1,"contexts":[],"more":1}"#, #"{"version":1,"contexts":[{"name":"a"}]}"#,
        #"{"version":1,"contexts":[{"name":"A","endpoint":"unix:///x"}]}"#,
        #"{"version":1,"contexts":[],"used":"a"}"#,
        #"{"version":1,"contexts":[{"name":"a","endpoint":"x"},{"name":"a","endpoint":"y"}]}"#,
    ]

    @Test(arguments: corrupt)
    func aFileThatIsNotUnderstoodIsNamedAndKept(text: String) async throws {
        try await withHome { home, file in
            try FileManager.default.createDirectory(
                atPath: home + "/roost",
                withIntermediateDirectories: true
            )
            try Data(text.utf8).write(to: URL(filePath: file))
            let contextFile = ContextFile(environment: ["XDG_CONFIG_HOME": home])
            let fault = #expect(throws: Fault.self) { try contextFile.read() }
            #expect(fault?.reason == .contextsUnreadable)
            #expect(fault?.message.contains(file) == true)
            #expect(fault?.remedy.contains("mv \(file)") == true)
            await #expect(throws: Fault.self) {
                try await contextFile.change { contexts throws(Fault) in
                    try contexts.add(Context(name: "b", endpoint: "unix:///b"))
                }
            }
            #expect(try String(contentsOfFile: file, encoding: .utf8) == text)
        }
    }

    @Test(arguments: ["", "Upper", "a.b", "-a", "a-", "default", String(repeating: "a", count: 64)])
    func aNameIsADNSLabelAndNotTheLocalOne(name: String) {
        var contexts = Contexts()
        #expect(throws: Fault.self) {
            try contexts.add(Context(name: name, endpoint: "unix:///x"))
        }
        #expect(contexts.all.isEmpty)
    }

    @Test func aTakenNameIsRefusedAndWhatWasWrittenIsReadAgain() throws {
        var contexts = Contexts()
        try contexts.add(Context(name: "b", endpoint: "http://127.0.0.1:80"))
        try contexts.add(Context(name: "a", endpoint: "unix:///x"))
        try contexts.use("b")
        let fault = #expect(throws: Fault.self) {
            try contexts.add(Context(name: "b", endpoint: "unix:///y"))
        }
        #expect(fault?.reason == .contextExists)
        #expect(try Contexts(json: contexts.json()) == contexts)
    }

    @Test func changesAtOnceLoseNothing() async throws {
        try await withHome { home, _ in
            let file = ContextFile(environment: ["XDG_CONFIG_HOME": home])
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<20 {
                    group.addTask {
                        try await file.change { contexts throws(Fault) in
                            try contexts.add(
                                Context(name: "c\(index)", endpoint: "unix:///\(index)")
                            )
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try file.read().all.count == 20)
            let names = try FileManager.default.contentsOfDirectory(atPath: home + "/roost")
            #expect(names == ["contexts.json"])
        }
    }
}
