import RoostLink
import RoostModel
import RoostNode
import Testing

@Suite("A node's log of reports")
struct ReportLogTests {
    private let report = VMReport(id: VMID(bits: 1), state: .failed, reason: "it ended")

    @Test("hands out what came after a cursor, once")
    func after() async {
        let log = ReportLog(startingAt: 7)
        let first = log.cursor
        log.add(report)
        let page = await log.after(first)
        #expect(page.vms == [report] && !page.missedSome && page.cursor == log.cursor)
    }

    /// With cursors from 0, a reader that had seen two reports of the former log took the second of
    /// the new one for seen, and a VM stayed RUNNING that was not (rough seed 6624).
    @Test("says that some were missed to who comes with a former log's cursor", arguments: 0...3)
    func former(count: Int) async {
        let former = ReportLog(startingAt: 1 << 40)
        for _ in 0..<count { former.add(report) }
        let log = ReportLog(startingAt: 1 << 20)
        log.add(report)
        log.add(report)
        let page = await log.after(former.cursor)
        #expect(page.missedSome && page.cursor == log.cursor)
    }
}
