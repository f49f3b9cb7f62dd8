import RoostHost
import RoostModel

/// The catalogue of a daemon that runs no VMs: images and kernels are on the nodes.
struct AbsentCatalogue: CatalogueEditor {
    func image(_ reference: String) async throws(Fault) -> ImageEntry { throw refusal }

    func kernel(_ reference: String) async throws(Fault) -> KernelEntry { throw refusal }

    func images() async throws(Fault) -> [ImageEntry] { throw refusal }

    func kernels() async throws(Fault) -> [KernelEntry] { throw refusal }

    func defaults() async throws(Fault) -> CatalogueDefaults { throw refusal }

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
        Fault(
            .unsupported,
            "a control plane has no images: they are on its nodes, where "
                + "ROOST_SOCKET=STATE_DIR/roost.sock roost image ls shows them"
        )
    }
}
