package import RoostModel
package import X509

/// Who is at the other end of a call, as its connection proved it.
package struct FleetPeer: Sendable {
    /// `nil`: nobody of this fleet yet, who made the certificate by itself.
    package let identity: FleetIdentity?
    /// The key that it holds.
    package let key: Certificate.PublicKey

    package init(identity: FleetIdentity?, key: Certificate.PublicKey) {
        self.identity = identity
        self.key = key
    }

    /// SHA-256 of the key, as membership is kept.
    package var keyDigest: String { sha256Hex(key.subjectPublicKeyInfoBytes) }

    /// Set around every call that comes over mutual TLS.
    @TaskLocal package static var current: FleetPeer?

    /// Makes sure that the caller is the control plane.
    ///
    /// - Throws: ``Reason/permissionDenied``, or ``Reason/unauthenticated`` for nobody.
    package static func requireControl() throws(Fault) {
        let identity = try member().identity
        guard identity == .control else {
            throw Fault(
                .permissionDenied,
                "\(identity, default: "nobody") called what only the control plane may call"
            )
        }
    }

    /// Makes sure that the caller is the node that it speaks of, and answers who called.
    ///
    /// - Throws: ``Reason/notThisNode``, or ``Reason/unauthenticated`` for nobody.
    @discardableResult
    package static func require(_ node: NodeID) throws(Fault) -> FleetPeer {
        let peer = try member()
        guard peer.identity == .node(node) else {
            throw Fault(
                .notThisNode,
                "the certificate is that of \(peer.identity, default: "nobody"), and the call speaks "
                    + "for node \(node.short)",
                metadata: ["node": node.description]
            )
        }
        return peer
    }

    private static func member() throws(Fault) -> FleetPeer {
        guard let peer = current, peer.identity != nil else {
            throw Fault(
                .unauthenticated,
                "the call needs a certificate of this fleet; join it first"
            )
        }
        return peer
    }
}
