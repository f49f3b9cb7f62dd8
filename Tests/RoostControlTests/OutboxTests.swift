import RoostModel
import RoostStore
import Testing

@testable import RoostControl

@Suite("What waits for the store")
struct OutboxTests {
    private func row(_ number: Int) -> EventRow {
        EventRow(key: "\(number)", at: Timestamp(milliseconds: 0), events: [])
    }

    private func keys(_ batch: Batch?) -> [String]? {
        batch?.writes.map { write in
            guard case .put(let row) = write else { return "deleted" }
            return row.key
        }
    }

    @Test("one writer, from the first row until nothing is left, also when a row comes in between")
    func oneWriter() {
        var outbox = Outbox()
        #expect(outbox.next() == nil)
        let first = outbox.add(row(1), alone: true)
        #expect(first)
        #expect(keys(outbox.next()) == ["1"])
        outbox.written()
        // Nothing waits, and the writer has not looked yet: it is still the one.
        let between = outbox.add(row(2), alone: true)
        #expect(!between)
        #expect(keys(outbox.next()) == ["2"])
        outbox.written()
        #expect(outbox.next() == nil)
        let another = outbox.add(row(3), alone: true)
        #expect(another)
    }

    @Test("what may come along does, but for a commit that is being tried")
    func together() {
        var outbox = Outbox()
        for number in 1...3 { _ = outbox.add(row(number), alone: false) }
        #expect(keys(outbox.next()) == ["1", "2", "3"])
        _ = outbox.add(row(4), alone: false)
        #expect(keys(outbox.next()) == ["1", "2", "3"])
        _ = outbox.add(row(5), alone: true)
        _ = outbox.add(row(6), alone: false)
        #expect(outbox.count == 6)
        outbox.written()
        var rest: [[String]] = []
        while let batch = outbox.next() {
            rest.append(keys(batch) ?? [])
            outbox.written()
        }
        #expect(rest == [["4"], ["5"], ["6"]])
        #expect(outbox.count == 0)
    }

    @Test("a commit has 500 rows at most")
    func bound() {
        var outbox = Outbox()
        for number in 1...501 { _ = outbox.add(row(number), alone: false) }
        #expect(keys(outbox.next())?.count == 500)
        outbox.written()
        #expect(keys(outbox.next()) == ["501"])
    }
}
