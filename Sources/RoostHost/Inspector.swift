package import RoostModel

/// Looks at the host itself: what it can do, and what was left behind.
package protocol Inspector: Sendable {
    /// Every check, in a fixed order.
    func findings() async -> [Finding]
    /// What belongs to a VM that has neither directory nor trash, found without any database.
    func leaks() async throws(Fault) -> [Leak]
}

/// A catalogue that takes things in. Calls may take minutes, and hold nobody else up.
package protocol CatalogueEditor: Catalogue {
    /// Makes an image of what is at `path`, staged, verified and published by one rename.
    func importImage(
        _ name: String,
        from path: String,
        kind: ImportKind
    ) async throws(Fault)
        -> ImageEntry
    /// Fetches an image from its registry, unless it is here already, and gives it the name that
    /// was asked for. `progress` is told bytes received and bytes in all, from many threads.
    func pullImage(
        _ reference: String,
        plainHTTP: Bool,
        progress: @escaping @Sendable (_ done: UInt64, _ total: UInt64) -> Void
    ) async throws(Fault) -> ImageEntry
    /// Remembers who we are at a registry, after it has let us in.
    func logIn(
        _ registry: String,
        user: String,
        password: Secret,
        plainHTTP: Bool
    ) async throws(Fault)
    /// Forgets that; says whether there was anything to forget.
    func logOut(_ registry: String) async throws(Fault) -> Bool
    /// Makes a kernel of a distribution package or a kernel file.
    func importKernel(
        _ name: String,
        from path: String,
        modules: String?
    ) async throws(Fault)
        -> KernelEntry
    /// Removes one; refused with ``Reason/inUse`` while one of `inUse` (digests) needs it.
    func removeImage(_ reference: String, inUse: Set<String>) async throws(Fault) -> ImageEntry
    func removeKernel(_ reference: String, inUse: Set<String>) async throws(Fault) -> KernelEntry
    /// What an empty reference means from now on; `nil` leaves it as it is.
    func setDefault(image: String?, kernel: String?) async throws(Fault) -> CatalogueDefaults
    func defaults() async throws(Fault) -> CatalogueDefaults
}

/// What an image is made of.
package enum ImportKind: String, CaseIterable, Sendable, Codable {
    /// Decided by looking at the path.
    case detect
    case directory
    case tar
}

/// The digests that an empty reference means; empty where there is none.
package struct CatalogueDefaults: Hashable, Sendable, Codable {
    package var image: String
    package var kernel: String

    package init(image: String, kernel: String) {
        self.image = image
        self.kernel = kernel
    }
}
