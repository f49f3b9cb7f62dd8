package import RoostModel

/// Images and kernels that exist by name only.
package struct SimulatedCatalogue: Catalogue {
    private let imageEntries: [ImageEntry]
    private let kernelEntries: [KernelEntry]

    /// A catalogue of these; the first of each is the default.
    package init(images: [ImageEntry], kernels: [KernelEntry]) {
        imageEntries = images
        kernelEntries = kernels
    }

    /// One image, the default, and one kernel; and images of the names `more`.
    package static func small(and more: String...) -> SimulatedCatalogue {
        SimulatedCatalogue(
            images: (["debian-12"] + more).map { name in
                ImageEntry(
                    digest: digest(of: name),
                    names: [name],
                    size: .gibibytes(2),
                    createdAt: Timestamp(milliseconds: 0)
                )
            },
            kernels: [
                KernelEntry(
                    digest: digest(of: "linux-6.1"),
                    names: ["linux-6.1"],
                    release: "6.1.0-simulated",
                    memoryFloorMiB: 128
                )
            ]
        )
    }

    package func image(_ reference: String) async throws(Fault) -> ImageEntry {
        guard
            let found = Self.find(reference, imageEntries, digest: \.digest, names: \.names)
        else {
            throw Fault(
                .imageNotFound,
                "no image '\(shown(reference))'",
                metadata: ["image": shown(reference)]
            )
        }
        return found
    }

    package func kernel(_ reference: String) async throws(Fault) -> KernelEntry {
        guard
            let found = Self.find(reference, kernelEntries, digest: \.digest, names: \.names)
        else {
            throw Fault(
                .kernelNotFound,
                "no kernel '\(shown(reference))'",
                metadata: ["kernel": shown(reference)]
            )
        }
        return found
    }

    package func images() async throws(Fault) -> [ImageEntry] { imageEntries }
    package func kernels() async throws(Fault) -> [KernelEntry] { kernelEntries }

    private static func find<Entry>(
        _ reference: String,
        _ entries: [Entry],
        digest: (Entry) -> String,
        names: (Entry) -> [String]
    ) -> Entry? {
        if reference.isEmpty { return entries.first }
        return entries.first { names($0).contains(reference) || digest($0) == reference }
    }

    /// Something that looks like a digest and differs by name (FNV-1a, 64 bits, four times).
    private static func digest(of name: String) -> String {
        var text = "sha256:"
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for round in 0..<4 {
            for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
            hash = (hash ^ UInt64(round)) &* 0x100_0000_01b3
            let digits = String(hash, radix: 16)
            text += String(repeating: "0", count: 16 - digits.count) + digits
        }
        return text
    }
}
