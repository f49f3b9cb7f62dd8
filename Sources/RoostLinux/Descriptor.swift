internal import Glibc
internal import Synchronization

/// A file descriptor with one owner, closed at the latest when the owner goes.
package final class Descriptor: Sendable {
    private let value: Mutex<Int32>
    /// The number. Meaningless after ``close()``; keep the object while you use it.
    package let number: Int32

    /// Takes over an open descriptor.
    package init(_ number: Int32) {
        self.number = number
        value = Mutex(number)
    }

    deinit { close() }

    /// Closes it. May be called twice.
    package func close() {
        let old = value.withLock { value in
            defer { value = -1 }
            return value
        }
        if old >= 0 { _ = Glibc.close(old) }
    }
}
