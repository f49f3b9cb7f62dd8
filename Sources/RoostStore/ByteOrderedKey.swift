/// A key that is compared byte by byte, as SQLite and PostgreSQL (`COLLATE "C"`) do.
///
/// Swift's own `==` holds "é" in one scalar and in two for the same text; a database does not.
struct ByteOrderedKey: Comparable, Sendable {
    let text: String

    init(_ text: String) { self.text = text }

    static func == (left: ByteOrderedKey, right: ByteOrderedKey) -> Bool {
        left.text.utf8.elementsEqual(right.text.utf8)
    }

    static func < (left: ByteOrderedKey, right: ByteOrderedKey) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }
}
