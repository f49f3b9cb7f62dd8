/// Why bytes are no tar archive that is taken. Reading is over after any of these.
package enum TarProblem: Error, Hashable, Sendable {
    /// A header whose checksum is wrong.
    case checksum
    /// A member whose number `field` cannot be read, or is out of its range.
    case number(field: String, path: [UInt8])
    /// An extended header whose size cannot be read.
    case extensionSize
    /// An extended header of more bytes than the limit.
    case extensionTooLong(bytes: UInt64, limit: Int)
    /// More extended headers before one member than ``TarHeaders/extensions``.
    case tooManyExtensions
    /// A pax header that is not `LENGTH KEY=VALUE\n` again and again.
    case record
    /// A pax record whose value is not what its key wants.
    case value(key: String, value: [UInt8])
    /// A sparse member of GNU's; its key.
    case sparse(String)
    /// More extended attributes of one member than ``TarHeaders/attributes``.
    case tooManyAttributes
    /// The archive ends between an extended header and its member.
    case endsInHeaders
}

extension TarProblem: CustomStringConvertible {
    /// A sentence part for people, without any text of the archive's.
    package var description: String {
        switch self {
        case .checksum: "a header with a wrong checksum"
        case .number(let field, _): "an unreadable \(field)"
        case .extensionSize: "an extended header of unreadable size"
        case .extensionTooLong(let bytes, let limit):
            "an extended header of \(bytes) bytes; the limit is \(limit)"
        case .tooManyExtensions: "more than \(TarHeaders.extensions) extended headers"
        case .record: "a pax header with a malformed record"
        case .value(let key, _): "a pax header with an unreadable \(key)"
        case .sparse: "a sparse member, which is not supported"
        case .tooManyAttributes: "more than \(TarHeaders.attributes) extended attributes"
        case .endsInHeaders: "an end inside a header"
        }
    }
}
