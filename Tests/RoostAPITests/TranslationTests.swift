import RoostAPI
import RoostModel
import SwiftProtobuf
import Testing

@Suite("Model and messages")
struct TranslationTests {
    @Test func whatARequestLeavesOutStaysMissing() throws {
        let draft = try VMDraft(Roost_Compute_V1_CreateVMRequest.with { $0.name = "a" })
        #expect(draft.cores == nil && draft.memoryMiB == nil && draft.rootDiskGiB == nil)
        #expect(draft.project == "default" && draft.network == .user)
        #expect(draft.violations().map(\.field) == ["spec.cpu", "spec.memory"])
    }

    @Test func everyFieldOfARequestArrives() throws {
        let request = Roost_Compute_V1_CreateVMRequest.with {
            $0.name = "a"
            $0.project = "p"
            $0.labels = ["k": "v"]
            $0.annotations = ["n": "text"]
            $0.startOnCreate = true
            $0.node = "node1"
            $0.spec.cpu.cores = 3
            $0.spec.memory.sizeMib = 256
            $0.spec.disk.sizeGib = 9
            $0.spec.image = "debian"
            $0.spec.kernel = "k6"
            $0.spec.disposable = true
            $0.spec.network.mode = .none
            $0.spec.restart.mode = .onFailure
            $0.spec.restart.maxRestarts = 4
            $0.spec.ports = [
                .with {
                    $0.hostPort = 80
                    $0.guestPort = 8080
                    $0.protocol = .udp
                }
            ]
        }
        var expected = VMDraft(name: "a", cores: 3, memoryMiB: 256)
        expected.project = "p"
        expected.labels = ["k": "v"]
        expected.annotations = ["n": "text"]
        expected.startOnCreate = true
        expected.node = "node1"
        expected.rootDiskGiB = 9
        expected.image = "debian"
        expected.kernel = "k6"
        expected.disposable = true
        expected.network = .none
        expected.restart = RestartPolicy(mode: .onFailure, maxRestarts: 4)
        expected.ports = [PublishedPort(hostPort: 80, guestPort: 8080, transport: .udp)]
        #expect(try VMDraft(request) == expected)
    }

    @Test func aSpecSurvivesTheWay() throws {
        let spec = VMSpec(
            cores: 2,
            memoryMiB: 512,
            rootDiskGiB: 7,
            image: "sha256:a",
            kernel: "sha256:b",
            ports: [PublishedPort(hostAddress: "0.0.0.0", hostPort: 1, guestPort: 2)],
            network: .none,
            restart: RestartPolicy(mode: .always, maxRestarts: 3),
            disposable: true
        )
        #expect(try VMSpec(Roost_Compute_V1_VMSpec(spec)) == spec)
    }

    @Test func anIncompleteSpecNamesEverythingThatIsMissing() {
        let error = #expect(throws: Fault.self) { try VMSpec(Roost_Compute_V1_VMSpec()) }
        #expect(
            error?.violations.map(\.field)
                == ["spec.cpu", "spec.memory", "spec.disk", "spec.image", "spec.kernel"]
        )
    }

    @Test func unknownEnumNumbersAreRefusedNamingTheField() {
        let request = Roost_Compute_V1_CreateVMRequest.with {
            $0.spec.ports = [.init(), .with { $0.protocol = .UNRECOGNIZED(9) }]
        }
        let error = #expect(throws: Fault.self) { try VMDraft(request) }
        #expect(error?.violations.map(\.field) == ["spec.ports[1].protocol"])
    }

    @Test(arguments: VMState.allCases)
    func everyStateHasItsNameInJSON(state: VMState) throws {
        let message = Roost_Compute_V1_VMStatus.with { $0.state = .init(state) }
        #expect(try message.jsonString() == #"{"state":"\#(state.rawValue)"}"#)
        #expect(try VMState(message.state) == state)
    }

    @Test(arguments: DesiredPower.allCases)
    func everyDesiredPowerHasItsNameInJSON(power: DesiredPower) throws {
        let message = Roost_Compute_V1_VM.with { $0.desiredPower = .init(power) }
        #expect(try message.jsonString() == #"{"desiredPower":"\#(power.rawValue)"}"#)
    }

    @Test(arguments: [
        (1_700_000_000_123, "2023-11-14T22:13:20.123Z"), (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999Z"), (-1000, "1969-12-31T23:59:59Z"),
    ])
    func timesAreRFC3339(milliseconds: Int64, text: String) throws {
        let time = Timestamp(milliseconds: milliseconds)
        let message = Google_Protobuf_Timestamp(time)
        #expect(try message.jsonString() == "\"\(text)\"")
        #expect(Timestamp(message) == time)
    }

    @Test func aMaskNamesFieldsOfAClosedList() throws {
        #expect(
            try updateFields(["labels", "spec.cpu.cores", "spec.restart"])
                == [.labels, .cpu, .restart]
        )
        let error = #expect(throws: Fault.self) {
            try updateFields(["labels", "spec.image", "name", "spec.cpux"])
        }
        let text = error?.violations.map(\.problem).joined() ?? ""
        #expect(error?.violations.count == 3)
        #expect(text.contains("'spec.image'") && text.contains("'name'"))
        #expect(text.contains("'spec.cpux'"))
        #expect(throws: Fault.self) { try updateFields([]) }
    }

    // The largest of both were more milliseconds than there are: a trap.
    @Test(arguments: [(Int64.max, Int32.max), (.min, .min), (.max, .min), (.min, .max)])
    func aTimeBeyondAllTimesIsClamped(seconds: Int64, nanoseconds: Int32) {
        let time = Timestamp(Google_Protobuf_Timestamp(seconds: seconds, nanos: nanoseconds))
        #expect((time.milliseconds > 0) == (seconds > 0))
    }

    @Test(arguments: [
        ("unix:uid=1000,gid=100,pid=42", Peer.local(uid: 1000, gid: 100, pid: 42), true),
        ("ipv4:127.0.0.1:80", .network("127.0.0.1:80"), true),
        ("ipv4:10.0.0.1:80", .network("10.0.0.1:80"), false),
        ("ipv6:[::1]:80", .network("[::1]:80"), true),
        ("unix:/run/x", .other("unix:/run/x"), false),
        ("unix:uid=-1,gid=0,pid=1", .other("unix:uid=-1,gid=0,pid=1"), false),
    ])
    func aPeerIsReadFromTheTransportsText(text: String, peer: Peer, isHere: Bool) {
        #expect(Peer(text) == peer)
        #expect(Peer(text).isOnThisHost == isHere)
    }
}
