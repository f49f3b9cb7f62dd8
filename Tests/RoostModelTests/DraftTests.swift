import RoostModel
import Testing

@Suite("VM drafts")
struct DraftTests {
    @Test func aPlainDraftIsFine() {
        #expect(VMDraft(name: "test-vm", cores: 2, memoryMiB: 2048).violations().isEmpty)
    }

    @Test func everythingThatIsWrongIsSaidAtOnce() {
        var draft = VMDraft(name: "No", cores: 0, memoryMiB: 1)
        draft.rootDiskGiB = 70_000
        draft.image = "a b"
        draft.labels = ["bad key": "x"]
        draft.ports = [PublishedPort(hostPort: 70_000, guestPort: 0)]
        let fields = draft.violations().map(\.field)
        #expect(
            fields == [
                "name", "labels[bad key]", "spec.cpu.cores", "spec.memory.size_mib",
                "spec.disk.size_gib", "spec.image", "spec.ports[0].guest_port",
                "spec.ports[0].host_port",
            ]
        )
    }

    @Test func whatIsMissingIsNamedByItsMessage() {
        #expect(VMDraft(name: "a").violations().map(\.field) == ["spec.cpu", "spec.memory"])
    }

    @Test(arguments: [
        "", "-a", "a-", "1a", "A", "a_b", "a.b", "..", "a\"b", "a'b", "a\nb", "a,b", "a b", "é",
        String(repeating: "a", count: 64), "$(id)", "a;b", "--name",
    ])
    func refusesTheName(_ name: String) {
        #expect(nameProblem(name) != nil)
        #expect(VMDraft(name: name, cores: 1, memoryMiB: 128).violations().first?.field == "name")
    }

    @Test(arguments: ["a", "a1", "web-3", String(repeating: "a", count: 63)])
    func acceptsTheName(_ name: String) {
        #expect(nameProblem(name) == nil)
    }

    @Test(arguments: [(0, false), (1, true), (256, true), (257, false), (-1, false)])
    func coresHaveBounds(_ cores: Int, _ isFine: Bool) {
        #expect(VMDraft(name: "a", cores: cores, memoryMiB: 512).violations().isEmpty == isFine)
    }

    @Test(arguments: [(127, false), (128, true), (1_048_576, true), (1_048_577, false)])
    func memoryHasBounds(_ memory: Int, _ isFine: Bool) {
        #expect(VMDraft(name: "a", cores: 1, memoryMiB: memory).violations().isEmpty == isFine)
    }

    @Test func theKernelsFloorIsTheFloor() {
        let draft = VMDraft(name: "a", cores: 1, memoryMiB: 200)
        #expect(draft.violations(memoryFloorMiB: 256).map(\.field) == ["spec.memory.size_mib"])
    }

    @Test func aPortIsPublishedOnce() {
        var draft = VMDraft(name: "a", cores: 1, memoryMiB: 512)
        draft.ports = [
            PublishedPort(hostPort: 80, guestPort: 1), PublishedPort(hostPort: 80, guestPort: 2),
        ]
        #expect(draft.violations().map(\.field) == ["spec.ports[1].host_port"])
        draft.ports = [
            PublishedPort(hostPort: 0, guestPort: 1), PublishedPort(hostPort: 0, guestPort: 2),
        ]
        #expect(draft.violations().isEmpty)
    }

    @Test(arguments: ["1.2.3", "1.2.3.256", "01.2.3.4", "::1", "localhost", "1.2.3.4 "])
    func refusesTheAddress(_ text: String) {
        #expect(!isIPv4(text))
    }
}

@Suite("Selectors")
struct SelectorTests {
    @Test func everyTermMustHold() throws {
        let selector = try Selector("app=web, tier!=cache,debug,!old")
        #expect(selector.matches(["app": "web", "debug": ""]))
        #expect(!selector.matches(["app": "web"]))
        #expect(!selector.matches(["app": "web", "debug": "", "tier": "cache"]))
        #expect(!selector.matches(["app": "web", "debug": "", "old": "1"]))
        #expect(try Selector("").matches([:]))
    }

    @Test(arguments: ["=", "a=b=c", "a b", ",", "a,,b", "a=\n", "!", "a!=b!"])
    func refuses(_ text: String) {
        #expect(throws: Fault.self) { try Selector(text) }
    }
}

@Suite("Op ids")
struct OperationIDTests {
    @Test func theTextIsReadBack() throws {
        for bits in [UInt128(0), 1, .max, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let id = OperationID(bits: bits)
            #expect(id.description.utf8.count == 29)
            #expect(OperationID(id.description) == id)
            #expect(OperationID("op-" + id.description.dropFirst(3).uppercased()) == id)
        }
    }

    @Test(arguments: [
        "", "op-", "op-0", "xx-00000000000000000000000000", "op-80000000000000000000000000",
        "op-0000000000000000000000000u", "op-000000000000000000000000000",
    ])
    func refuses(_ text: String) {
        #expect(OperationID(text) == nil)
    }

    @Test func idsSortByTime() {
        struct Ones: RandomNumberGenerator { mutating func next() -> UInt64 { .max } }
        var ones = Ones()
        let early = OperationID(at: Timestamp(milliseconds: 1_700_000_000_000), using: &ones)
        let late = OperationID(at: Timestamp(milliseconds: 1_700_000_000_001), using: &ones)
        #expect(early < late)
        #expect(early.description < late.description)
        #expect(early.time == Timestamp(milliseconds: 1_700_000_000_000))
    }

    @Test func aChildIsTheSameForTheSameTarget() {
        let id = OperationID(bits: 77 << 80 | 5)
        #expect(id.child("a") == id.child("a"))
        #expect(id.child("a") != id.child("b"))
        #expect(id.child("a").time == id.time)
    }
}

@Suite("The catalogue of reasons")
struct ReasonTests {
    @Test(arguments: Reason.allCases)
    func everyReasonHasARemedyAndAStableName(_ reason: Reason) {
        #expect(!reason.remedy.isEmpty)
        #expect(reason.remedy.last != ".")
        #expect(reason.rawValue.utf8.allSatisfy { (65...90).contains($0) || $0 == 95 })
    }

    @Test func theRemedyIsFilledInFromTheMetadata() {
        let fault = Fault(.needsForce, "box is RUNNING", metadata: ["vm": "box"])
        #expect(fault.remedy == "stop it first: roost stop box, or use --force")
    }

    @Test func controlCharactersAreNotShown() {
        #expect(shown("a\u{1b}[31m\nb\u{202e}") == "a?[31m?b?")
        #expect(shown(String(repeating: "x", count: 100)).count == 81)
    }
}
