import RoostHost
import RoostModel

/// The catalogue of a daemon whose VMs are simulated: what there is, and nothing comes in.
struct FixedCatalogue: CatalogueEditor {
    let base: any Catalogue

    func image(_ reference: String) async throws(Fault) -> ImageEntry {
        try await base.image(reference)
    }

    func kernel(_ reference: String) async throws(Fault) -> KernelEntry {
        try await base.kernel(reference)
    }

    func images() async throws(Fault) -> [ImageEntry] { try await base.images() }

    func kernels() async throws(Fault) -> [KernelEntry] { try await base.kernels() }

    func defaults() async throws(Fault) -> CatalogueDefaults {
        CatalogueDefaults(
            image: try await base.image("").digest,
            kernel: try await base.kernel("").digest
        )
    }

    func importImage(
        _ name: String,
        from path: String,
        kind: ImportKind
    ) async throws(Fault) -> ImageEntry { throw refusal }

    func pullImage(
        _ reference: String,
        plainHTTP: Bool,
        progress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) async throws(Fault) -> ImageEntry { throw refusal }

    func logIn(
        _ registry: String,
        user: String,
        password: Secret,
        plainHTTP: Bool
    ) async throws(Fault) { throw refusal }

    func logOut(_ registry: String) async throws(Fault) -> Bool { throw refusal }

    func importKernel(
        _ name: String,
        from path: String,
        modules: String?
    ) async throws(Fault) -> KernelEntry { throw refusal }

    func removeImage(_ reference: String, inUse: Set<String>) async throws(Fault) -> ImageEntry {
        throw refusal
    }

    func removeKernel(_ reference: String, inUse: Set<String>) async throws(Fault) -> KernelEntry {
        throw refusal
    }

    func setDefault(image: String?, kernel: String?) async throws(Fault) -> CatalogueDefaults {
        throw refusal
    }

    private var refusal: Fault {
        Fault(.unsupported, "the simulated driver has a fixed catalogue; use roostd --driver qemu")
    }
}
