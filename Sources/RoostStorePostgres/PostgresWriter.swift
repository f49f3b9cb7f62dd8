import RoostModel
import RoostStore
import RoostStoreRows

/// The one thread of this store that commits. Everybody who waits when it comes round shares one
/// transaction, one round trip and one sync of the server's disk.
///
/// ```text
///  waiting ──those that touch different rows──▶ group n ──commit_group(writer, n)──▶ answer all
///                                                  ▲                │ a conflict: only that batch
///                                                  │                │ one row refused: each alone
///              the same group, the same n ─────────┘◀── no answer, and there is time
///                                                       no answer, and no time: unknown outcome
/// ```
/// The server keeps the last n of each writer and what became of it. A group of which the answer
/// was lost is sent again under its n: it is then either done now or answered as it was done.
final class PostgresWriter: Sendable {
    typealias Answer = @Sendable (Result<Revision, Fault>) -> Void

    private enum Request: Sendable {
        case commit(Commit)
        case compact(Revision, Answer)
    }

    private struct Commit: Sendable {
        let batch: EncodedBatch
        let deadline: ContinuousClock.Instant
        let answer: Answer
    }

    private let inbox = Inbox<Request>()
    private let ended = Inbox<Void>()
    private let faults: PostgresFaults
    private let options: PostgresOptions
    /// About how many bytes of rows one group has.
    private static let groupBytes = 8 << 20
    /// Changes forgotten between two groups.
    private static let compactionSlice: Int64 = 1_000

    init(_ address: PostgresAddress, _ options: PostgresOptions, _ stop: StopFlag) {
        faults = PostgresFaults(address: address)
        self.options = options
        startThread(named: "store-write") {
            self.serve(PostgresLine(address, options, stop))
            _ = self.ended.send(())
        }
    }

    func commit(_ batch: EncodedBatch) async throws(Fault) -> Revision {
        let deadline = ContinuousClock.now + options.commitPatience
        return try await ask { .commit(Commit(batch: batch, deadline: deadline, answer: $0)) }
    }

    func compact(upTo revision: Revision) async throws(Fault) {
        _ = try await ask { .compact(revision, $0) }
    }

    /// Lets the thread finish what it was given, and end. Does not wait.
    func shut() { inbox.close() }

    /// Blocks until the thread has ended. Once.
    func join() { _ = ended.take(1) }

    private func ask(_ request: (@escaping Answer) -> Request) async throws(Fault) -> Revision {
        let result: Result<Revision, Fault> = await withCheckedContinuation { continuation in
            if !inbox.send(request { continuation.resume(returning: $0) }) {
                continuation.resume(
                    returning: .failure(faults.fault(.stopping, doing: "committing"))
                )
            }
        }
        return try result.get()
    }

    private func serve(_ line: PostgresLine) {
        var run = Run(line: line, faults: faults)
        var pending: [Commit] = []
        var compactions: [(Revision, Answer)] = []
        while true {
            let idle = pending.isEmpty && compactions.isEmpty
            let requests = idle ? inbox.take(4_096) : inbox.takeNow(4_096)
            if idle && requests.isEmpty { return }
            for request in requests {
                switch request {
                case .commit(let commit): pending.append(commit)
                case .compact(let revision, let answer): compactions.append((revision, answer))
                }
            }
            let group = PostgresGroup.take(
                from: &pending,
                most: options.groupLimit,
                bytes: Self.groupBytes
            ) { $0.batch }
            if !group.isEmpty { commit(group, &run) }
            if let (revision, answer) = compactions.first {
                compactions.removeFirst()
                compact(revision, answer, &run) { compactions.append((revision, answer)) }
            }
        }
    }

    private func commit(_ group: [Commit], _ run: inout Run) {
        let deadline = group.map(\.deadline).min() ?? .now
        let batches = group.map(\.batch)
        var verdicts = run.commit(batches, until: deadline)
        if verdicts == nil {
            // One of them is at fault, and nobody knows which: each for itself.
            verdicts = batches.map { run.alone($0, until: deadline) }
        }
        for (commit, verdict) in zip(group, verdicts ?? []) { commit.answer(verdict) }
    }

    private func compact(
        _ revision: Revision,
        _ answer: Answer,
        _ run: inout Run,
        again: () -> Void
    ) {
        do throws(Fault) {
            let isDone = try run.compact(
                upTo: revision,
                slice: Self.compactionSlice,
                until: .now + options.commitPatience
            )
            if isDone { answer(.success(revision)) } else { again() }
        } catch {
            answer(.failure(error))
        }
    }
}

extension PostgresWriter {
    /// What the thread has: its connection, and its number at the server.
    struct Run {
        typealias Verdict = Result<Revision, Fault>

        private let line: PostgresLine
        private let faults: PostgresFaults
        private let id: [UInt8] = (0..<16).map { _ in UInt8.random(in: 0...255) }
        private var serial: Int64 = 0

        init(line: PostgresLine, faults: PostgresFaults) {
            self.line = line
            self.faults = faults
        }

        /// Commits `batches` together; `nil` when the server refused what one of several has in it.
        mutating func commit(
            _ batches: [EncodedBatch],
            until deadline: ContinuousClock.Instant
        ) -> [Verdict]? {
            let group = PostgresGroup(batches)
            serial += 1
            let statement = group.statement(writer: id, serial: serial)
            // Whether an earlier try may have taken effect.
            var isOpen = false
            do throws(PostgresTrouble) {
                return try line.insist(until: deadline) { () throws(PostgresTrouble) in
                    do throws(PostgresTrouble) {
                        let rows = try line.run(statement, isReading: false, deadline: .distant)
                        guard let verdicts = group.verdicts(rows) else {
                            throw .lost("\(line.address) answered something else than a group")
                        }
                        return verdicts
                    } catch {
                        if error.mayHaveEffect { isOpen = true }
                        throw error
                    }
                }
            } catch {
                if case .refused(let refusal) = error, refusal.concernsOneBatch, !isOpen,
                    batches.count > 1
                {
                    return nil
                }
                return batches.map { batch in
                    .failure(
                        isOpen && !batch.writes.isEmpty
                            ? faults.unknownOutcome(error)
                            : faults.fault(error, doing: "committing")
                    )
                }
            }
        }

        /// Commits one batch.
        mutating func alone(
            _ batch: EncodedBatch,
            until deadline: ContinuousClock.Instant
        ) -> Verdict {
            commit([batch], until: deadline)?.first
                ?? .failure(Fault(.bug, "a group of one batch has no verdict"))
        }

        /// Forgets changes up to `target`, but no more than `slice` revisions at a time.
        ///
        /// - Returns: whether that is all.
        func compact(
            upTo target: Revision,
            slice: Int64,
            until deadline: ContinuousClock.Instant
        ) throws(Fault) -> Bool {
            do throws(PostgresTrouble) {
                return try line.insist(until: deadline) { () throws(PostgresTrouble) in
                    let rows = try line.run(
                        PostgresStatement(
                            """
                            WITH m AS (
                                UPDATE roost.meta SET compacted =
                                    least($1, revision, compacted + $2)
                                WHERE id = 1 AND compacted < least($1, revision)
                                RETURNING compacted, least($1, revision) AS goal
                            ), gone AS (
                                DELETE FROM roost.change WHERE revision <= (SELECT compacted FROM m)
                            )
                            SELECT m.compacted >= m.goal FROM m
                            """,
                            .int(target.number),
                            .int(slice)
                        ),
                        isReading: false,
                        deadline: .distant
                    )
                    return rows.count == 0 || rows.bool(0, 0)
                }
            } catch {
                throw faults.fault(error, doing: "compacting")
            }
        }
    }
}

extension PostgresTrouble {
    /// Whether what was sent may have been done all the same. A server that ends a session or
    /// a statement may do so after the commit and before the answer.
    var mayHaveEffect: Bool {
        switch self {
        case .unreachable, .stopping: false
        case .lost, .late: true
        case .refused(let refusal): refusal.isPassing
        }
    }
}

extension ContinuousClock.Instant {
    /// An hour from now: no deadline of its own.
    static var distant: ContinuousClock.Instant { .now + .seconds(3_600) }
}
