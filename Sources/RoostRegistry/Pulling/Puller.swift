import AsyncHTTPClient
import Crypto
import Foundation
import NIOHTTP1
package import RoostLinux
package import RoostModel
import Synchronization

/// What to pull, and how.
package struct PullRequest: Sendable, Hashable {
    /// The image.
    package var reference: ImageReference
    /// Allows plain http also where the registry is not on this machine.
    package var isPlain: Bool

    package init(_ reference: ImageReference, isPlain: Bool = false) {
        self.reference = reference
        self.isPlain = isPlain
    }
}

/// A layer that is being pulled: read it while it comes.
package struct PulledLayer: Sendable {
    /// Its name in the registry, for messages.
    package let digest: ContentDigest
    /// What its tar stream must hash to once it is unpacked.
    package let content: ContentDigest
    /// Its bytes as they are sent.
    package let size: UInt64
    /// Its bytes as they come; the end is reached only by a blob whose digest was right.
    package let file: GrowingFile
}

/// Pulls images from registries that speak the OCI distribution protocol or docker's v2.
///
/// ```text
///  open ─ manifest by tag or digest ─▸ (index ─▸ manifest for linux/amd64) ─▸ configuration
///  fetch ─ layers, three at a time, each checked ─┐ bytes as they come
///          unpack, on a thread of its own ◂───────┘ the end only after the check
/// ```
/// Nothing is published here: `unpack` returns only when every byte was right.
package final class Puller: Sendable {
    private let cache: BlobCache
    private let credentials: CredentialFile
    private let environment: [String: String]
    private let clock: any Clock<Duration>

    /// Pulls through `cache`. `credentials` is where ``login(_:_:isPlain:)`` leaves what it was
    /// told, `environment` where the proxy variables stand; `clock` waits between attempts.
    package init(
        cache: BlobCache,
        credentials: CredentialFile,
        environment: [String: String],
        clock: any Clock<Duration>
    ) {
        self.cache = cache
        self.credentials = credentials
        self.environment = environment
        self.clock = clock
    }

    /// Asks what the reference means now. Close the result.
    ///
    /// - Throws: ``Reason/imageNotFound``, ``Reason/registryDenied``,
    ///   ``Reason/registryUnreachable``, ``Reason/registryInvalid``, ``Reason/digestMismatch``,
    ///   and what the documents are refused for, naming the reference.
    package func open(_ request: PullRequest) async throws(Fault) -> OpenImage {
        let reference = request.reference
        let credential = try await credential(reference.registry)
        let session = try RegistrySession(
            registry: reference.registry,
            repository: reference.repository,
            subject: reference.description,
            isPlain: request.isPlain,
            credential: credential,
            proxies: try ProxySettings(environment: environment),
            clock: clock
        )
        do throws(Fault) {
            let wanted = reference.digest?.description ?? reference.tag ?? "latest"
            let top = try await document(wanted, reference, session)
            return OpenImage(reference: reference, digest: top.digest, top: top, session: session)
        } catch {
            await session.close()
            throw error
        }
    }

    /// Fetches manifest and configuration, then the layers, and unpacks them while they come.
    ///
    /// - Parameters:
    ///   - image: What ``open(_:)`` has found.
    ///   - progress: Told how many bytes of how many are there; from many threads.
    ///   - unpack: Reads every layer to its end, on a thread of its own, and makes the image.
    ///     What it makes must vanish when it throws.
    /// - Returns: What `unpack` has made.
    /// - Throws: As ``open(_:)``, ``Reason/digestMismatch`` naming the blob, what `unpack` throws.
    package func fetch<Made: Sendable>(
        _ image: OpenImage,
        progress: @escaping @Sendable (_ done: UInt64, _ total: UInt64) -> Void,
        unpack: @escaping @Sendable (PulledConfiguration, [PulledLayer]) throws(Fault) -> Made
    ) async throws(Fault) -> Made {
        let manifest = try await self.manifest(image)
        let configuration = try await configuration(manifest, image)
        // A layer may stand there twice; its blob is one.
        var blobs: [Descriptor] = []
        for layer in manifest.layers where !blobs.contains(where: { $0.digest == layer.digest }) {
            blobs.append(layer)
        }
        var claims: [BlobCache.Claim] = []
        do throws(Fault) {
            for blob in blobs { claims.append(try await claim(blob)) }
            let files = Dictionary(uniqueKeysWithValues: claims.map { ($0.digest, $0.file) })
            var layers: [PulledLayer] = []
            for (layer, content) in zip(manifest.layers, configuration.layerContents) {
                guard let file = files[layer.digest] else {
                    throw Fault(.bug, "a layer without a file")
                }
                layers.append(
                    PulledLayer(
                        digest: layer.digest,
                        content: content,
                        size: layer.size,
                        file: file
                    )
                )
            }
            let (all, work) = (layers, zip(blobs, claims).map { ($0, $1.file) })
            let made = try await transfer(image, work, progress) { () throws(Fault) in
                try unpack(configuration, all)
            }
            cache.release(claims, keeping: false)
            return made
        } catch {
            // What is good so far spares the next attempt its transfer; what is wrong goes.
            let bad = error.reason == .digestMismatch ? error.metadata["digest"] : nil
            cache.release(claims.filter { $0.digest.description == bad }, keeping: false)
            cache.release(claims.filter { $0.digest.description != bad }, keeping: true)
            throw about(image.reference, error)
        }
    }

    /// Asks whether the registry lets `credential` in, and remembers it if so.
    ///
    /// - Throws: ``Reason/registryDenied`` for a wrong name or password; nothing is stored then.
    package func login(
        _ registry: String,
        _ credential: Credential,
        isPlain: Bool
    ) async throws(Fault) {
        let session = try RegistrySession(
            registry: registry,
            repository: "",
            subject: registry,
            isPlain: isPlain,
            credential: credential,
            proxies: try ProxySettings(environment: environment),
            clock: clock
        )
        do throws(Fault) {
            _ = try await session.get("", [])
        } catch {
            await session.close()
            throw error
        }
        await session.close()
        let credentials = credentials
        try await onItsOwnThread { () throws(Fault) in
            try credentials.store(credential, for: registry)
        }
    }

    /// Forgets the credentials for `registry`; says whether there were any.
    package func logout(_ registry: String) async throws(Fault) -> Bool {
        let credentials = credentials
        return try await onItsOwnThread { () throws(Fault) in try credentials.remove(registry) }
    }

    // MARK: Documents

    private func manifest(_ image: OpenImage) async throws(Fault) -> Manifest {
        var found = image.top
        for _ in 0..<RegistryLimits.indexDepth {
            let document: ManifestDocument
            do throws(Fault) {
                document = try ManifestDocument(found.bytes, contentType: found.type)
            } catch {
                throw about(image.reference, error)
            }
            switch document {
            case .image(let manifest): return manifest
            case .index(let next):
                found = try await self.document(
                    next.digest.description,
                    image.reference,
                    image.session
                )
                guard UInt64(found.bytes.count) == next.size else {
                    throw mismatch(
                        image.reference,
                        "manifest \(next.digest)",
                        next.size,
                        found.bytes
                    )
                }
            }
        }
        throw Fault(.imageInvalid, "\(image.reference): an index of indexes of indexes")
    }

    private func configuration(
        _ manifest: Manifest,
        _ image: OpenImage
    ) async throws(Fault) -> PulledConfiguration {
        let blob = manifest.configuration
        let response = try await image.session.get("blobs/\(blob.digest)", [])
        let bytes = try await image.session.body(response, limit: RegistryLimits.configuration)
        guard UInt64(bytes.count) == blob.size else {
            throw mismatch(image.reference, "blob \(blob.digest)", blob.size, bytes)
        }
        try check(bytes, blob.digest, "blob", image.reference)
        do throws(Fault) {
            return try PulledConfiguration(bytes, layers: manifest.layers.count)
        } catch {
            throw about(image.reference, error)
        }
    }

    private func document(
        _ name: String,
        _ reference: ImageReference,
        _ session: RegistrySession
    ) async throws(Fault) -> FoundDocument {
        let accepted = ManifestDocument.accepted.joined(separator: ", ")
        let response = try await session.get("manifests/\(name)", [("Accept", accepted)])
        let bytes = try await session.body(response, limit: RegistryLimits.manifest)
        let said =
            ContentDigest(name)
            ?? response.headers.first(name: "Docker-Content-Digest").flatMap { ContentDigest($0) }
        if let said { try check(bytes, said, "manifest", reference) }
        return FoundDocument(
            bytes: bytes,
            digest: ContentDigest(hash: SHA256.hash(data: bytes)),
            type: response.headers.first(name: "Content-Type") ?? ""
        )
    }

    private func check(
        _ bytes: [UInt8],
        _ digest: ContentDigest,
        _ what: String,
        _ reference: ImageReference
    ) throws(Fault) {
        let found = ContentDigest(hash: SHA256.hash(data: bytes))
        guard found == digest else {
            throw Fault(
                .digestMismatch,
                "\(reference): \(what) \(digest): the bytes received are \(found)",
                metadata: ["digest": digest.description]
            )
        }
    }

    private func mismatch(
        _ reference: ImageReference,
        _ what: String,
        _ size: UInt64,
        _ bytes: [UInt8]
    ) -> Fault {
        Fault(
            .digestMismatch,
            "\(reference): \(what) has \(bytes.count) bytes, and \(size) were announced"
        )
    }

    // MARK: Layers

    private func claim(_ blob: Descriptor) async throws(Fault) -> BlobCache.Claim {
        let cache = cache
        return try await onItsOwnThread { () throws(Fault) in
            let claim = try cache.claim(blob.digest)
            // Longer than it can be: no beginning of this blob.
            if claim.file.count > blob.size { try claim.file.clear() }
            return claim
        }
    }

    /// Downloads and unpacks at once; when one fails the other is ended.
    private func transfer<Made: Sendable>(
        _ image: OpenImage,
        _ work: [(Descriptor, GrowingFile)],
        _ progress: @escaping @Sendable (UInt64, UInt64) -> Void,
        _ unpack: @escaping @Sendable () throws(Fault) -> Made
    ) async throws(Fault) -> Made {
        let total = work.reduce(UInt64(0)) { $0 + $1.0.size }
        let done = Mutex(UInt64(0))
        let downloads = Downloads(work, image.session) { count in
            let now = done.withLock { sum in
                sum += count
                return sum
            }
            progress(now, total)
        }
        do {
            return try await withThrowingTaskGroup(of: Made?.self) { group in
                group.addTask {
                    await downloads.run()
                    return nil
                }
                group.addTask { try await onItsOwnThread(unpack) }
                defer { group.cancelAll() }
                while let finished = try await group.next() {
                    if let made = finished { return made }
                }
                throw Fault(.bug, "nothing was unpacked")
            }
        } catch let fault as Fault {
            throw fault
        } catch {
            throw image.session.cancelled()
        }
    }

    private func credential(_ registry: String) async throws(Fault) -> Credential? {
        let credentials = credentials
        return try await onItsOwnThread { () throws(Fault) in
            try credentials.credential(for: registry)
        }
    }

    /// The fault with the image's name in front.
    private func about(_ reference: ImageReference, _ fault: Fault) -> Fault {
        var fault = fault
        if !fault.message.hasPrefix(reference.description) {
            fault.message = "\(reference): \(fault.message)"
        }
        return fault
    }
}

/// A document under its digest.
struct FoundDocument: Sendable {
    var bytes: [UInt8]
    var digest: ContentDigest
    var type: String
}

/// An image that was looked up, with the connection to go on with.
package struct OpenImage: Sendable {
    /// What was asked for.
    package let reference: ImageReference
    /// What the tag means now: the digest of the manifest or index under it.
    package let digest: ContentDigest
    let top: FoundDocument
    let session: RegistrySession

    /// Ends the connections. May be called twice.
    package func close() async { await session.close() }
}

/// The layers' transfer, three at a time in order. However it ends, so does every file.
private struct Downloads: Sendable {
    private let work: [(Descriptor, GrowingFile)]
    private let session: RegistrySession
    private let progress: @Sendable (UInt64) -> Void

    init(
        _ work: [(Descriptor, GrowingFile)],
        _ session: RegistrySession,
        progress: @escaping @Sendable (UInt64) -> Void
    ) {
        self.work = work
        self.session = session
        self.progress = progress
    }

    func run() async {
        let failure: Fault?
        do {
            try await runAll()
            failure = nil
        } catch let fault as Fault {
            failure = fault
        } catch {
            failure = session.cancelled()
        }
        // Nobody waits for a file for ever.
        let ending = failure ?? Fault(.bug, "a layer that nobody has fetched")
        for (_, file) in work { file.fail(ending) }
    }

    private func runAll() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, (blob, file)) in work.enumerated() {
                if index >= 3 { try await group.next() }
                let download = BlobDownload(blob, to: file, from: session, progress: progress)
                group.addTask {
                    do {
                        try await download.run()
                    } catch {
                        file.fail((error as? Fault) ?? session.cancelled())
                        throw error
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}
