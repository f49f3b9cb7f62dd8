internal import NIOSSL

/// What a listener shows of itself over TLS 1.3. Without one it speaks plaintext.
package struct ConnectTLS: Sendable {
    /// DER, the server's own first.
    package var certificateChain: [[UInt8]]
    /// DER, of the first certificate's key.
    package var privateKey: [UInt8]

    package init(certificateChain: [[UInt8]], privateKey: [UInt8]) {
        self.certificateChain = certificateChain
        self.privateKey = privateKey
    }

    /// What NIO serves with.
    ///
    /// - Throws: what BoringSSL says of the bytes.
    func context() throws -> NIOSSLContext {
        let chain = try certificateChain.map {
            NIOSSLCertificateSource.certificate(try NIOSSLCertificate(bytes: $0, format: .der))
        }
        let key = try NIOSSLPrivateKey(bytes: privateKey, format: .der)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain,
            privateKey: .privateKey(key)
        )
        configuration.minimumTLSVersion = .tlsv13
        // Which one it is, the first bytes say: a client without ALPN is served too.
        configuration.applicationProtocols = ["h2", "http/1.1"]
        return try NIOSSLContext(configuration: configuration)
    }
}
