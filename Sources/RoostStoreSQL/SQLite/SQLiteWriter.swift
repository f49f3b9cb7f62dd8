import GRDB
import RoostModel
import RoostStore
import RoostStoreRows
import Synchronization

/// The one thread that writes. Everybody who waits when it comes round shares one transaction and
/// so one sync of the disk.
///
///     waiting ──take all──▶ conditions, writes of each in order ──COMMIT, sync──▶ answer all
///                              │ a conflict: nothing written, the others go on
///                              │ one row refused: start over without its batch
///                              ▼ disk full, I/O error: all rolled back, all told so
///
/// A COMMIT that fails leaves open whether its frames are in the log and would come back after
/// a crash. A fence, which is a small commit over the same place in the log, settles it; until one
/// succeeds nothing is read or written.
final class SQLiteWriter: Sendable {
    typealias Answer = @Sendable (Result<Revision, Fault>) -> Void

    private enum Request: Sendable {
        case commit(EncodedBatch, Answer)
        case compact(Revision, Answer)
        case settle(Answer)
    }

    private let inbox = Inbox<Request>()
    private let ended = Inbox<Result<Void, Fault>>()
    private let unsure = Atomic<Bool>(false)
    private let path: String
    private let groupLimit: Int
    /// Changes forgotten between two groups: others wait for it no longer than for a commit.
    private let compactionSlice: Int64 = 1_000

    /// Starts the thread. It owns `queue` and closes it. A group has at most `groupLimit` requests.
    init(_ queue: DatabaseQueue, path: String, groupLimit: Int) {
        self.path = path
        self.groupLimit = groupLimit
        startThread(named: "store-write") { _ = self.ended.send(self.serve(queue)) }
    }

    /// Whether reads have to wait for ``settle()``.
    var isUnsure: Bool { unsure.load(ordering: .acquiring) }

    func commit(_ batch: EncodedBatch) async throws(Fault) -> Revision {
        try await ask { .commit(batch, $0) }
    }

    func compact(upTo revision: Revision) async throws(Fault) {
        _ = try await ask { .compact(revision, $0) }
    }

    /// Finds out what a commit with an unknown outcome has done.
    func settle() async throws(Fault) {
        _ = try await ask { .settle($0) }
    }

    /// Lets the thread finish what it was given, and end. Does not wait.
    func stop() { inbox.close() }

    /// Blocks until the thread has ended. Once.
    func join() throws(Fault) {
        for result in ended.take(1) { try result.get() }
    }

    private func ask(_ request: (@escaping Answer) -> Request) async throws(Fault) -> Revision {
        let result: Result<Revision, Fault> = await withCheckedContinuation { continuation in
            if !inbox.send(request { continuation.resume(returning: $0) }) {
                continuation.resume(returning: .failure(SQLiteReaders.closed(path)))
            }
        }
        return try result.get()
    }

    private func serve(_ queue: DatabaseQueue) -> Result<Void, Fault> {
        do {
            try queue.inDatabase { database in
                var group = try GroupCommit(database, path: path)
                while true {
                    let requests = inbox.take(groupLimit)
                    guard !requests.isEmpty else { break }
                    handle(requests, &group)
                }
                if group.isUnsure { try group.settle() }
            }
            try SQLiteFile.close(queue)
            return .success(())
        } catch {
            let fault = SQLiteFaults.fault(error, doing: "closing \(path)", path: path)
            refuseAll(fault)
            try? queue.close()
            return .failure(fault)
        }
    }

    private func handle(_ requests: [Request], _ group: inout GroupCommit) {
        var batches: [EncodedBatch] = []
        var answers: [Answer] = []
        for case .commit(let batch, let answer) in requests {
            batches.append(batch)
            answers.append(answer)
        }
        if !batches.isEmpty {
            let verdicts = group.run(batches)
            unsure.store(group.isUnsure, ordering: .releasing)
            for (answer, verdict) in zip(answers, verdicts) { answer(verdict) }
        }
        for request in requests {
            switch request {
            case .commit: continue
            case .compact(let revision, let answer): compact(revision, answer, &group)
            case .settle(let answer): settle(answer, &group)
            }
        }
    }

    private func compact(_ target: Revision, _ answer: @escaping Answer, _ group: inout GroupCommit)
    {
        do throws(Fault) {
            let isDone = try group.compact(upTo: target, slice: compactionSlice)
            if isDone {
                answer(.success(target))
            } else if !inbox.send(.compact(target, answer)) {
                answer(.failure(SQLiteReaders.closed(path)))
            }
        } catch {
            answer(.failure(error))
        }
        unsure.store(group.isUnsure, ordering: .releasing)
    }

    private func settle(_ answer: Answer, _ group: inout GroupCommit) {
        do throws(Fault) {
            try group.settle()
            unsure.store(false, ordering: .releasing)
            answer(.success(Revision(0)))
        } catch {
            answer(.failure(error))
        }
    }

    /// Answers everybody when the thread cannot go on.
    private func refuseAll(_ fault: Fault) {
        inbox.close()
        while true {
            let requests = inbox.take(groupLimit)
            guard !requests.isEmpty else { return }
            for request in requests {
                switch request {
                case .commit(_, let answer), .compact(_, let answer), .settle(let answer):
                    answer(.failure(fault))
                }
            }
        }
    }
}
