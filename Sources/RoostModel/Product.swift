/// What this build calls itself.
package enum Product {
    /// Client and daemon compare it: a newer client restarts an idle daemon of another version.
    package static let version = "0.1.0"
}
