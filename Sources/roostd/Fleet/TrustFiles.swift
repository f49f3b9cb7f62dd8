import Glibc
import RoostLinkGRPC
import RoostLinux
import RoostModel
import RoostTrust

/// Keys and certificates in the state directory, under `fleet/`, every key of mode 0600.
///
/// ```text
///  control:  authority.key  authority.der
///  node:     node.key  node.der  authority.der  control
/// ```
struct TrustFiles {
    private let folder: String

    init(stateDirectory: String) throws(Fault) {
        folder = "\(stateDirectory)/fleet"
        try makeDirectories(folder)
    }

    // MARK: Control

    /// The fleet's authority, made once.
    func authority(at now: Timestamp) throws(Fault) -> Authority {
        let (keyPath, certificatePath) = (path("authority.key"), path("authority.der"))
        let key = try read(keyPath)
        let certificate = try read(certificatePath)
        guard let key else {
            if certificate != nil {
                // A new authority would shut every node out: whoever removed the key must know.
                throw Fault(
                    .stateUnreadable,
                    "'\(keyPath)' is missing beside its certificate; put it back from a backup",
                    metadata: ["path": certificatePath]
                )
            }
            let made = try Authority(at: now)
            // A crash between the two leaves a key that nobody has used.
            try write(keyPath, Array(made.pem.reveal().utf8))
            try write(certificatePath, made.trust.der)
            return made
        }
        let keys = try keyPair(key, keyPath)
        guard let certificate else {
            throw Fault(
                .stateUnreadable,
                "'\(certificatePath)' is missing beside its key; put it back, or remove the key to "
                    + "begin a new fleet",
                metadata: ["path": keyPath]
            )
        }
        let trust = try TrustedAuthority(der: certificate, path: certificatePath)
        return try Authority(keys: keys, trust: trust, path: certificatePath)
    }

    // MARK: Node

    /// The node's key, made once.
    func nodeKeys() throws(Fault) -> KeyPair {
        let path = path("node.key")
        if let bytes = try read(path) { return try keyPair(bytes, path) }
        let keys = KeyPair()
        try write(path, Array(keys.pem.reveal().utf8))
        return keys
    }

    /// Whether the node has something to show.
    var hasJoined: Bool {
        get throws(Fault) {
            for name in ["node.der", "authority.der"] where try read(path(name)) == nil {
                return false
            }
            return true
        }
    }

    /// What the node shows, once it has joined.
    func nodeCredentials(_ keys: KeyPair) throws(Fault) -> FleetCredentials? {
        let (leafPath, trustPath) = (path("node.der"), path("authority.der"))
        guard let leaf = try read(leafPath), let trust = try read(trustPath) else { return nil }
        return FleetCredentials(
            keys: keys,
            leaf: try Leaf(der: leaf, path: leafPath),
            trust: try TrustedAuthority(der: trust, path: trustPath)
        )
    }

    /// Keeps what joining or renewing gave.
    func keep(_ admission: ControlLine.Admission) throws(Fault) {
        try write(path("authority.der"), admission.trust.der)
        try write(path("node.der"), admission.leaf.der)
    }

    /// Where the control plane is, as it was said last.
    func controlAddress() throws(Fault) -> String? {
        try read(path("control")).map {
            String(decoding: $0, as: UTF8.self).filter { !$0.isWhitespace }
        }
    }

    func keep(controlAddress: String) throws(Fault) {
        if try self.controlAddress() == controlAddress { return }
        try write(path("control"), Array("\(controlAddress)\n".utf8))
    }

    // MARK: Files

    private func path(_ name: String) -> String { "\(folder)/\(name)" }

    private func read(_ path: String) throws(Fault) -> [UInt8]? {
        try DurableFile.read(path, limit: 16_384)
    }

    private func write(_ path: String, _ bytes: [UInt8]) throws(Fault) {
        try DurableFile.write(path, bytes, mode: 0o600)
    }

    /// A key that others can read is no secret any more.
    private func keyPair(_ bytes: [UInt8], _ path: String) throws(Fault) -> KeyPair {
        var facts = stat()
        guard stat(path, &facts) == 0, facts.st_mode & 0o077 == 0 else {
            throw Fault(
                .stateUnreadable,
                "'\(path)' may be read by others: chmod 600 it, and think about who has",
                metadata: ["path": path]
            )
        }
        return try KeyPair(pem: String(decoding: bytes, as: UTF8.self), path: path)
    }
}
