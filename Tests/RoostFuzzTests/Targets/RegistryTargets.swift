import RoostModel
import RoostRegistry

let registryTargets = [FuzzTarget(name: "registry", check: registry)]

/// What a registry says, and what people call its images.
private func registry(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let kind = steering.byte()
    do throws(Fault) {
        switch kind % 4 {
        case 0: try reference(steering.text)
        case 1: try challenge(steering.text)
        case 2: try manifest(Array(steering.rest))
        default: try configuration(Array(steering.rest), layers: Int(kind / 4))
        }
    } catch {
        let known: Set<Reason> = [.imageInvalid, .unsupported, .limitExceeded, .invalidFields]
        try promise(known.contains(error.reason), "\(error.reason): \(error.message)")
        let isPlain = !error.message.unicodeScalars.contains { $0.value < 0x20 }
        try promise(isPlain, "an error with a control character")
    }
}

/// A name that is read is written and read the same, and leads nowhere but to its repository.
private func reference(_ text: String) throws(Fault) {
    let reference = try ImageReference(text)
    guard try ImageReference(reference.description) == reference else {
        throw Fault(.bug, "'\(text)' became '\(reference)'")
    }
    let steps = reference.repository.split(separator: "/", omittingEmptySubsequences: false)
    guard !steps.contains(where: { ["", ".", ".."].contains($0) }) else {
        throw Fault(.bug, "'\(text)' leads out of its repository: '\(reference)'")
    }
}

/// No more parameters than bytes, and each is a name in lower case.
private func challenge(_ text: String) throws(Fault) {
    let fields = text.split(separator: "\n").map(String.init)
    for challenge in Challenge.parse(fields) {
        let names = challenge.parameters.keys + [challenge.scheme]
        guard names.allSatisfy({ !$0.isEmpty && $0 == $0.lowercased() }) else {
            throw Fault(.bug, "a challenge \(challenge)")
        }
    }
}

private func manifest(_ bytes: [UInt8]) throws(Fault) {
    switch try ManifestDocument(bytes, contentType: ManifestDocument.accepted[1]) {
    case .index(let descriptor):
        guard descriptor.size <= UInt64(RegistryLimits.manifest) else {
            throw Fault(.bug, "a manifest of \(descriptor.size) bytes")
        }
    case .image(let manifest):
        guard manifest.layers.count <= RegistryLimits.layers,
            manifest.layers.allSatisfy({ $0.size <= RegistryLimits.layer }),
            manifest.configuration.size <= UInt64(RegistryLimits.configuration)
        else { throw Fault(.bug, "past the limits: \(manifest)") }
    }
}

private func configuration(_ bytes: [UInt8], layers: Int) throws(Fault) {
    let found = try PulledConfiguration(bytes, layers: layers)
    let texts = found.environment + found.command + found.entrypoint
    guard found.layerContents.count == layers, texts.allSatisfy({ !$0.utf8.contains(0) }),
        found.environment.allSatisfy({ $0.contains("=") })
    else { throw Fault(.bug, "\(found)") }
}
