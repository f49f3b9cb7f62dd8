import Foundation
import RoostLinux
package import RoostModel

/// Who we are at a registry.
package struct Credential: Sendable, Hashable {
    package var user: String
    package var password: Secret

    package init(user: String, password: Secret) {
        self.user = user
        self.password = password
    }

    /// The value of an `Authorization` header.
    var basic: Secret {
        let both = Data("\(user):\(password.reveal())".utf8)
        return Secret("Basic \(both.base64EncodedString())")
    }
}

/// What `roost login` remembers: a file that only its owner can read, as clear text inside.
///
/// Every call blocks. Changes are whole or absent; callers see to it that there is one at a time.
package struct CredentialFile: Sendable {
    /// Where it lies.
    package let path: String

    /// The credentials in the file at `path`, which need not exist.
    package init(path: String) { self.path = path }

    /// What is known for `registry`; nil for nothing.
    ///
    /// - Throws: ``Reason/stateUnreadable``, ``Reason/ioFailed``.
    package func credential(for registry: String) throws(Fault) -> Credential? {
        try read().registries[registry].map {
            Credential(user: $0.user, password: .init($0.password))
        }
    }

    /// Remembers `credential` for `registry`, in place of what was there.
    ///
    /// - Throws: ``Reason/stateUnreadable``, ``Reason/diskFull``, ``Reason/ioFailed``.
    package func store(_ credential: Credential, for registry: String) throws(Fault) {
        var contents = try read()
        contents.registries[registry] = .init(
            user: credential.user,
            password: credential.password.reveal()
        )
        try write(contents)
    }

    /// Forgets `registry`; says whether there was anything to forget.
    ///
    /// - Throws: ``Reason/stateUnreadable``, ``Reason/diskFull``, ``Reason/ioFailed``.
    package func remove(_ registry: String) throws(Fault) -> Bool {
        var contents = try read()
        guard contents.registries.removeValue(forKey: registry) != nil else { return false }
        try write(contents)
        return true
    }

    private struct Contents: Codable {
        var registries: [String: Entry] = [:]
    }

    private struct Entry: Codable {
        var user: String
        var password: String
    }

    private func read() throws(Fault) -> Contents {
        guard let bytes = try DurableFile.read(path, limit: 1 << 20) else { return Contents() }
        do {
            return try JSONDecoder().decode(Contents.self, from: Data(bytes))
        } catch {
            // Without the cause: it may quote what stands there.
            throw Fault(
                .stateUnreadable,
                "'\(path)' is not a file of credentials",
                metadata: ["path": path]
            )
        }
    }

    private func write(_ contents: Contents) throws(Fault) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let bytes: [UInt8]
        do {
            bytes = Array(try encoder.encode(contents))
        } catch {
            throw Fault(.bug, "cannot encode credentials")
        }
        try DurableFile.write(path, bytes, mode: 0o600)
    }
}
