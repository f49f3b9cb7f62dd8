import RoostGuestWire
import Testing

@Suite("What a VMM shows of itself")
struct GuestLifeTests {
    private func life(_ letter: String, _ rest: String = "0123456789abcde") -> [UInt8] {
        Array((letter + rest).utf8)
    }

    @Test func anotherProcessThatSaysSoLetsItsGuestGoOn() {
        #expect(GuestLife.mayGoOn(from: life("W"), to: life("G")))
        // A fork of what an earlier fork carried over.
        #expect(GuestLife.mayGoOn(from: life("G"), to: life("G", "fedcba987654321")))
    }

    @Test func nothingElseDoes() {
        // The same process.
        #expect(!GuestLife.mayGoOn(from: life("G"), to: life("G")))
        // A copy, or the machine brought back.
        #expect(!GuestLife.mayGoOn(from: life("W"), to: life("W", "fedcba987654321")))
        #expect(!GuestLife.mayGoOn(from: life("G"), to: life("W")))
    }

    /// What a port answers that nobody is behind, and what another size has.
    @Test(arguments: [
        [], Array(repeating: 0xFF, count: 16), Array("G".utf8), Array("G0123456789abcdef".utf8),
    ])
    func bytesThatAreNoLifeDoNot(_ bytes: [UInt8]) {
        #expect(!GuestLife.mayGoOn(from: life("W"), to: bytes))
    }

    @Test func whoDidNotSeeTheFormerOneWaits() {
        #expect(!GuestLife.mayGoOn(from: [], to: life("G")))
    }
}
