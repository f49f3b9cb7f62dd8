/// A two-way byte channel: a guest's port, an exec stream, a console.
///
/// At most one read and one write are under way at a time; they may overlap each other.
package protocol ByteStream: Sendable {
    /// Up to `limit` bytes; an empty array is the end. Throws when the channel is broken.
    func read(upTo limit: Int) async throws(Fault) -> [UInt8]
    /// Writes all of `bytes`, waiting for room.
    func write(_ bytes: [UInt8]) async throws(Fault)
    /// Closes both directions; a read or write under way ends. May be called twice.
    func close() async
}
