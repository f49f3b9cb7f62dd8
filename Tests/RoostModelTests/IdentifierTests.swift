import RoostModel
import Testing

@Suite("An identifier")
struct IdentifierTests {
    @Test("is read as it was written, and ordered by its bits")
    func roundTrip() throws {
        var generator = SystemRandomNumberGenerator()
        var ids = (0..<200).map { _ in VMID(using: &generator) }
        ids += [VMID(bits: 0), VMID(bits: 1), VMID(bits: .max), VMID(bits: 1 << 64)]
        for id in ids {
            let digits = String(id.bits, radix: 16)
            let text = String(repeating: "0", count: 32 - digits.count) + digits
            #expect(id.description == text)
            #expect(try #require(VMID(text)) == id)
            #expect(id.short == text.prefix(12))
        }
        #expect(ids.sorted().map(\.bits) == ids.map(\.bits).sorted())
    }

    @Test("is read from 32 lowercase digits only", arguments: [0, 1, 16, 31])
    func refused(_ place: Int) {
        let good = Array("0123456789abcdef0123456789abcdef")
        #expect(VMID(String(good)) != nil)
        for odd in ["A", "F", "g", "/", ":", "`", "+", "-", " ", "é", "٣", "", "00"] {
            let text = String(good[..<place]) + odd + String(good[(place + 1)...])
            #expect(VMID(text) == nil, "\(text)")
        }
    }
}
