import Foundation
package import RoostModel

/// How much of what a registry says is believed. Sizes in bytes.
package enum RegistryLimits {
    /// A manifest or an index.
    package static let manifest = 4 << 20
    /// An image's configuration.
    package static let configuration = 8 << 20
    /// Layers of one image.
    package static let layers = 256
    /// One layer, as it is sent.
    package static let layer = UInt64(64) << 30
    /// A token server's answer, or the text of an error.
    package static let answer = 256 << 10
    /// Indexes on the way to a manifest.
    package static let indexDepth = 4
}

/// What stands for a blob in a manifest.
package struct Descriptor: Hashable, Sendable {
    /// What kind of blob, such as `application/vnd.oci.image.layer.v1.tar+gzip`.
    package var mediaType: String
    /// Its name and its check.
    package var digest: ContentDigest
    /// Its bytes; a registry that sends another number is refused.
    package var size: UInt64

    package init(mediaType: String, digest: ContentDigest, size: UInt64) {
        self.mediaType = mediaType
        self.digest = digest
        self.size = size
    }
}

/// One image for one platform.
package struct Manifest: Hashable, Sendable {
    /// The configuration's blob.
    package var configuration: Descriptor
    /// The layers, lowest first.
    package var layers: [Descriptor]
}

/// What is found under a tag or digest.
package enum ManifestDocument: Hashable, Sendable {
    /// An image.
    case image(Manifest)
    /// A choice of platforms, of which this is ours.
    case index(Descriptor)

    /// The forms that are asked for.
    package static let accepted = [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]

    /// Reads a manifest or an index, and chooses linux/amd64 from the latter.
    ///
    /// - Parameters:
    ///   - bytes: As they came, already checked against their digest.
    ///   - contentType: The response's; used where the document itself has no `mediaType`.
    /// - Throws: ``Reason/imageInvalid`` for what is none, ``Reason/unsupported`` for other
    ///   versions, compressions and platforms, ``Reason/limitExceeded`` past ``RegistryLimits``.
    package init(_ bytes: [UInt8], contentType: String) throws(Fault) {
        let document: Document
        do {
            document = try JSONDecoder().decode(Document.self, from: Data(bytes))
        } catch {
            throw Fault(.imageInvalid, "the manifest is not the JSON of one", cause: error)
        }
        guard document.schemaVersion == 2 else {
            throw Fault(
                .unsupported,
                "a manifest of schema \(document.schemaVersion): only 2 can be read"
            )
        }
        let written = document.mediaType ?? contentType
        let type = written.prefix { $0 != ";" }.lowercased()
        let isIndex = type.contains("index") || type.contains("manifest.list")
        // A document that is both would mean different images to different readers.
        guard document.manifests == nil || (document.layers == nil && document.config == nil),
            isIndex == (document.manifests != nil)
        else { throw Fault(.imageInvalid, "the manifest is index and image at once, or neither") }
        if let entries = document.manifests {
            self = .index(try Self.choose(entries))
        } else {
            self = .image(try Self.image(document))
        }
    }

    private static func image(_ document: Document) throws(Fault) -> Manifest {
        guard let config = document.config, let layers = document.layers else {
            throw Fault(.imageInvalid, "the manifest names no configuration or no layers")
        }
        guard layers.count <= RegistryLimits.layers else {
            throw Fault(
                .limitExceeded,
                "\(layers.count) layers; an image may have \(RegistryLimits.layers)"
            )
        }
        let configuration = try config.checked(
            limit: UInt64(RegistryLimits.configuration),
            "the configuration"
        )
        let known = [
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.docker.container.image.v1+json",
        ]
        guard known.contains(configuration.mediaType) else {
            throw Fault(
                .unsupported,
                "it holds '\(shown(configuration.mediaType))', which is no container image"
            )
        }
        var checked: [Descriptor] = []
        for (index, layer) in layers.enumerated() {
            let layer = try layer.checked(limit: RegistryLimits.layer, "layer \(index + 1)")
            try checkLayerType(layer.mediaType)
            checked.append(layer)
        }
        return Manifest(configuration: configuration, layers: checked)
    }

    private static func checkLayerType(_ type: String) throws(Fault) {
        if type.hasSuffix("+zstd") || type.hasSuffix(".zstd") {
            throw Fault(
                .unsupported,
                "a layer compressed with zstd: only gzip and plain tar are read"
            )
        }
        let known = [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.diff.tar",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ]
        guard known.contains(type) else {
            throw Fault(.unsupported, "a layer of type '\(shown(type))'")
        }
    }

    /// The entry for linux/amd64: one without a variant if there is one, else the first.
    private static func choose(_ entries: [Entry]) throws(Fault) -> Descriptor {
        let fitting = entries.filter {
            $0.platform?.os == "linux" && $0.platform?.architecture == "amd64"
        }
        let plain = fitting.first { ($0.platform?.variant ?? "").isEmpty }
        guard let chosen = plain ?? fitting.first else {
            let offered = entries.prefix(20).compactMap(\.platform).map {
                "\($0.os ?? "?")/\($0.architecture ?? "?")"
            }
            let list = offered.isEmpty ? "none" : shown(offered.joined(separator: ", "))
            throw Fault(.unsupported, "it is not made for linux/amd64; there is: \(list)")
        }
        return try chosen.descriptor.checked(
            limit: UInt64(RegistryLimits.manifest),
            "the manifest for linux/amd64"
        )
    }

    // MARK: The wire

    private struct Document: Decodable {
        var schemaVersion: Int
        var mediaType: String?
        var config: RawDescriptor?
        var layers: [RawDescriptor]?
        var manifests: [Entry]?
    }

    private struct Entry: Decodable {
        var descriptor: RawDescriptor
        var platform: Platform?

        enum CodingKeys: CodingKey { case platform }

        init(from decoder: any Decoder) throws {
            descriptor = try RawDescriptor(from: decoder)
            platform = try decoder.container(keyedBy: CodingKeys.self)
                .decodeIfPresent(Platform.self, forKey: .platform)
        }
    }

    private struct Platform: Decodable {
        var architecture: String?
        var os: String?
        var variant: String?
    }

    private struct RawDescriptor: Decodable {
        var mediaType: String?
        var digest: String
        var size: Int64

        func checked(limit: UInt64, _ what: String) throws(Fault) -> Descriptor {
            guard let name = ContentDigest(digest) else {
                throw Fault(.imageInvalid, "\(what): '\(shown(digest))' is no sha256 digest")
            }
            guard let size = UInt64(exactly: size), size > 0 else {
                throw Fault(.imageInvalid, "\(what) is said to have \(size) bytes")
            }
            guard size <= limit else {
                throw Fault(.limitExceeded, "\(what) has \(size) bytes; the limit is \(limit)")
            }
            return Descriptor(mediaType: mediaType ?? "", digest: name, size: size)
        }
    }
}
