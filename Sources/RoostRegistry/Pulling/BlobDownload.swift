import AsyncHTTPClient
import Crypto
import NIOCore
import NIOHTTP1
import RoostLinux
import RoostModel
import Synchronization

/// One blob on its way from a registry into a file, checked as it comes.
///
/// Goes on where the file ends. Where the connection breaks it asks for the rest, as long as each
/// attempt brings something. The file is finished only when size and digest are right.
final class BlobDownload: Sendable {
    private let blob: Descriptor
    private let file: GrowingFile
    private let session: RegistrySession
    private let progress: @Sendable (UInt64) -> Void
    private let hash = Mutex(SHA256())

    /// How much is handed to the disk at once.
    private static let batch = 1 << 20

    /// Downloads `blob` to `file`. `progress` is told of bytes as they are written, each once, from
    /// many threads.
    init(
        _ blob: Descriptor,
        to file: GrowingFile,
        from session: RegistrySession,
        progress: @escaping @Sendable (UInt64) -> Void
    ) {
        self.blob = blob
        self.file = file
        self.session = session
        self.progress = progress
    }

    /// Receives the blob and finishes the file.
    ///
    /// - Throws: ``Reason/digestMismatch`` naming the blob, what the session throws, and what the
    ///   disk does. The file is not finished then; its owner decides what becomes of it.
    func run() async throws(Fault) {
        try await takeUp()
        var fruitless = 0
        while file.count < blob.size {
            let before = file.count
            do throws(Fault) {
                try await receive()
            } catch {
                guard error.reason == .registryUnreachable else { throw error }
                fruitless = file.count > before ? 0 : fruitless + 1
                guard fruitless < 2 else { throw error }
            }
        }
        let found = ContentDigest(hash: hash.withLock { $0.finalize() })
        guard found == blob.digest else {
            throw mismatch("the bytes received are \(found)")
        }
        file.finish()
    }

    /// Hashes what an earlier pull has left.
    private func takeUp() async throws(Fault) {
        let (file, size) = (file, blob.size)
        guard file.count <= size else { throw mismatch("\(file.count) bytes are there already") }
        var offset: UInt64 = 0
        while offset < file.count {
            let start = offset
            let bytes = try await onItsOwnThread { () throws(Fault) in
                try file.peek(Self.batch, at: start)
            }
            guard !bytes.isEmpty else { throw mismatch("the file became shorter") }
            hash.withLock { $0.update(data: bytes) }
            offset += UInt64(bytes.count)
            progress(UInt64(bytes.count))
        }
    }

    /// One request and its answer, from where the file ends.
    private func receive() async throws(Fault) {
        let start = file.count
        let fields = start > 0 ? [("Range", "bytes=\(start)-\(blob.size - 1)")] : []
        let response = try await session.get("blobs/\(blob.digest)", fields)
        let isRest = response.status == .partialContent
        if isRest {
            let range = response.headers.first(name: "Content-Range") ?? ""
            guard range.hasPrefix("bytes \(start)-") else {
                throw session.invalid(
                    "it answers with the range '\(shown(range))', not from \(start)"
                )
            }
        }
        // A registry without ranges sends the blob from its start: what is there is passed over.
        var toSkip = isRest ? 0 : start
        if let text = response.headers.first(name: "Content-Length"), let length = UInt64(text),
            length != blob.size - (isRest ? start : 0)
        {
            throw mismatch("\(text) bytes are announced, the manifest says \(blob.size)")
        }
        var batch = ByteBuffer()
        do {
            for try await var part in response.body {
                let skipped = Int(min(toSkip, UInt64(part.readableBytes)))
                part.moveReaderIndex(forwardBy: skipped)
                toSkip -= UInt64(skipped)
                batch.writeBuffer(&part)
                guard batch.readableBytes >= Self.batch else { continue }
                try await write(batch)
                batch = ByteBuffer()
            }
        } catch let fault as Fault {
            throw fault
        } catch {
            // What came before the break is worth keeping.
            try await write(batch)
            throw session.fault(error, at: session.registry)
        }
        try await write(batch)
        guard file.count == blob.size else {
            throw session.unreachable("the connection ended \(blob.size - file.count) bytes early")
        }
    }

    private func write(_ batch: ByteBuffer) async throws(Fault) {
        let count = UInt64(batch.readableBytes)
        guard count > 0 else { return }
        guard file.count + count <= blob.size else {
            throw mismatch("more than the \(blob.size) bytes that the manifest says are sent")
        }
        let (file, hashing) = (file, self)
        try await onItsOwnThread { () throws(Fault) in
            let failure: Fault? = batch.withUnsafeReadableBytes { bytes in
                hashing.hash.withLock { $0.update(bufferPointer: bytes) }
                do throws(Fault) {
                    try file.append(bytes)
                    return nil
                } catch {
                    return error
                }
            }
            if let failure { throw failure }
        }
        progress(count)
    }

    private func mismatch(_ problem: String) -> Fault {
        Fault(
            .digestMismatch,
            "blob \(blob.digest): \(problem)",
            metadata: ["digest": blob.digest.description]
        )
    }
}
