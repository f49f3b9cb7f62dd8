import Crypto
package import RoostModel

/// One layer of an image: a tar stream, gzipped or plain.
package struct ImageLayer {
    /// What messages call it.
    package let name: String
    /// SHA-256 of the unpacked tar stream, 64 hexadecimal digits.
    package let content: String
    /// The bytes as they are stored or sent.
    package let source: ByteSource
    /// Waits until `source` was checked as a whole, and throws what is wrong with it.
    package let confirm: () throws(Fault) -> Void

    /// Describes a layer.
    package init(
        name: String,
        content: String,
        source: ByteSource,
        confirm: @escaping () throws(Fault) -> Void
    ) {
        self.name = name
        self.content = content
        self.source = source
        self.confirm = confirm
    }
}

extension Catalogue<ImageManifest> {
    /// How much all layers of an image may unpack to, for each byte of its disk: what a later layer
    /// replaces was unpacked too, and a file of zeros takes no room.
    private static let contentPerDisk: UInt64 = 4

    /// Makes an image of layers, each over the one before (OCI image-spec, layer.md). Blocking.
    ///
    /// - Parameters:
    ///   - layers: Lowest first; read one after the other, each to its end.
    ///   - size: The root disk's size; a VM may have a larger one.
    ///   - configuration: How a guest made from it runs.
    /// - Returns: The entry, which may have been there before.
    /// - Throws: What a layer's `confirm` throws, before anything its bytes were found guilty of;
    ///   `archiveInvalid`, `unsupported` (zstd), `digestMismatch` where a layer unpacks to
    ///   something else than its `content`, `limitExceeded`, `diskFull`.
    package func importLayers(
        _ layers: [ImageLayer],
        size: ByteCount,
        configuration: ImageConfiguration
    ) throws(Fault) -> CatalogueEntry<ImageManifest> {
        try importImage(size: size, configuration: configuration) { builder throws(Fault) in
            var limits = TarLimits(content: ByteCount(bytes: size.bytes * Self.contentPerDisk))
            for layer in layers {
                do throws(Fault) {
                    try Self.add(layer, to: builder, &limits)
                } catch {
                    // Bytes that were damaged on the way are no fault of the archive's.
                    try layer.confirm()
                    var named = error
                    named.message = "\(layer.name): \(error.message)"
                    throw named
                }
                try layer.confirm()
            }
        }
    }

    private static func add(
        _ layer: ImageLayer,
        to builder: Ext4Builder,
        _ limits: inout TarLimits
    ) throws(Fault) {
        // Headers and padding come on top of the content.
        let bound = ByteCount(bytes: limits.content.bytes + UInt64(limits.entries) * 2048)
        let gunzip = Gunzip(layer.source, name: "the layer", limit: bound)
        let unpacked = gunzip.unpacked
        var hash = SHA256()
        let reader = TarReader(
            ByteSource { buffer throws(Fault) in
                let count = try unpacked.read(buffer)
                hash.update(
                    bufferPointer: UnsafeRawBufferPointer(rebasing: buffer[..<count])
                )
                return count
            },
            limits: limits
        )
        try builder.add(reader, asLayer: true)
        try reader.drain()
        let found = hexadecimal(hash.finalize())
        guard found == layer.content else {
            throw Fault(
                .digestMismatch,
                "it unpacks to sha256:\(found); the configuration says sha256:\(layer.content)",
                metadata: ["digest": "sha256:\(layer.content)"]
            )
        }
        limits.entries -= reader.entries
        limits.content = ByteCount(bytes: limits.content.bytes - reader.contentBytes)
    }
}
