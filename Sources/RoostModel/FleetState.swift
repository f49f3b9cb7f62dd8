/// VMs that shall be there, alike ones in groups: what a fleet file says.
package struct FleetState: Hashable, Sendable, Codable {
    /// A DNS label, unique in its project.
    package var name: String
    package var project: String
    package var groups: [FleetGroup]

    package init(name: String, project: String = "default", groups: [FleetGroup] = []) {
        self.name = name
        self.project = project
        self.groups = groups
    }

    /// Groups of one fleet.
    package static let groupLimit = 256
    /// VMs of one fleet.
    package static let memberLimit = 2000

    /// The VMs that shall be, in the order of groups and numbers.
    package var members: [(name: String, group: FleetGroup)] {
        groups.flatMap { group in group.memberNames.map { ($0, group) } }
    }

    /// Everything that is wrong with it, by the fields of the API. Empty means it can be published.
    package func violations() -> [FieldViolation] {
        var found: [FieldViolation] = []
        if let problem = nameProblem(name) { found.append(.init("state.name", problem)) }
        if let problem = nameProblem(project) { found.append(.init("state.project", problem)) }
        if groups.count > Self.groupLimit {
            let problem = "\(groups.count) groups; at most \(Self.groupLimit)"
            return found + [.init("state.groups", problem)]
        }
        var names: Set<String> = []
        var count = 0
        for (index, group) in groups.enumerated() {
            let field = "state.groups[\(index)]"
            found += group.violations(field)
            count += group.replicas ?? 1
            guard count <= Self.memberLimit else {
                let problem = "\(count) VMs and more; at most \(Self.memberLimit)"
                return found + [.init("state.groups", problem)]
            }
            if let twice = group.memberNames.first(where: { !names.insert($0).inserted }) {
                found.append(.init("\(field).name", "the VM '\(shown(twice))' is there twice"))
            }
        }
        return found
    }
}

/// VMs that are alike.
package struct FleetGroup: Hashable, Sendable, Codable {
    /// A DNS label. The VM's name where there are no replicas.
    package var name: String
    /// So many VMs, called `name-1`, `name-2`, …; `nil`: one, called as the group.
    package var replicas: Int?
    /// What each shall be. Its name and project are not looked at.
    package var draft: VMDraft
    /// Whether they run.
    package var runs: Bool

    package init(name: String, replicas: Int? = nil, draft: VMDraft, runs: Bool = true) {
        self.name = name
        self.replicas = replicas
        self.draft = draft
        self.runs = runs
    }

    /// What its VMs are called.
    package var memberNames: [String] {
        guard let replicas else { return [name] }
        return replicas > 0 ? (1...replicas).map { "\(name)-\($0)" } : []
    }

    fileprivate func violations(_ field: String) -> [FieldViolation] {
        var found: [FieldViolation] = []
        if let replicas, !(0...FleetState.memberLimit).contains(replicas) {
            let problem = "\(replicas) is outside 0 … \(FleetState.memberLimit)"
            return [.init("\(field).replicas", problem)]
        }
        if let problem = nameProblem(memberNames.last ?? name) {
            found.append(.init("\(field).name", problem))
        }
        if draft.disposable {
            found.append(.init("\(field).spec.disposable", "a fleet's VM stays until it is let go"))
        }
        var draft = draft
        (draft.name, draft.project) = ("member", "default")
        found += draft.violations().map { .init("\(field).\($0.field)", $0.problem) }
        return found
    }
}

/// Whose VM one is: it came to be by a fleet, and is what that says.
package struct FleetMember: Hashable, Sendable, Codable {
    package var fleet: String
    package var group: String
    /// As it was asked for when it was made: a name, tag or digest.
    package var image: String
    /// Likewise.
    package var kernel: String
    package var node: String
    package var placement: PlacementDraft

    /// The mark of a VM of `group`.
    package init(fleet: String, group: FleetGroup) {
        self.fleet = fleet
        self.group = group.name
        image = group.draft.image
        kernel = group.draft.kernel
        node = group.draft.node
        placement = group.draft.placement
    }
}
