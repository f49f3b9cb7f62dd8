import RoostModel
import Testing

@Suite("A remedy")
struct RemedyTests {
    @Test("is a sentence that can be typed, whatever is known", arguments: Reason.allCases)
    func whole(_ reason: Reason) {
        for state in [nil] + VMState.allCases.map(Optional.some) {
            var fault = Fault(reason, "it went wrong")
            if let state { fault.metadata["state"] = state.rawValue }
            #expect(!fault.remedy.isEmpty, "\(reason)")
            #expect(!fault.remedy.contains("{") && !fault.remedy.contains("}"), "\(fault.remedy)")
        }
    }

    @Test("has the names that are known, and capitals for the others")
    func names() {
        let known = Fault(.guestUnreachable, "", metadata: ["vm": "box"])
        #expect(known.remedy == "look at the guest: roost logs box --source console")
        let unknown = Fault(.guestUnreachable, "")
        #expect(unknown.remedy == "look at the guest: roost logs VM --source console")
    }

    @Test("that the state changes leads further than a look at the VM")
    func states() {
        func remedy(_ reason: Reason, _ state: VMState) -> String {
            Fault(reason, "", metadata: ["vm": "box", "state": state.rawValue]).remedy
        }
        let suspended = "start it first: roost start box, or drop its memory: roost kill box"
        #expect(remedy(.needsStopped, .suspended) == suspended)
        #expect(remedy(.wrongState, .suspended) == suspended)
        #expect(remedy(.needsStopped, .running) == "stop it first: roost stop box")
        #expect(remedy(.wrongState, .paused) == "let it go on first: roost resume box")
        #expect(remedy(.wrongState, .deleted) == "look at the VM: roost get box")
    }
}
