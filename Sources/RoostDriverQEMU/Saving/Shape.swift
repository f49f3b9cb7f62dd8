internal import RoostDriver
internal import RoostLinux
internal import RoostModel
internal import Synchronization

/// Options of QEMU that do not shape a machine: who it is and where its files lie.
private let shapeless: Set<String> = [
    "-name", "-uuid", "-append", "-incoming", "-kernel", "-initrd", "-chardev", "-trace",
    "-sandbox",
    "-mon", "-display", "-fw_cfg",
]
/// Likewise within the other options.
private let shapelessKeys: Set<String> = ["mem-path", "share", "filename", "mac", "hostfwd"]

/// What shapes the machine of a QEMU that has these arguments (without argv[0]). `vmm` is QEMU's
/// version, kernel and initramfs are digests of the files.
func machineShape(
    arguments: [String],
    vmm: String,
    kernel: String,
    initramfs: String
) -> MachineShape {
    var facts: [String: [String]] = [:]
    var rest = arguments[...]
    while let option = rest.popFirst() {
        guard option.hasPrefix("-"), let value = rest.first, !value.hasPrefix("-") else { continue }
        rest.removeFirst()
        guard !shapeless.contains(option) else { continue }
        facts[option, default: []].append(withoutPlaces(value))
    }
    var shape = facts.mapValues { $0.joined(separator: " ") }
    shape["vmm"] = vmm
    shape["kernel"] = kernel
    shape["initramfs"] = initramfs
    return MachineShape(shape)
}

/// An option's value without the parts that are paths, addresses or ports of the host.
private func withoutPlaces(_ value: String) -> String {
    // A comma inside a part is written twice.
    value.replacing(",,", with: "\u{0}").split(separator: ",").filter { part in
        !shapelessKeys.contains(String(part.prefix { $0 != "=" }))
    }.joined(separator: ",")
}

/// The value of `option` in QEMU's arguments.
func value(of option: String, in arguments: [String]) -> String? {
    guard let index = arguments.firstIndex(of: option), arguments.indices.contains(index + 1) else {
        return nil
    }
    return arguments[index + 1]
}

/// The version in `QEMU emulator version 7.2.22 (Debian …)`: what follows the word.
func versionText(_ line: String) -> String {
    line.split(separator: "version ", maxSplits: 1).last.map(String.init) ?? line
}

/// The same from QMP's `query-version`.
func versionText(_ answer: QMPValue) -> String {
    let numbers = ["major", "minor", "micro"].map { key in
        answer["qemu"]?[key]?.number.map(String.init) ?? "?"
    }
    let package = answer["package"]?.text ?? ""
    return numbers.joined(separator: ".") + (package.isEmpty ? "" : " (\(package))")
}
