/// The project that names belong to, and whether its asker sees any other.
///
/// An id means its VM wherever that is; for who is confined to a project, what lies outside is not
/// there.
package struct ProjectView: Sendable, Hashable, ExpressibleByStringLiteral {
    /// A DNS label.
    package let name: String
    /// Whether nothing outside of the project may be seen, found or changed.
    package let isConfined: Bool

    package init(_ name: String, isConfined: Bool = false) {
        self.name = name
        self.isConfined = isConfined
    }

    /// The project of an asker who is confined to none.
    package init(stringLiteral name: String) { self.init(name) }

    /// Whether something in `project` is there for the asker.
    package func admits(_ project: String) -> Bool { !isConfined || project == name }
}
