/// One step of an operation that was begun.
package struct StepRecord: Hashable, Sendable, Codable {
    package var name: String
    /// When it began.
    package var at: Timestamp
    /// What there is to say about it; empty when it simply went well.
    package var detail: String

    package init(name: String, at: Timestamp, detail: String) {
        self.name = name
        self.at = at
        self.detail = detail
    }
}
