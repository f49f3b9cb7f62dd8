/// One thing that an operation does, as a value, with the step that takes it back.
///
/// Both must be repeatable: after a crash nobody knows how far they came.
package protocol ReversibleStep: Hashable, Sendable {
    /// For journals and failpoints: lowercase words joined by hyphens.
    var name: String { get }
    /// What takes it back, also when it was done half. `nil` when there is nothing to take back.
    var inverse: Self? { get }
    /// After it nothing goes back any more: it must be the last that changes anything.
    var isPointOfNoReturn: Bool { get }
}
