import RoostModel

/// Everything that equal requests share.
struct Kind: Sendable {
    /// Without an explicit node.
    var request: PlacementRequest
    /// The groups that its labels belong to.
    var groups: [Int] = []
    var affinities: [AffinityTerm] = []
    var spreads: [SpreadTerm] = []
    /// The groups that its VMs keep away from their nodes.
    var repels: [Int] = []
    /// VMs of this kind, altogether and by slot.
    var residents = 0
    var nodes = SlotCounts()
    /// Where its class is cached, or −1.
    var cached = -1
    /// Whether this place is taken at all.
    var isLive = true

    init(request: PlacementRequest) { self.request = request }
}

/// One rule of ``PlacementRules/affinities``, with its group looked up.
struct AffinityTerm: Sendable {
    var rule: Int
    var group: Int
    var isTogether: Bool
    /// 0 where it is required.
    var weight: Int
    /// Whether the VM belongs to the group itself.
    var isSelf: Bool
}

/// One rule of ``PlacementRules/spreads``, with its counts looked up.
struct SpreadTerm: Sendable {
    var rule: Int
    var group: Int
    /// Where its ``SpreadCounts`` are.
    var counts: Int
    var maxSkew: Int
    /// 0 where it is required.
    var weight: Int
    /// Whether the VM itself will be counted.
    var isSelf: Bool
}

/// The VMs that some rule speaks of, counted where they are.
struct Group: Sendable {
    let matcher: VMGroup
    /// Kinds whose rules name it. None: it goes.
    var users = 0
    var total = 0
    /// Its VMs, by slot.
    var members = SlotCounts()
    /// VMs that keep it away, altogether and by slot.
    var repelTotal = 0
    var repelled = SlotCounts()
    /// The revision of its latest change.
    var version: UInt64
    /// Its ``SpreadCounts``.
    var spreads: [Int] = []
}

/// How many VMs of a group each value of a label has.
struct SpreadCounts: Sendable {
    /// −1 where this place is not taken.
    var group: Int
    let key: String
    /// The value's number of each slot, −1 without.
    let domains: [Int32]
    let names: [String]
    var counts: [Int32]

    init(group: Int, key: String, _ column: Column, _ members: SlotCounts) {
        self.group = group
        self.key = key
        domains = column.domains
        names = column.names
        counts = [Int32](repeating: 0, count: column.names.count)
        for slot in members.rising { add(members[slot], at: slot) }
    }

    mutating func add(_ delta: Int, at slot: Int) {
        let domain = Int(domains[slot])
        if domain >= 0 { counts[domain] += Int32(truncatingIfNeeded: delta) }
    }
}

extension Selector {
    /// A pair that every match must have, if the selector names one.
    var anchor: LabelPair? {
        for case .equals(let key, let value) in terms { return LabelPair(key: key, value: value) }
        return nil
    }
}

// MARK: Kinds

extension World {
    /// The number of `request`'s kind, made when it is new.
    mutating func intern(_ request: PlacementRequest) -> Int {
        if request.node == nil, let known = kindOf[request] { return known }
        var key = request
        key.node = nil
        if let known = kindOf[key] { return known }
        return makeKind(key)
    }

    private mutating func makeKind(_ request: PlacementRequest) -> Int {
        var kind = Kind(request: request)
        kind.groups = groupsWithoutLabel.filter { matches($0, request.labels) }
        for (key, value) in request.labels {
            let pair = LabelPair(key: key, value: value)
            kind.groups += (groupsByLabel[pair] ?? []).filter { matches($0, request.labels) }
        }
        let number: Int
        if let free = freeKinds.popLast() {
            number = free
        } else {
            number = kinds.count
            kinds.append(kind)
        }
        kinds[number] = kind
        kindOf[request] = number
        for (key, value) in request.labels {
            kindsByLabel[LabelPair(key: key, value: value), default: []].insert(number)
        }
        compile(number, request)
        return number
    }

    /// Looks up what its rules name. The kind is known by now, so that new groups find it.
    private mutating func compile(_ number: Int, _ request: PlacementRequest) {
        for (index, rule) in request.rules.affinities.enumerated() {
            let group = use(rule.group)
            let term = AffinityTerm(
                rule: index,
                group: group,
                isTogether: rule.kind == .together,
                weight: rule.strength.weight ?? 0,
                isSelf: rule.group.contains(nil, request.labels)
            )
            kinds[number].affinities.append(term)
            if rule.kind == .apart, rule.strength == .required {
                kinds[number].repels.append(group)
            }
        }
        for (index, rule) in request.rules.spreads.enumerated() {
            let group = use(.labels(rule.among))
            let term = SpreadTerm(
                rule: index,
                group: group,
                counts: spreadCounts(group, rule.over),
                maxSkew: rule.maxSkew,
                weight: rule.strength.weight ?? 0,
                isSelf: rule.among.matches(request.labels)
            )
            kinds[number].spreads.append(term)
        }
    }

    /// Forgets a kind that no VM and no cached class has.
    mutating func dropIfUnused(_ number: Int) {
        guard kinds[number].isLive, kinds[number].residents == 0, kinds[number].cached < 0 else {
            return
        }
        let kind = kinds[number]
        kinds[number] = Kind(request: PlacementRequest(cores: 0, memoryMiB: 0))
        kinds[number].isLive = false
        freeKinds.append(number)
        kindOf[kind.request] = nil
        for (key, value) in kind.request.labels {
            let pair = LabelPair(key: key, value: value)
            kindsByLabel[pair]?.remove(number)
            if kindsByLabel[pair]?.isEmpty == true { kindsByLabel[pair] = nil }
        }
        for term in kind.affinities { release(term.group) }
        for term in kind.spreads { release(term.group) }
    }
}

// MARK: Groups

extension World {
    private func matches(_ group: Int, _ labels: [String: String]) -> Bool {
        groups[group].matcher.contains(nil, labels)
    }

    /// The number of a group, made and counted when it is new; one user more.
    private mutating func use(_ matcher: VMGroup) -> Int {
        if let known = groupOf[matcher] {
            groups[known].users += 1
            return known
        }
        var group = Group(matcher: matcher, version: revision)
        group.users = 1
        let number: Int
        if let free = freeGroups.popLast() {
            number = free
        } else {
            number = groups.count
            groups.append(group)
        }
        switch matcher {
        case .vm(let id):
            if let record = residents[id] { group.members.add(1, at: record.slot) }
            group.total = residents[id] == nil ? 0 : 1
        case .labels(let selector):
            for kind in kindsFor(selector) {
                guard kinds[kind].isLive, selector.matches(kinds[kind].request.labels) else {
                    continue
                }
                kinds[kind].groups.append(number)
                group.members.add(kinds[kind].nodes)
                group.total += kinds[kind].residents
            }
            if let anchor = selector.anchor {
                groupsByLabel[anchor, default: []].append(number)
            } else {
                groupsWithoutLabel.append(number)
            }
        }
        groups[number] = group
        groupOf[matcher] = number
        return number
    }

    /// The kinds that may match, in no order: each gets the same whatever comes first.
    private func kindsFor(_ selector: Selector) -> [Int] {
        guard let anchor = selector.anchor else { return Array(kinds.indices) }
        return Array(kindsByLabel[anchor] ?? [])
    }

    private mutating func release(_ number: Int) {
        groups[number].users -= 1
        guard groups[number].users == 0 else { return }
        let group = groups[number]
        if case .labels(let selector) = group.matcher {
            for kind in kindsFor(selector) { kinds[kind].groups.removeAll { $0 == number } }
            if let anchor = selector.anchor {
                groupsByLabel[anchor]?.removeAll { $0 == number }
                if groupsByLabel[anchor]?.isEmpty == true { groupsByLabel[anchor] = nil }
            } else {
                groupsWithoutLabel.removeAll { $0 == number }
            }
        }
        for spread in group.spreads {
            spreads[spread].group = -1
            spreads[spread].counts = []
            freeSpreads.append(spread)
        }
        groupOf[group.matcher] = nil
        groups[number] = Group(matcher: group.matcher, version: 0)
        freeGroups.append(number)
    }

    private mutating func spreadCounts(_ group: Int, _ key: String) -> Int {
        let known = groups[group].spreads.first { spreads[$0].key == key }
        if let known { return known }
        let made = SpreadCounts(
            group: group,
            key: key,
            column(key),
            groups[group].members
        )
        let number: Int
        if let free = freeSpreads.popLast() {
            number = free
            spreads[number] = made
        } else {
            number = spreads.count
            spreads.append(made)
        }
        groups[group].spreads.append(number)
        return number
    }
}

// MARK: VMs

extension World {
    /// Puts a VM on a node, wherever it was before.
    mutating func add(_ vm: VMID, _ request: PlacementRequest, _ slot: Int, isRunning: Bool) {
        if residents[vm] != nil { _ = remove(vm) }
        let kind = intern(request)
        let record = Record(kind: kind, slot: slot, isRunning: isRunning)
        residents[vm] = record
        kinds[kind].residents += 1
        count(vm, record, 1)
    }

    /// Takes a VM away; `nil` when it is nowhere.
    mutating func remove(_ vm: VMID) -> Record? {
        guard let record = residents.removeValue(forKey: vm) else { return nil }
        kinds[record.kind].residents -= 1
        count(vm, record, -1)
        dropIfUnused(record.kind)
        return record
    }

    /// Counts a VM in or out, everywhere that it counts.
    private mutating func count(_ vm: VMID, _ record: Record, _ sign: Int) {
        // Never a copy of the kind here: its table would be copied with each change.
        let slot = record.slot
        let number = record.kind
        if record.isRunning {
            rooms[slot].free.cores -= sign * kinds[number].request.cores
            rooms[slot].free.memoryMiB -= sign * kinds[number].request.memoryMiB
        }
        rooms[slot].free.diskGiB -= sign * kinds[number].request.diskGiB
        kinds[number].nodes.add(sign, at: slot)
        for group in kinds[number].groups { count(group, slot, sign) }
        if let own = groupOf[.vm(vm)] { count(own, slot, sign) }
        for group in kinds[number].repels {
            groups[group].repelled.add(sign, at: slot)
            groups[group].repelTotal += sign
        }
        touch(slot)
    }

    private mutating func count(_ number: Int, _ slot: Int, _ sign: Int) {
        groups[number].members.add(sign, at: slot)
        groups[number].total += sign
        groups[number].version = revision
        for spread in groups[number].spreads { spreads[spread].add(sign, at: slot) }
    }
}
