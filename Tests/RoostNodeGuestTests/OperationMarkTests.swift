import RoostGuestWire
import RoostModel
import Testing

@Suite("The op id in a guest")
struct OperationMarkTests {
    static let ids: [UInt128] = [1, 31, 32, 1 << 64, 1 << 127, .max, 0x0123_4567_89ab_cdef << 60]

    @Test("is written as the host writes it", arguments: ids)
    func text(_ bits: UInt128) {
        let mark = OperationMark(
            low: UInt64(truncatingIfNeeded: bits),
            high: UInt64(truncatingIfNeeded: bits >> 64)
        )
        #expect(mark.description == OperationID(bits: bits).description)
    }

    @Test("is not written when there is none")
    func none() { #expect(OperationMark.none.description.isEmpty) }
}
