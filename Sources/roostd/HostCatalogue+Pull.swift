import RoostHost
import RoostImages
import RoostLinux
import RoostModel
import RoostOperations
import RoostRegistry

extension HostCatalogue {
    func pullImage(
        _ reference: String,
        plainHTTP: Bool,
        progress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) async throws(Fault) -> ImageEntry {
        let reference = try ImageReference(reference)
        let image = try await puller.open(PullRequest(reference, isPlain: plainHTTP))
        do throws(Fault) {
            let pinned = reference.pinned(to: image.digest)
            let entry = try await pulls.withTurn(pinned) { () async throws(Fault) in
                try await self.pull(image, pinned, progress)
            }
            await image.close()
            return entry
        } catch {
            await image.close()
            throw error
        }
    }

    func logIn(
        _ registry: String,
        user: String,
        password: Secret,
        plainHTTP: Bool
    ) async throws(Fault) {
        let credential = Credential(user: user, password: password)
        let (puller, name) = (puller, try registryName(registry))
        try await logins.withTurn("logins") { () async throws(Fault) in
            try await puller.login(name, credential, isPlain: plainHTTP)
        }
    }

    func logOut(_ registry: String) async throws(Fault) -> Bool {
        let (puller, name) = (puller, try registryName(registry))
        return try await logins.withTurn("logins") { () async throws(Fault) in
            try await puller.logout(name)
        }
    }

    /// What a reference is called here: as it was typed, or in full where that was pulled.
    func known(_ reference: String, _ names: Names) -> String {
        guard !reference.isEmpty, names.images[reference] == nil,
            let full = try? ImageReference(reference)
        else { return reference }
        if let digest = full.digest {
            return names.origins?[full.pinned(to: digest)] ?? reference
        }
        return full.tagged.flatMap { names.images[$0] == nil ? nil : $0 } ?? reference
    }

    /// In the turn of this image: fetches it unless it is there, and names it.
    private func pull(
        _ image: OpenImage,
        _ pinned: String,
        _ progress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) async throws(Fault) -> ImageEntry {
        let images = images
        if let digest = try await names().origins?[pinned] {
            let found = try await onItsOwnThread { () throws(Fault) in try images.list() }
            if let entry = found.entries.first(where: { $0.digest == digest }) {
                return try await remember(image.reference, pinned, entry)
            }
        }
        let made = try await puller.fetch(image, progress: progress) {
            configuration,
            layers throws(Fault) in
            try images.importLayers(
                layers.map(imageLayer),
                size: diskSize(layers),
                configuration: imageConfiguration(configuration)
            )
        }
        return try await remember(image.reference, pinned, made)
    }

    private func remember(
        _ reference: ImageReference,
        _ pinned: String,
        _ made: CatalogueEntry<ImageManifest>
    ) async throws(Fault) -> ImageEntry {
        let (digest, now) = (made.digest, wall.now().milliseconds)
        let names = try await change { names in
            names.origins = names.origins ?? [:]
            names.origins?[pinned] = digest
            if reference.digest == nil, let tagged = reference.tagged {
                names.images[tagged] = digest
            }
            if names.created[digest] == nil { names.created[digest] = now }
            if names.defaultImage.isEmpty { names.defaultImage = digest }
        }
        return entry(made, names)
    }
}

/// A registry as it is remembered: `docker.io` for nothing, and for Docker's other name.
private func registryName(_ text: String) throws(Fault) -> String {
    if text.isEmpty || text == "index.docker.io" { return ImageReference.dockerHub }
    guard ImageReference.isHost(text) else {
        throw .invalid("registry", "'\(shown(text))' is no host[:port]")
    }
    return text
}

/// The disk that holds the layers unpacked: at least what every image has. Sparse, so that too much
/// costs nothing; the same layers always give the same.
private func diskSize(_ layers: [PulledLayer]) -> ByteCount {
    let gibibyte = ByteCount.gibibytes(1).bytes
    // A layer twice in the manifest is twice on the disk; text packs to a quarter.
    let unpacked = layers.reduce(UInt64(0)) { $0 + $1.size } * 4
    return max(HostCatalogue.rootDisk, .gibibytes((unpacked + gibibyte - 1) / gibibyte))
}

private func imageLayer(_ layer: PulledLayer) -> ImageLayer {
    let file = layer.file
    var offset: UInt64 = 0
    return ImageLayer(
        name: "layer \(layer.digest)",
        content: layer.content.hexadecimal,
        source: ByteSource { buffer throws(Fault) in
            let count = try file.read(into: buffer, at: offset)
            offset += UInt64(count)
            return count
        },
        confirm: { () throws(Fault) in try file.waitForEnd() }
    )
}

private func imageConfiguration(_ pulled: PulledConfiguration) -> ImageConfiguration {
    ImageConfiguration(
        entrypoint: pulled.entrypoint,
        command: pulled.command,
        environment: pulled.environment,
        workingDirectory: pulled.workingDirectory.isEmpty ? "/" : pulled.workingDirectory,
        user: pulled.user
    )
}

/// What a pulled image's maker says. A root file system that was imported says nothing.
func launch(_ configuration: ImageConfiguration) -> ImageLaunch {
    guard let entrypoint = configuration.entrypoint else { return ImageLaunch() }
    return ImageLaunch(
        entrypoint: entrypoint,
        command: configuration.command,
        environment: configuration.environment,
        workingDirectory: configuration.workingDirectory,
        user: configuration.user
    )
}
