import Foundation
import RoostModel
import RoostStore
import RoostStoreRows

/// Batches that are committed together, as the arguments of `roost.commit_group`. None of them
/// writes a row that another of them reads or writes.
struct PostgresGroup {
    private let batches: [EncodedBatch]
    private var conditions = Conditions()
    private var writes = Writes()
    private var log = Log()
    /// Where each batch's conditions begin among all.
    private var starts: [Int] = []

    private struct Conditions {
        var batch: [Int32] = []
        var table: [String] = []
        var key: [String] = []
        var version: [Int64?] = []
    }

    /// What is left of each row's writes: the last one.
    private struct Writes {
        var batch: [Int32] = []
        var table: [String] = []
        var key: [String] = []
        var entries: [String] = []
        var body: [Data?] = []
    }

    /// Every write for the change log. A deletion `ifThere` is one only if there was such a row.
    private struct Log {
        var batch: [Int32] = []
        var position: [Int32] = []
        var table: [String] = []
        var key: [String] = []
        var isDeletion: [Bool] = []
        var ifThere: [Bool] = []
    }

    init(_ batches: [EncodedBatch]) {
        self.batches = batches
        for (offset, batch) in batches.enumerated() { add(batch, number: Int32(offset + 1)) }
    }

    /// Whether any of them writes.
    var isWriting: Bool { batches.contains { !$0.writes.isEmpty } }

    /// The call that commits the group, or answers what became of it if it was committed before.
    func statement(writer: [UInt8], serial: Int64) -> PostgresStatement {
        PostgresStatement(
            """
            SELECT o_revision, o_failed, o_found FROM roost.commit_group(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
            """,
            of: [
                .uuid(writer), .int(serial), .bools(batches.map { !$0.writes.isEmpty }),
                .ints(conditions.batch), .texts(conditions.table), .texts(conditions.key),
                .longs(conditions.version),
                .ints(writes.batch), .texts(writes.table), .texts(writes.key),
                .texts(writes.entries), .texts(writes.body),
                .ints(log.batch), .ints(log.position), .texts(log.table), .texts(log.key),
                .bools(log.isDeletion), .bools(log.ifThere),
            ]
        )
    }

    /// What the call has answered, for each batch; `nil` if it is no answer to this group.
    func verdicts(_ rows: PostgresRows) -> [Result<Revision, Fault>]? {
        guard rows.count == batches.count else { return nil }
        var verdicts: [Result<Revision, Fault>] = []
        for (row, batch) in batches.enumerated() {
            let failed = Int(rows.int(row, 1))
            if failed == 0 {
                verdicts.append(.success(Revision(rows.int(row, 0))))
                continue
            }
            let place = failed - 1 - starts[row]
            guard batch.conditions.indices.contains(place) else { return nil }
            let found = rows.int(row, 2)
            verdicts.append(
                .failure(
                    Fault.storeConflict(
                        batch.conditions[place],
                        found: found == 0 ? nil : Revision(found)
                    )
                )
            )
        }
        return verdicts
    }

    private mutating func add(_ batch: EncodedBatch, number: Int32) {
        starts.append(conditions.batch.count)
        for condition in batch.conditions {
            conditions.batch.append(number)
            conditions.table.append(condition.table)
            conditions.key.append(condition.key)
            conditions.version.append(condition.version?.number)
        }
        var isThere: [RowName: Bool] = [:]
        var last: [RowName: Int] = [:]
        var position: Int32 = 0
        for (offset, write) in batch.writes.enumerated() {
            let name = RowName(write.table, write.key)
            last[name] = offset
            let isDeletion = write.body == nil
            if isDeletion, isThere[name] == false { continue }
            log.batch.append(number)
            log.position.append(position)
            log.table.append(write.table)
            log.key.append(write.key)
            log.isDeletion.append(isDeletion)
            log.ifThere.append(isDeletion && isThere[name] == nil)
            isThere[name] = !isDeletion
            position += 1
        }
        for (offset, write) in batch.writes.enumerated() {
            guard last[RowName(write.table, write.key)] == offset else { continue }
            writes.batch.append(number)
            writes.table.append(write.table)
            writes.key.append(write.key)
            writes.entries.append(Self.json(write.entries))
            writes.body.append(write.body)
        }
    }

    /// `[["owner","ann"]]`: sorted, so that the same entries are the same text.
    private static func json(_ entries: IndexEntries) -> String {
        let pairs = entries.entries.map { "[\(quoted($0.name)),\(quoted($0.value))]" }
        return "[\(pairs.joined(separator: ","))]"
    }

    private static func quoted(_ text: String) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var bytes: [UInt8] = [UInt8(ascii: "\"")]
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0..<0x20:
                bytes += Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension PostgresGroup {
    /// Takes batches out of `pending` that can be one group: in order, at most `most` of them and
    /// about `bytes`, but at least one; who touches a row of those before it waits for the next.
    static func take<Request>(
        from pending: inout [Request],
        most: Int,
        bytes: Int,
        _ batch: (Request) -> EncodedBatch
    ) -> [Request] {
        var taken: [Request] = []
        var left: [Request] = []
        var rows = Touched()
        var size = 0
        for (offset, request) in pending.enumerated() {
            guard taken.count < most, size < bytes else {
                left += pending[offset...]
                break
            }
            let batch = batch(request)
            let own = batch.writes.reduce(0) { $0 + ($1.body?.count ?? 0) }
            if rows.admit(batch), taken.isEmpty || size + own <= bytes {
                taken.append(request)
                size += own
                rows.add(batch)
            } else {
                left.append(request)
            }
        }
        pending = left
        return taken
    }

    private struct Touched {
        var read: Set<RowName> = []
        var written: Set<RowName> = []

        func admit(_ batch: EncodedBatch) -> Bool {
            batch.conditions.allSatisfy { !written.contains(RowName($0.table, $0.key)) }
                && batch.writes.allSatisfy {
                    let name = RowName($0.table, $0.key)
                    return !written.contains(name) && !read.contains(name)
                }
        }

        mutating func add(_ batch: EncodedBatch) {
            for condition in batch.conditions {
                read.insert(RowName(condition.table, condition.key))
            }
            for write in batch.writes { written.insert(RowName(write.table, write.key)) }
        }
    }
}
