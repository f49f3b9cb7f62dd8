/// What a prepared machine of an image was made for, as its name says it: `IMAGE-KERNEL-c1-m512-d4-user`.
///
/// The node that makes it and the control plane that looks for it read the same name. What the
/// driver and the host add to the shape (QEMU, CPU, agent) is compared when it is used.
package struct TemplateShape: Hashable, Sendable {
    /// The first 16 digits of the image's digest.
    package var image: String
    /// The first 16 digits of the kernel's digest.
    package var kernel: String
    package var cores: Int
    package var memoryMiB: Int
    package var rootDiskGiB: Int
    package var network: NetworkMode

    /// The shape of VMs like `spec`.
    package init(_ spec: VMSpec) {
        image = Self.digits(spec.image)
        kernel = Self.digits(spec.kernel)
        cores = spec.cores
        memoryMiB = spec.memoryMiB
        rootDiskGiB = spec.rootDiskGiB
        network = spec.network
    }

    /// The shape that `name` says; `nil` for anything else.
    package init?(name: String) {
        let parts = name.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 6,
            let cores = Self.number(parts[2], "c"), let memory = Self.number(parts[3], "m"),
            let disk = Self.number(parts[4], "d"),
            let network = NetworkMode(rawValue: String(parts[5]))
        else { return nil }
        image = String(parts[0])
        kernel = String(parts[1])
        self.cores = cores
        memoryMiB = memory
        rootDiskGiB = disk
        self.network = network
        guard self.name == name else { return nil }
    }

    /// A file name, which says all of it.
    package var name: String {
        "\(image)-\(kernel)-c\(cores)-m\(memoryMiB)-d\(rootDiskGiB)-\(network.rawValue)"
    }

    /// As much of a digest as a name says.
    package static func digits(_ digest: String) -> String {
        String(digest.split(separator: ":").last?.prefix(16) ?? "")
    }

    private static func number(_ text: Substring, _ letter: Character) -> Int? {
        text.first == letter ? Int(text.dropFirst()) : nil
    }
}
