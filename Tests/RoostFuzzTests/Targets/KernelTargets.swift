import RoostModel

@testable import RoostImages

let kernelTargets = [
    FuzzTarget(name: "kernel-image", check: kernelImage),
    FuzzTarget(name: "kernel-modules", check: kernelModules),
]

/// A bzImage: its release is a safe directory name.
private func kernelImage(_ input: [UInt8]) throws {
    guard let image = try? KernelImage(input, name: "fuzz") else { return }
    try promise(
        KernelImage.isRelease(image.release) && !image.release.contains("/"),
        "release \(image.release)"
    )
}

/// Two modules cut from one input, and `modules.builtin`: every module is loaded once, and after
/// nothing twice.
private func kernelModules(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let cut = Int(steering.byte()) << 4
    let first = Array(steering.rest.prefix(cut))
    let second = Array(steering.rest.dropFirst(cut))
    var modules: [KernelModule] = []
    for (index, bytes) in [first, second].enumerated() {
        if let module = try? KernelModule(bytes, path: "kernel/m\(index).ko") {
            modules.append(module)
        }
    }
    let graph = KernelModuleGraph(
        modules,
        builtin: String(decoding: first.prefix(64), as: UTF8.self)
    )
    let order = graph.loadOrder(modules.flatMap { [$0.name] + $0.aliases }).map(\.name)
    try promise(Set(order).count == order.count, "loaded twice: \(order)")
    _ = try graph.dependencyText()
}
