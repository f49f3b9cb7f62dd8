import RoostModel
import RoostScheduler

/// Which images and prepared machines there are in the fleet, by what requests call them, and how
/// many nodes have each. A value: kept up to date node by node, in O(what the node has).
struct HoldingsIndex: Sendable {
    /// By name: the digests that nodes mean by it, with how many do.
    private var names: [String: [String: Int]] = [:]
    private var digests: [String: Int] = [:]
    /// What a request without an image means on nodes.
    private var defaults: [String: Int] = [:]
    /// By the first digits of the image's digest.
    private var templates: [String: [TemplateShape: Int]] = [:]

    /// How much it is wished that an image is there: as much as may be. A node without it cannot
    /// make the VM, and says so only when it is asked.
    static let imageWeight = 100
    /// That a prepared machine is there saves a boot: worth a fifth of a node's room.
    static let templateWeight = 20
    /// At most so many wishes about images, and as many about prepared machines.
    private static let most = PlacementLimits.localities / 2

    mutating func add(_ holdings: NodeHoldings) { count(holdings, 1) }

    mutating func remove(_ holdings: NodeHoldings) { count(holdings, -1) }

    private mutating func count(_ holdings: NodeHoldings, _ change: Int) {
        for image in holdings.images {
            digests.count(image.digest, change)
            if image.isDefault { defaults.count(image.digest, change) }
            for name in Set(image.names) {
                names[name, default: [:]].count(image.digest, change)
                if names[name]?.isEmpty == true { names[name] = nil }
            }
        }
        for template in Set(holdings.templates) {
            guard let shape = TemplateShape(name: template) else { continue }
            templates[shape.image, default: [:]].count(shape, change)
            if templates[shape.image]?.isEmpty == true { templates[shape.image] = nil }
        }
    }

    /// What a VM like `draft` had better find on its node. `fullName` says what a reference is called
    /// in full, as nodes have it; `nil` for what is none.
    ///
    /// Wishes only: what a node last said may be old, and whether it has an image it says when it is
    /// asked.
    func wishes(for draft: VMDraft, fullName: (String) -> String?) -> [LocalityRule] {
        let keys = images(draft.image, fullName)
        var rules = keys.map {
            LocalityRule(Artifact(.image, $0), .preferred(weight: Self.imageWeight))
        }
        guard draft.disposable, !draft.coldBoot, draft.template.isEmpty else { return rules }
        let meant = Set(keys.flatMap { names[$0].map { Array($0.keys) } ?? [$0] })
        var shapes: [TemplateShape: Int] = [:]
        for image in Set(meant.map(TemplateShape.digits)) {
            for (shape, nodes) in templates[image] ?? [:] where shape.serves(draft) {
                shapes[shape] = nodes
            }
        }
        rules += shapes.sorted { ($1.value, $0.key.name) < ($0.value, $1.key.name) }
            .prefix(Self.most).map {
                let artifact = Artifact(.template, $0.key.name)
                return LocalityRule(artifact, .preferred(weight: Self.templateWeight))
            }
        return rules
    }

    /// What nodes that can resolve `reference` have, as a catalogue reads it: a name, a digest, the
    /// beginning of one, or nothing for the default.
    private func images(_ reference: String, _ fullName: (String) -> String?) -> [String] {
        if reference.isEmpty { return Self.commonest(defaults) }
        if names[reference] != nil || digests[reference] != nil { return [reference] }
        if let full = fullName(reference), names[full] != nil { return [full] }
        let wanted = reference.hasPrefix("sha256:") ? reference : "sha256:\(reference)"
        guard wanted.utf8.count >= 13 else { return [] }
        return Self.commonest(digests.filter { $0.key.hasPrefix(wanted) })
    }

    private static func commonest(_ counts: [String: Int]) -> [String] {
        counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(most).map(\.key)
    }
}

extension Dictionary where Value == Int {
    /// Counts on by `change`; what is at 0 is not there.
    fileprivate mutating func count(_ key: Key, _ change: Int) {
        let sum = (self[key] ?? 0) + change
        self[key] = sum == 0 ? nil : sum
    }
}

extension TemplateShape {
    /// Whether a VM like `draft` could be a copy of such a machine, as far as the draft says. A kernel
    /// by name is not looked at: a wrong guess costs a boot.
    fileprivate func serves(_ draft: VMDraft) -> Bool {
        cores == draft.cores && memoryMiB == draft.memoryMiB && network == draft.network
            && (draft.rootDiskGiB ?? rootDiskGiB) == rootDiskGiB
            && (!draft.kernel.hasPrefix("sha256:") || Self.digits(draft.kernel) == kernel)
    }
}
