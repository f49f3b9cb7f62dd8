import RoostAPI
import RoostModel
import Testing

@testable import RoostCommands

@Suite struct ParsingTests {
    @Test(arguments: [
        ("8080:80", "127.0.0.1:8080->80/tcp"), ("80", "127.0.0.1:*->80/tcp"),
        ("0.0.0.0:53:5353/udp", "0.0.0.0:53->5353/udp"), ("0:22/tcp", "127.0.0.1:*->22/tcp"),
    ])
    func aPublishedPortIsReadAsDockerReadsIt(text: String, means: String) throws {
        #expect(portText(try publishedPort(text)) == means)
    }

    @Test(arguments: [
        "", ":", "80:", ":80", "0:0", "65536:80", "80:65536", "a:80", "80/sctp", "1:2:3:4",
        "256.0.0.1:1:2", "+80:80", "::1:80:80", "-1:80",
    ])
    func whatIsNoPortIsRefusedWithItsText(text: String) {
        let fault = #expect(throws: Fault.self) { try publishedPort(text) }
        #expect(fault?.reason == .invalidFields)
        #expect(fault?.message.contains("'\(text)'") == true)
    }

    @Test(arguments: [("512", 512), ("512m", 512), ("2g", 2048), ("2GiB", 2048)])
    func memoryIsInMebibytesUnlessItSaysOtherwise(text: String, mebibytes: Int64) throws {
        #expect(try memoryMebibytes(text) == mebibytes)
    }

    @Test(arguments: ["", "0", "-1", "m", "1.5g", "2x", "9999999999999999999"])
    func whatIsNoAmountIsRefused(text: String) {
        #expect(throws: Fault.self) { try memoryMebibytes(text) }
    }

    @Test(arguments: [
        ("30", 30_000), ("30s", 30_000), ("500ms", 500), ("5m", 300_000), ("1h30m", 5_400_000),
    ])
    func aDurationAddsUpItsUnits(text: String, milliseconds: Int) throws {
        #expect(try duration(text, flag: "--timeout") == .milliseconds(milliseconds))
    }

    @Test(arguments: ["", "s", "1h30", "5 m", "-5s", "1w", "99999999999s"])
    func whatIsNoDurationIsRefused(text: String) {
        #expect(throws: Fault.self) { try duration(text, flag: "--timeout") }
    }

    @Test func wholeSecondsAreRoundedUpAndNeverNone() {
        #expect(Duration.milliseconds(1).wholeSeconds == 1)
        #expect(Duration.milliseconds(1001).wholeSeconds == 2)
        #expect(Duration.seconds(-3).wholeSeconds == 1)
    }

    @Test(arguments: [
        ("box:/a/b", CopyPlace.guest(vm: "box", path: "/a/b")), ("-", .stream),
        ("./a:b", .host("./a:b")), ("/x:/y", .host("/x:/y")), ("file", .host("file")),
        (":x", .host(":x")),
    ])
    func aCopyPlaceIsAVMsOnlyBeforeAColonWithoutASlash(text: String, place: CopyPlace) throws {
        #expect(try CopyPlace(text) == place)
    }

    @Test func aRelativePathInAVMIsRefused() {
        #expect(throws: Fault.self) { try CopyPlace("box:tmp") }
        #expect(throws: Fault.self) { try CopyPlace("") }
    }

    @Test func aPathsSpellingSaysWhatItIs() {
        #expect(PathShape("/a/b/").mustBeDirectory)
        #expect(PathShape("/a/b/").name == "b")
        #expect(PathShape("/a/b/").parent == "/a")
        #expect(PathShape("a/.").contentsOnly)
        #expect(PathShape("a/.").path == "a")
        #expect(PathShape("/").path == "/")
        #expect(PathShape("/").name == ".")
        #expect(PathShape("f").parent == ".")
    }

    @Test func anEnvironmentFileKeepsItsValuesAsTheyStand() throws {
        let text = "# note\nA=1 2\n\n  B=\"x\"\nHOME\nMISSING\n"
        let entries = try environmentFile(text, path: "f", inherited: ["HOME": "/h"])
        #expect(entries == ["A=1 2", "B=\"x\"", "HOME=/h"])
        let fault = #expect(throws: Fault.self) {
            try environmentFile("A=1\nbad name=2", path: "f", inherited: [:])
        }
        #expect(fault?.message.contains("f:2") == true)
    }

    @Test func labelChangesSetAndTakeAway() throws {
        let labels = try changed(["a": "1", "b": "2"], by: ["a=3", "b-", "c=x-"])
        #expect(labels == ["a": "3", "c": "x-"])
        #expect(throws: Fault.self) { try changed([:], by: ["=x"]) }
    }

    @Test func generatedNamesAreNamesAndDiffer() {
        var generator = SystemRandomNumberGenerator()
        let names = (0..<200).map { generatedName(attempt: $0 % 2, using: &generator) }
        #expect(names.allSatisfy { nameProblem($0) == nil })
        #expect(Set(names).count > 150)
    }

    @Test(arguments: [
        (["--op-id", "X", "start", "box"], ["start", "--op-id", "X", "box"]),
        (["-o", "json", "image", "ls"], ["image", "ls", "-o", "json"]),
        (["--socket=/s", "ls"], ["ls", "--socket=/s"]),
        (["--help"], ["--help"]), (["-q"], ["-q"]), (["ls", "-q"], ["ls", "-q"]),
        (["--bad", "ls"], ["--bad", "ls"]),
    ])
    func optionsBeforeTheCommandCountAsItsOwn(given: [String], moved: [String]) {
        #expect(movingLeadingOptions(given) { $0 == "image" } == moved)
    }

    @Test(arguments: [
        ("0.2.0", "0.1.9", true), ("0.10.0", "0.9.0", true), ("0.1.0", "0.1.0", false),
        ("0.1", "0.1.0", false), ("0.1.0", "0.2.0", false), ("roost 1.0", "0.9", true),
    ])
    func versionsAreComparedByNumber(left: String, right: String, isNewer: Bool) {
        #expect(RoostCommands.isNewer(left, than: right) == isNewer)
    }

    @Test func onlyANewerClientReplacesAnIdleDaemon() {
        #expect(VersionSkew(client: "2", daemon: "1", busyWith: nil).mustRestart)
        #expect(
            VersionSkew(client: "1", daemon: "2", busyWith: nil)
                == .init(client: "1", daemon: "1", busyWith: nil)
        )
        let busy = VersionSkew(client: "2", daemon: "1", busyWith: ["1 session"])
        #expect(!busy.mustRestart)
        #expect(busy.note?.contains("1 session") == true)
    }

    @Test func aSecondInterruptWithinTwoSecondsGivesUp() {
        var counter = InterruptCounter()
        let start = ContinuousClock.now
        let gaveUp = [0, 3, 4].map { counter.note(at: start + .seconds($0)) }
        #expect(gaveUp == [false, false, true])
    }

    @Test(arguments: [1, 7, 1000])
    func theLastLinesAreKeptHoweverTheyCome(size: Int) {
        let text = Array((1...50).map { "l\($0)\n" }.joined().utf8) + Array("tail".utf8)
        var lines = LastLines(count: 3)
        for start in stride(from: 0, to: text.count, by: size) {
            lines.append(Array(text[start..<min(start + size, text.count)]))
        }
        #expect(String(decoding: lines.bytes, as: UTF8.self) == "l49\nl50\ntail")
    }
}

@Suite struct PlaceTests {
    func place(
        socket: String? = nil,
        state: String? = nil,
        _ environment: [String: String],
        root: Bool = false
    ) throws -> DaemonPlace {
        try DaemonPlace(
            socketFlag: socket,
            stateFlag: state,
            environment: environment,
            isRoot: root,
            workingDirectory: "/w"
        )
    }

    @Test func theUsualPlaceIsTheUsersOwn() throws {
        let user = try place(["HOME": "/h", "XDG_RUNTIME_DIR": "/run/user/7"])
        #expect(user.stateDirectory == "/h/.local/share/roost")
        #expect(user.socket == "/run/user/7/roost/roost.sock")
        #expect(try place(["HOME": "/h"]).socket == "/h/.local/share/roost/roost.sock")
        let root = try place(["HOME": "/root", "XDG_RUNTIME_DIR": "/run/user/0"], root: true)
        #expect(root.socket == "/var/lib/roost/roost.sock")
        #expect(throws: Fault.self) { try place([:]) }
    }

    @Test func anotherStateDirectoryHasAnotherSocket() throws {
        let environment = ["HOME": "/h", "XDG_RUNTIME_DIR": "/run/u", "ROOST_STATE_DIR": "s"]
        #expect(try place(environment).socket == "/w/s/roost.sock")
        #expect(try place(state: "/t", environment).socket == "/t/roost.sock")
        #expect(try place(socket: "x.sock", environment).socket == "/w/x.sock")
    }

    @Test func aSocketPathThatNoSystemTakesIsRefused() {
        let long = "/" + String(repeating: "a", count: 149)
        let fault = #expect(throws: Fault.self) { try place(socket: long, ["HOME": "/h"]) }
        #expect(fault?.reason == .socketPathTooLong)
        #expect(fault?.message.contains("150") == true)
        #expect(throws: Never.self) {
            try place(socket: "/" + String(repeating: "a", count: 102), ["HOME": "/h"])
        }
    }

    @Test func aDaemonInheritsLittle() throws {
        let place = try place(state: "/s", [:])
        let entries = daemonEnvironment(
            ["PATH": "/bin", "SECRET": "x", "ROOST_SOCKET": "old", "https_proxy": "p"],
            place
        )
        let wanted = [
            "PATH=/bin", "ROOST_READY_FD=3", "ROOST_SOCKET=/s/roost.sock", "ROOST_STATE_DIR=/s",
            "https_proxy=p",
        ]
        #expect(entries == wanted)
    }
}

@Suite("Proxy variables")
struct ProxyVariableTests {
    @Test(arguments: [
        ("http://127.0.0.1:3128", "http://10.0.2.2:3128"),
        ("http://me:pw@localhost:3128/x", "http://me:pw@10.0.2.2:3128/x"),
        ("localhost", "10.0.2.2"), ("http://[::1]:8080", "http://10.0.2.2:8080"),
        ("http://localhost.example:1", "http://localhost.example:1"),
        ("http://proxy.example:3128", "http://proxy.example:3128"),
    ])
    func aProxyOnLoopbackIsTheHostForAGuest(_ here: String, _ there: String) {
        #expect(proxyVariables(of: ["HTTP_PROXY": here]) == ["HTTP_PROXY=\(there)"])
    }

    @Test func bothCasesAreTakenAndOthersAreLeft() {
        let environment = [
            "https_proxy": "http://p:1", "NO_PROXY": "localhost,127.0.0.1", "HTTP_PROXY": "",
            "SECRET": "x",
        ]
        let wanted = ["https_proxy=http://p:1", "NO_PROXY=localhost,127.0.0.1"]
        #expect(proxyVariables(of: environment) == wanted)
    }
}
