package import Foundation
package import RoostModel
package import RoostStore

/// Rows as JSON: keys sorted, so that the same row is always the same bytes.
package enum RowCoding {
    /// An encoder for the rows of one batch.
    package static func encoder() -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }

    /// The JSON of `row`.
    ///
    /// - Throws: ``Reason/bug`` for a row that JSON cannot say.
    package static func encode<R: Row>(_ row: R, _ encoder: JSONEncoder) throws(Fault) -> Data {
        do {
            return try encoder.encode(row)
        } catch {
            throw Fault(.bug, "\(R.table)/\(row.key): the row cannot be encoded", cause: error)
        }
    }

    /// Reads what ``encode(_:_:)`` wrote.
    ///
    /// - Throws: ``Reason/stateUnreadable`` naming table, key and `path`, the store.
    package static func decode<R: Row>(
        _ type: R.Type,
        key: String,
        version: Int64,
        body: Data,
        path: String
    ) throws(Fault) -> Versioned<R> {
        do {
            let row = try JSONDecoder().decode(type, from: body)
            return Versioned(row: row, version: Revision(version))
        } catch {
            throw Fault.unreadableRow(table: R.table, key: key, path: path, cause: error)
        }
    }
}
