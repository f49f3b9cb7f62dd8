package import RoostModel
internal import SwiftProtobuf

extension PlacementDraft {
    /// The rules as they came in.
    ///
    /// - Throws: one violation for each kind or effect that there is not.
    package init(
        _ placement: Roost_Fleet_V1_Placement,
        field: String = "spec.placement"
    ) throws(Fault) {
        self.init()
        requiredNodes = placement.requiredNodes
        excludedNodes = placement.excludedNodes
        preferredNodes = placement.preferredNodes.map { NodeWish($0.node, weight: Int($0.weight)) }
        requiredLabels = placement.requiredLabels
        for (index, toleration) in placement.tolerations.enumerated() {
            let path = "\(field).tolerations[\(index)].effect"
            tolerations.append(
                Toleration(
                    key: toleration.key.isEmpty ? nil : toleration.key,
                    value: toleration.hasValue ? toleration.value : nil,
                    effect: try Taint.Effect.named(toleration.effect, field: path)
                )
            )
        }
        for (index, affinity) in placement.affinities.enumerated() {
            let kind: AffinityRule.Kind
            switch affinity.kind {
            case .together: kind = .together
            case .apart: kind = .apart
            case .unspecified, .UNRECOGNIZED:
                let path = "\(field).affinities[\(index)].kind"
                throw .invalid(path, "is required: TOGETHER or APART")
            }
            affinities.append(
                AffinityWish(
                    kind,
                    vm: affinity.vm,
                    selector: affinity.selector,
                    weight: Int(affinity.weight)
                )
            )
        }
        spreads = placement.spreads.map { spread in
            SpreadWish(
                over: spread.over,
                selector: spread.selector,
                maxSkew: Int(spread.maxSkew),
                weight: Int(spread.weight)
            )
        }
    }
}

extension Taint.Effect {
    /// The effect that a request names; `nil` when it names none.
    package static func named(
        _ effect: Roost_Fleet_V1_Taint.Effect,
        field: String
    ) throws(Fault) -> Taint.Effect? {
        switch effect {
        case .unspecified: nil
        case .noSchedule: .noSchedule
        case .preferNoSchedule: .preferNoSchedule
        case .UNRECOGNIZED(let number): throw .invalid(field, "\(number) is no effect")
        }
    }
}

extension Roost_Fleet_V1_Taint.Effect {
    /// The same effect.
    package init(_ effect: Taint.Effect) {
        switch effect {
        case .noSchedule: self = .noSchedule
        case .preferNoSchedule: self = .preferNoSchedule
        }
    }
}

extension Roost_Fleet_V1_Placement {
    /// `rules` as the API shows them: nodes and VMs by id.
    package init(_ rules: PlacementRules) {
        self.init()
        requiredNodes = rules.requiredNodes.map(\.description)
        excludedNodes = rules.excludedNodes.map(\.description)
        preferredNodes = rules.preferredNodes.map { wish in
            .with {
                $0.node = wish.node.description
                $0.weight = Int32(clamping: wish.weight)
            }
        }
        requiredLabels = rules.requiredLabels.text
        tolerations = rules.tolerations.map { toleration in
            .with {
                $0.key = toleration.key ?? ""
                if let value = toleration.value { $0.value = value }
                if let effect = toleration.effect { $0.effect = .init(effect) }
            }
        }
        affinities = rules.affinities.map { rule in
            .with {
                $0.kind = rule.kind == .together ? .together : .apart
                switch rule.group {
                case .vm(let id): $0.vm = id.description
                case .labels(let selector): $0.selector = selector.text
                }
                $0.weight = Int32(clamping: rule.strength.weight ?? 0)
            }
        }
        spreads = rules.spreads.map { rule in
            .with {
                $0.over = rule.over
                $0.selector = rule.among.text
                $0.maxSkew = Int32(clamping: rule.maxSkew)
                $0.weight = Int32(clamping: rule.strength.weight ?? 0)
            }
        }
    }
}
