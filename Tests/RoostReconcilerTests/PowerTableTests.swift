import RoostModel
import RoostTestKit
import Testing

@Suite("The power tables")
struct PowerTableTests {
    @Test("say which moves are legal, as the golden file has them")
    func moves() throws {
        var text = ""
        for state in VMState.allCases {
            let next = VMState.allCases.filter(state.canBecome).map(\.rawValue)
            text += "\(state.rawValue) -> \(next.isEmpty ? "-" : next.joined(separator: " "))\n"
        }
        #expect(try goldenDifference(text, named: "states.txt") == nil)
    }

    @Test("say what each verb means in each state, as the golden file has them")
    func verdicts() throws {
        var text = ""
        for verb in PowerVerb.allCases {
            for state in VMState.allCases {
                text += "\(verb.rawValue) \(state.rawValue) \(verb.verdict(in: state).rawValue)\n"
            }
        }
        #expect(try goldenDifference(text, named: "verdicts.txt") == nil)
    }

    @Test("let no state become itself, and nothing leave the trash but by an undelete")
    func shape() {
        for state in VMState.allCases {
            #expect(!state.canBecome(state))
            #expect(state == .deleted || state.canBecome(.failed) || state == .failed)
        }
        #expect(VMState.allCases.filter(VMState.deleted.canBecome) == [.stopped, .suspended])
    }
}
