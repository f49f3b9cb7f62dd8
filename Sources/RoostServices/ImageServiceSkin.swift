package import GRPCCore
package import RoostAPI
package import RoostControl
package import RoostHost
package import RoostModel
import RoostStore
import SwiftProtobuf

/// `roost.image.v1.ImageService` over the node's catalogue.
package struct ImageServiceSkin: Roost_Image_V1_ImageService.SimpleServiceProtocol {
    private let catalogue: any CatalogueEditor
    private let specs: @Sendable () async throws(Fault) -> [VMSpec]

    /// `specs` are those of every VM whose image and kernel must stay, also of ones in the trash.
    package init(
        _ catalogue: any CatalogueEditor,
        specs: @escaping @Sendable () async throws(Fault) -> [VMSpec]
    ) {
        self.catalogue = catalogue
        self.specs = specs
    }

    /// Of a daemon that has the VMs' rows.
    package init(_ catalogue: any CatalogueEditor, _ vms: VMService) {
        self.init(catalogue) { () async throws(Fault) in
            var found: [VMSpec] = []
            var token: PageToken?
            repeat {
                let page = try await vms.list(VMFilter(showsTrash: true), size: 1000, token: token)
                found += page.vms.map(\.row.spec)
                token = page.next
            } while token != nil
            return found
        }
    }

    package func listImages(
        request: Roost_Image_V1_ListImagesRequest,
        context: ServerContext
    ) async throws -> Roost_Image_V1_ListImagesResponse {
        let defaults = try await catalogue.defaults()
        let images = try await catalogue.images()
        return .with { $0.images = images.map { message($0, defaults) } }
    }

    package func getImage(
        request: Roost_Image_V1_GetImageRequest,
        context: ServerContext
    ) async throws -> Roost_Image_V1_Image {
        message(try await catalogue.image(request.reference), try await catalogue.defaults())
    }

    package func importImage(
        request: Roost_Image_V1_ImportImageRequest,
        context: ServerContext
    ) async throws -> Roost_Image_V1_Image {
        try check(name: request.name, path: request.path)
        audit(.image, request.name, detail: request.path)
        let kind: ImportKind
        switch request.source {
        case .unspecified: kind = .detect
        case .directory: kind = .directory
        case .tar: kind = .tar
        case .oci, .disk:
            throw Fault(
                .unsupported,
                "importing \(request.source) is not built yet; use a tar or a directory"
            )
        case .UNRECOGNIZED(let number): throw Fault.invalid("source", "\(number) is no source")
        }
        let entry = try await catalogue.importImage(request.name, from: request.path, kind: kind)
        if request.setDefault {
            _ = try await catalogue.setDefault(image: entry.digest, kernel: nil)
        }
        return message(entry, try await catalogue.defaults())
    }

    package func pullImage(
        request: Roost_Image_V1_PullImageRequest,
        response: RPCWriter<Roost_Image_V1_PullImageResponse>,
        context: ServerContext
    ) async throws {
        audit(.image, shown(request.reference))
        let catalogue = catalogue
        // Only the newest matters: a client that reads slowly holds nothing up.
        let (reports, reporter) = AsyncStream.makeStream(
            of: Roost_Image_V1_PullImageResponse.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let entry = try await withThrowingTaskGroup(of: ImageEntry?.self) { group in
            group.addTask {
                defer { reporter.finish() }
                return try await catalogue.pullImage(
                    request.reference,
                    plainHTTP: request.plainHTTP
                ) { done, total in
                    reporter.yield(
                        .with {
                            $0.doneBytes = Int64(clamping: done)
                            $0.totalBytes = Int64(clamping: total)
                        }
                    )
                }
            }
            group.addTask {
                for await report in reports { try await response.write(report) }
                return nil
            }
            defer { group.cancelAll() }
            var pulled: ImageEntry?
            while let finished = try await group.next() { pulled = finished ?? pulled }
            return pulled
        }
        guard let entry else { throw Fault(.bug, "a pull without an image") }
        let defaults = try await catalogue.defaults()
        try await response.write(.with { $0.image = message(entry, defaults) })
    }

    package func logIn(
        request: Roost_Image_V1_LogInRequest,
        context: ServerContext
    ) async throws -> Roost_Image_V1_LogInResponse {
        let registry = request.registry.isEmpty ? "docker.io" : request.registry
        audit(.registry, shown(registry))
        for (field, text) in [("user", request.user), ("password", request.password)] {
            guard !text.isEmpty else { throw Fault.invalid(field, "is empty") }
            let isFine = text.utf8.count <= 16 << 10 && text.utf8.allSatisfy { $0 >= 0x20 }
            guard isFine else {
                throw Fault.invalid(field, "is over 16 KiB or has control characters")
            }
        }
        guard !request.user.contains(":") else { throw Fault.invalid("user", "has a colon") }
        try await catalogue.logIn(
            registry,
            user: request.user,
            password: Secret(request.password),
            plainHTTP: request.plainHTTP
        )
        return .with { $0.registry = registry }
    }

    package func logOut(
        request: Roost_Image_V1_LogOutRequest,
        context: ServerContext
    ) async throws -> Roost_Image_V1_LogOutResponse {
        let registry = request.registry.isEmpty ? "docker.io" : request.registry
        audit(.registry, shown(registry))
        let changed = try await catalogue.logOut(registry)
        return .with { $0.changed = changed }
    }

    package func deleteImage(
        request: Roost_Image_V1_DeleteImageRequest,
        context: ServerContext
    ) async throws -> Roost_Image_V1_DeleteImageResponse {
        audit(.image, shown(request.reference))
        let inUse = try await digests { $0.image }
        let entry = try await catalogue.removeImage(request.reference, inUse: inUse)
        let defaults = try await catalogue.defaults()
        return .with { $0.image = message(entry, defaults) }
    }

    package func listKernels(
        request: Roost_Image_V1_ListKernelsRequest,
        context: ServerContext
    ) async throws -> Roost_Image_V1_ListKernelsResponse {
        let defaults = try await catalogue.defaults()
        let kernels = try await catalogue.kernels()
        return .with { $0.kernels = kernels.map { message($0, defaults) } }
    }

    package func importKernel(
        request: Roost_Image_V1_ImportKernelRequest,
        context: ServerContext
    ) async throws -> Roost_Image_V1_Kernel {
        try check(name: request.name, path: request.path)
        audit(.kernel, request.name, detail: request.path)
        let modules = request.modulesPath.isEmpty ? nil : request.modulesPath
        let entry = try await catalogue.importKernel(
            request.name,
            from: request.path,
            modules: modules
        )
        if request.setDefault {
            _ = try await catalogue.setDefault(image: nil, kernel: entry.digest)
        }
        return message(entry, try await catalogue.defaults())
    }

    package func deleteKernel(
        request: Roost_Image_V1_DeleteKernelRequest,
        context: ServerContext
    ) async throws -> Roost_Image_V1_DeleteKernelResponse {
        audit(.kernel, shown(request.reference))
        let inUse = try await digests { $0.kernel }
        let entry = try await catalogue.removeKernel(request.reference, inUse: inUse)
        let defaults = try await catalogue.defaults()
        return .with { $0.kernel = message(entry, defaults) }
    }

    package func setDefault(
        request: Roost_Image_V1_SetDefaultRequest,
        context: ServerContext
    ) async throws -> Roost_Image_V1_SetDefaultResponse {
        let now: CatalogueDefaults
        switch request.subject {
        case .image(let reference):
            audit(.image, shown(reference))
            let entry = try await catalogue.image(reference)
            now = try await catalogue.setDefault(image: entry.digest, kernel: nil)
        case .kernel(let reference):
            audit(.kernel, shown(reference))
            let entry = try await catalogue.kernel(reference)
            now = try await catalogue.setDefault(image: nil, kernel: entry.digest)
        case nil: throw Fault.invalid("subject", "name an image or a kernel")
        }
        return .with {
            $0.image = now.image
            $0.kernel = now.kernel
        }
    }

    private func check(name: String, path: String) throws(Fault) {
        if name.isEmpty { throw .invalid("name", "is empty") }
        if let problem = referenceProblem(name) { throw .invalid("name", problem) }
        guard path.utf8.first == 47, path.utf8.count <= 4096 else {
            throw .invalid("path", "'\(shown(path))' is not an absolute path under 4096 bytes")
        }
    }

    /// The digests that some VM needs, also one in the trash.
    private func digests(_ part: (VMSpec) -> String) async throws(Fault) -> Set<String> {
        Set(try await specs().map(part))
    }

    private func message(
        _ entry: ImageEntry,
        _ defaults: CatalogueDefaults
    ) -> Roost_Image_V1_Image {
        .with {
            $0.digest = entry.digest
            $0.names = entry.names
            $0.sizeBytes = Int64(clamping: entry.size.bytes)
            $0.createTime = .init(entry.createdAt)
            $0.isDefault = entry.digest == defaults.image
            $0.origins = entry.origins
        }
    }

    private func message(
        _ entry: KernelEntry,
        _ defaults: CatalogueDefaults
    ) -> Roost_Image_V1_Kernel {
        .with {
            $0.digest = entry.digest
            $0.names = entry.names
            $0.release = entry.release
            $0.memoryFloorMib = Int64(entry.memoryFloorMiB)
            $0.isDefault = entry.digest == defaults.kernel
        }
    }
}
