import Foundation
import RoostModel
import RoostTrust
import Testing
import X509

/// Now, as the verifier sees it.
private let now = Timestamp(milliseconds: Int64(ContinuousWall.seconds()) * 1000)

@Suite("Trust")
struct TrustTests {
    let authority: Authority
    let node = FleetIdentity.node(NodeID(bits: 0xabc))

    init() throws { authority = try Authority(at: now) }

    @Test("a leaf says who its holder is, and nobody else's authority believes it")
    func leaves() async throws {
        let leaf = try authority.issue(node, to: KeyPair().publicKey, at: now)
        #expect(try await authority.trust.identity(of: leaf.certificate) == node)
        let control = try authority.issue(.control, to: KeyPair().publicKey, at: now)
        #expect(try await authority.trust.identity(of: control.certificate) == .control)
        let other = try Authority(at: now)
        await #expect(throws: Fault.self) {
            try await other.trust.identity(of: leaf.certificate)
        }
    }

    @Test("a leaf that has ended, has not begun, or was signed by itself is refused")
    func refused() async throws {
        let past = try authority.issue(
            node,
            to: KeyPair().publicKey,
            at: now.adding(seconds: -7200),
            lifetime: 3600
        )
        let future = try authority.issue(
            node,
            to: KeyPair().publicKey,
            at: now.adding(seconds: 7200)
        )
        let own = try Leaf.selfSigned(KeyPair(), at: now)
        #expect(own.isSelfSigned)
        for leaf in [past, future, own] {
            let fault = await #expect(throws: Fault.self) {
                try await authority.trust.identity(of: leaf.certificate)
            }
            #expect(fault?.reason == .unauthenticated)
        }
    }

    @Test("the authority's own certificate is nobody's identity, and a leaf signs nothing")
    func noLeafSigns() async throws {
        await #expect(throws: Fault.self) {
            try await authority.trust.identity(of: authority.trust.certificate)
        }
        let keys = KeyPair()
        let leaf = try authority.issue(.control, to: keys.publicKey, at: now)
        let trust = try TrustedAuthority(der: leaf.der, path: "leaf")
        let impostor = try Authority(keys: keys, trust: trust, path: "leaf")
        let forged = try impostor.issue(node, to: KeyPair().publicKey, at: now)
        await #expect(throws: Fault.self) {
            try await authority.trust.identity(of: forged.certificate)
        }
    }

    @Test("keys and certificates come back from their files, and only together")
    func files() throws {
        let keys = try KeyPair(pem: authority.pem.reveal(), path: "ca.key")
        let trust = try TrustedAuthority(der: authority.trust.der, path: "ca.der")
        #expect(trust.fingerprint == authority.trust.fingerprint)
        _ = try Authority(keys: keys, trust: trust, path: "ca.der")
        #expect(throws: Fault.self) { try Authority(keys: KeyPair(), trust: trust, path: "ca") }
        #expect(throws: Fault.self) { try KeyPair(pem: "no key", path: "ca.key") }
        #expect(throws: Fault.self) { try TrustedAuthority(der: [1, 2, 3], path: "ca.der") }
    }

    @Test("tokens follow from the op id and the authority, and from nothing else")
    func derived() throws {
        let (one, two) = (OperationID(bits: 1), OperationID(bits: 2))
        let token = JoinToken(of: one, authority)
        #expect(JoinToken(of: one, authority) == token)
        #expect(try JoinToken(token.text.reveal()) == token)
        let access = AccessToken(of: one, authority)
        #expect(AccessToken(of: one, authority) == access)
        let other = try Authority(at: Timestamp(milliseconds: 0))
        let digests = [
            token.secretDigest, access.secretDigest, JoinToken(of: two, authority).secretDigest,
            AccessToken(of: two, authority).secretDigest, JoinToken(of: one, other).secretDigest,
        ]
        #expect(Set(digests).count == digests.count)
        #expect(Set([token.id, access.id, JoinToken(of: two, authority).id]).count == 3)
    }

    @Test("a join token is read as it was written; any cut or change is told")
    func tokens() throws {
        let token = JoinToken(
            id: [1, 2, 3, 4, 5, 6],
            secret: Array(0..<16),
            fingerprint: authority.trust.fingerprint
        )
        let text = token.text.reveal()
        #expect(try JoinToken(text) == token)
        #expect("\(token)".contains("0001020304") == false)
        for count in 0..<text.utf8.count {
            let fault = #expect(throws: Fault.self) { try JoinToken(String(text.prefix(count))) }
            #expect(fault?.reason == .joinTokenInvalid)
        }
        for (index, character) in text.enumerated() {
            var changed = Array(text)
            changed[index] = character == "7" ? "8" : "7"
            #expect(throws: Fault.self) { try JoinToken(String(changed)) }
        }
    }

    @Test(
        "an access token is read as it was written; any cut or change is told, and a join token is none"
    )
    func accessTokens() throws {
        let token = AccessToken(
            id: [1, 2, 3, 4, 5, 6],
            secret: Array(0..<16),
            fingerprint: authority.trust.fingerprint
        )
        let text = token.text.reveal()
        #expect(try AccessToken(text) == token)
        #expect("\(token)".contains("0001020304") == false)
        for count in 0..<text.utf8.count {
            let fault = #expect(throws: Fault.self) { try AccessToken(String(text.prefix(count))) }
            #expect(fault?.reason == .accessTokenInvalid)
        }
        for (index, character) in text.enumerated() {
            var changed = Array(text)
            changed[index] = character == "7" ? "8" : "7"
            let fault = #expect(throws: Fault.self) { try AccessToken(String(changed)) }
            #expect(fault?.message.contains("0001020304") == false)
        }
        let join = JoinToken(id: [1, 2, 3, 4, 5, 6], secret: Array(0..<16), fingerprint: "")
        #expect(throws: Fault.self) { try AccessToken(join.text.reveal()) }
        // Of the same bytes, neither is kept as the other.
        #expect(join.secretDigest != token.secretDigest)
    }

    @Test("a server is the control plane of the token's fleet, or is told nothing")
    func servers() async throws {
        let leaf = try authority.issue(
            .control,
            to: KeyPair().publicKey,
            at: now,
            names: ["control.example"],
            addresses: [[127, 0, 0, 1]]
        )
        let (der, own) = (leaf.der, authority.trust)
        try await TrustedAuthority.require(.control, [der, own.der], fingerprint: own.fingerprint)
        let node = try authority.issue(node, to: KeyPair().publicKey, at: now)
        let other = try Authority(at: now)
        let foreign = try other.issue(.control, to: KeyPair().publicKey, at: now)
        let cases: [([[UInt8]], Reason)] = [
            ([], .accessTokenInvalid), ([der], .accessTokenInvalid),
            ([foreign.der, other.trust.der], .accessTokenInvalid),
            // Whoever shows the right authority beside a certificate of its own.
            ([foreign.der, own.der], .unauthenticated), ([node.der, own.der], .unauthenticated),
            ([own.der], .unauthenticated),
        ]
        for (chain, reason) in cases {
            let fault = await #expect(throws: Fault.self) {
                try await TrustedAuthority.require(.control, chain, fingerprint: own.fingerprint)
            }
            #expect(fault?.reason == reason)
        }
    }

    @Test("a name in a certificate that is nobody of a fleet is read as none")
    func names() {
        #expect(FleetIdentity(uri: "roost://control") == .control)
        #expect(FleetIdentity(uri: node.uri) == node)
        for uri in ["", "roost://node/", "roost://node/abc", "roost://control/", "https://control"]
        {
            #expect(FleetIdentity(uri: uri) == nil, "\(uri)")
        }
    }
}

/// The clock of the verifier.
private enum ContinuousWall {
    static func seconds() -> Double { Date().timeIntervalSince1970 }
}
