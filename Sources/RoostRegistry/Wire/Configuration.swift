import Foundation
package import RoostModel

/// What an image's configuration says about running it (OCI image-spec, config.md).
package struct PulledConfiguration: Hashable, Sendable {
    /// What a command is an argument of; empty for none.
    package var entrypoint: [String]
    /// What runs when no command is given; empty for none.
    package var command: [String]
    /// `NAME=VALUE`, each name once.
    package var environment: [String]
    /// Where commands run; empty for the root.
    package var workingDirectory: String
    /// Who runs them; empty for root.
    package var user: String
    /// The digests of the layers' tar streams, lowest first.
    package var layerContents: [ContentDigest]

    /// Reads a configuration whose digest was checked.
    ///
    /// The manifest has `layers` of them.
    ///
    /// - Throws: ``Reason/imageInvalid`` for what is none or does not fit its manifest,
    ///   ``Reason/unsupported`` for another platform, ``Reason/limitExceeded``.
    package init(_ bytes: [UInt8], layers: Int) throws(Fault) {
        let document: Document
        do {
            document = try JSONDecoder().decode(Document.self, from: Data(bytes))
        } catch {
            throw Fault(.imageInvalid, "the configuration is not the JSON of one", cause: error)
        }
        guard document.os == "linux", document.architecture == "amd64" else {
            throw Fault(
                .unsupported,
                "it is made for \(shown(document.os))/\(shown(document.architecture)), "
                    + "and only linux/amd64 runs here"
            )
        }
        guard document.rootfs.diffIDs.count == layers else {
            throw Fault(
                .imageInvalid,
                "the configuration lists \(document.rootfs.diffIDs.count) layers, "
                    + "its manifest \(layers)"
            )
        }
        var contents: [ContentDigest] = []
        for text in document.rootfs.diffIDs {
            guard let digest = ContentDigest(text) else {
                throw Fault(.imageInvalid, "the configuration's '\(shown(text))' is no digest")
            }
            contents.append(digest)
        }
        let config = document.config ?? Document.Config()
        entrypoint = config.entrypoint ?? []
        command = config.command ?? []
        environment = try Self.environment(config.environment ?? [])
        workingDirectory = config.workingDirectory ?? ""
        user = config.user ?? ""
        layerContents = contents
        try check()
    }

    private func check() throws(Fault) {
        // What the guest's agent takes in one request.
        let texts = entrypoint + command + environment + [workingDirectory, user]
        guard texts.reduce(0, { $0 + $1.utf8.count }) <= 128 << 10, texts.count <= 4096 else {
            throw Fault(
                .limitExceeded,
                "the configuration's command and variables are over 128 KiB"
            )
        }
        guard !texts.contains(where: { $0.utf8.contains(0) }) else {
            throw Fault(.imageInvalid, "the configuration has a NUL in a command or variable")
        }
        guard workingDirectory.isEmpty || workingDirectory.utf8.first == UInt8(ascii: "/") else {
            throw Fault(
                .imageInvalid,
                "the configuration's working directory '\(shown(workingDirectory))' is not absolute"
            )
        }
    }

    /// Each name once, the last one counting, in the order of first appearance.
    private static func environment(_ entries: [String]) throws(Fault) -> [String] {
        var names: [Substring] = []
        var values: [Substring: String] = [:]
        for entry in entries {
            guard let equals = entry.firstIndex(of: "="), equals > entry.startIndex else {
                throw Fault(.imageInvalid, "the variable '\(shown(entry))' is not NAME=VALUE")
            }
            let name = entry[..<equals]
            if values.updateValue(entry, forKey: name) == nil { names.append(name) }
        }
        return names.compactMap { values[$0] }
    }

    private struct Document: Decodable {
        var architecture: String
        var os: String
        var config: Config?
        var rootfs: Root

        struct Root: Decodable {
            var diffIDs: [String]

            enum CodingKeys: String, CodingKey { case diffIDs = "diff_ids" }
        }

        struct Config: Decodable {
            var entrypoint: [String]?
            var command: [String]?
            var environment: [String]?
            var workingDirectory: String?
            var user: String?

            enum CodingKeys: String, CodingKey {
                case entrypoint = "Entrypoint"
                case command = "Cmd"
                case environment = "Env"
                case workingDirectory = "WorkingDir"
                case user = "User"
            }
        }
    }
}
