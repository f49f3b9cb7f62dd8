import RoostModel
import RoostReconciler
import Testing

private func group(_ name: String, _ replicas: Int? = nil, runs: Bool = true) -> FleetGroup {
    var draft = VMDraft(name: "", cores: 1, memoryMiB: 512)
    draft.image = "debian"
    draft.labels = ["app": name]
    return FleetGroup(name: name, replicas: replicas, draft: draft, runs: runs)
}

private func state(_ groups: FleetGroup...) -> FleetState {
    FleetState(name: "shop", groups: groups)
}

/// The VM that `group` asks for, as it is when nothing is left to do.
private func member(_ name: String, _ group: FleetGroup, number: Int = 1) -> VM {
    let id = VMID(bits: UInt128(number))
    var vm = VM(
        id: id,
        name: name,
        project: "default",
        labels: group.draft.labels,
        annotations: group.draft.annotations,
        spec: VMSpec(cores: 1, memoryMiB: 512, image: "sha256:aa", kernel: "sha256:bb"),
        desired: .running,
        status: VMStatus(state: .running, reason: "runs", since: Timestamp(milliseconds: 0)),
        createdAt: Timestamp(milliseconds: 0),
        operation: OperationID(bits: 1)
    )
    vm.runningOp = nil
    vm.lastOp = OperationID(bits: 2)
    vm.member = FleetMember(fleet: "shop", group: group)
    return vm
}

private func changes(_ state: FleetState, _ present: [VM]) -> [String] {
    FleetPlan(state, present: present).steps.map { "\($0.name): \($0.change.words)" }
}

@Suite("The plan for a fleet")
struct FleetPlanTests {
    @Test("has nothing to do for what is as it shall be")
    func settled() {
        let web = group("web", 2)
        let plan = FleetPlan(
            state(web),
            present: [member("web-1", web), member("web-2", web, number: 2)]
        )
        #expect(plan.isSettled && plan.percent == 100 && plan.settled == 2 && plan.wanted == 2)
    }

    @Test("makes what is missing and removes what is no longer named")
    func counts() {
        let (web, old) = (group("web", 2), group("old"))
        let plan = FleetPlan(state(web), present: [member("web-2", web), member("old", old)])
        #expect(plan.steps.map(\.name) == ["old", "web-1"])
        #expect(plan.steps.map(\.change) == [.remove, .create])
        #expect(plan.percent == 50)
    }

    @Test("waits for a node that is drained, and says both ways on")
    func drained() {
        let web = group("web", 2)
        let node = NodeID(bits: 3)
        var (down, up) = (member("web-1", web), member("web-2", web, number: 2))
        down.status.state = .stopped
        down.status.node = node
        up.status.node = node
        let plan = FleetPlan(state(web), present: [down, up], drained: [node: "node3"])
        #expect(plan.steps.map(\.name) == ["web-1"])
        #expect(plan.steps[0].change.words.contains("roost node uncordon node3"))
        #expect(plan.steps[0].change.words.contains("roost rm web-1"))
        #expect(!plan.isSettled && plan.percent == 50)
        let other = FleetPlan(state(web), present: [down, up], drained: [NodeID(bits: 4): "node4"])
        #expect(other.steps.map(\.change) == [.start])
    }

    @Test(
        "says by what is different how a VM is changed",
        arguments: [
            ("labels", "update (labels)"), ("annotations", "update (annotations)"),
            ("restart", "update (spec.restart)"), ("cores", "restart (spec.cpu)"),
            ("memory", "restart (spec.memory)"), ("larger disk", "restart (spec.disk)"),
            ("smaller disk", "replace (spec.disk)"), ("ports", "restart (spec.ports)"),
            ("image", "replace (spec.image)"), ("kernel", "replace (spec.kernel)"),
            ("network", "replace (spec.network)"), ("node", "replace (node)"),
            ("placement", "replace (spec.placement)"), ("stopped", "stop"),
        ]
    )
    func differences(_ what: String, _ expected: String) {
        let before = group("web")
        var after = before
        switch what {
        case "labels": after.draft.labels["tier"] = "front"
        case "annotations": after.draft.annotations["note"] = "x"
        case "restart": after.draft.restart.mode = .always
        case "cores": after.draft.cores = 2
        case "memory": after.draft.memoryMiB = 1024
        case "larger disk": after.draft.rootDiskGiB = 8
        case "smaller disk": after.draft.rootDiskGiB = 2
        case "ports": after.draft.ports = [PublishedPort(hostPort: 0, guestPort: 80)]
        case "image": after.draft.image = "alpine"
        case "kernel": after.draft.kernel = "6.1"
        case "network": after.draft.network = .none
        case "node": after.draft.node = "node2"
        case "placement": after.draft.placement.excludedNodes = ["node2"]
        default: after.runs = false
        }
        #expect(changes(state(after), [member("web", before)]) == ["web: \(expected)"])
    }

    @Test("takes host port 0 for whichever was free")
    func anyPort() {
        var web = group("web")
        web.draft.ports = [
            PublishedPort(hostPort: 0, guestPort: 80), PublishedPort(hostPort: 81, guestPort: 80),
        ]
        var vm = member("web", web)
        vm.spec.ports = [
            PublishedPort(hostPort: 81, guestPort: 80),
            PublishedPort(hostPort: 20_000, guestPort: 80),
        ]
        #expect(changes(state(web), [vm]).isEmpty)
        vm.spec.ports[0].hostPort = 82
        #expect(changes(state(web), [vm]) == ["web: restart (spec.ports)"])
    }

    @Test("starts what stands, and leaves alone what it must not touch")
    func states() {
        let web = group("web")
        var vm = member("web", web)
        for state in [VMState.stopped, .paused, .suspended, .failed] {
            vm.status.state = state
            #expect(changes(RoostReconcilerTests.state(web), [vm]) == ["web: start"], "\(state)")
        }
        vm.status.state = .lost
        #expect(changes(state(web), [vm])[0].hasPrefix("web: blocked"))
        vm.status.state = .failed
        vm.lastOp = vm.createOp
        #expect(changes(state(web), [vm])[0].hasPrefix("web: replace"))
        vm = member("web", web)
        vm.member = nil
        #expect(changes(state(web), [vm])[0].contains("nobody's fleet"))
        vm.member = FleetMember(fleet: "other", group: web)
        #expect(changes(state(web), [vm])[0].contains("the fleet other"))
    }

    @Test("leaves a VM to its restart policy until that has given up")
    func policy() {
        var web = group("web")
        web.draft.restart = RestartPolicy(mode: .onFailure, maxRestarts: 3)
        var vm = member("web", web)
        vm.spec.restart = web.draft.restart
        vm.status.state = .failed
        vm.status.restarts = 3
        #expect(changes(state(web), [vm])[0].hasPrefix("web: blocked (its restart policy"))
    }

    @Test("differs in its fingerprint and says what is different")
    func fingerprints() {
        let web = group("web", 2)
        let before = FleetPlan(state(web), present: [])
        let after = FleetPlan(state(web), present: [member("web-1", web)])
        #expect(before.fingerprint != after.fingerprint)
        #expect(before.fingerprint == FleetPlan(state(web), present: []).fingerprint)
        #expect(after.difference(from: before) == ["web-1: create before, nothing now"])
        #expect(before.difference(from: nil) == ["web-1: create", "web-2: create"])
    }
}

@Suite("A fleet's state")
struct FleetStateTests {
    @Test("is refused with every violation by its field")
    func violations() {
        var (bad, many, twice) = (group("Web"), group("many", 2001), group("a"))
        bad.draft.memoryMiB = nil
        many.draft.disposable = true
        twice.replicas = nil
        var fields = FleetState(name: "Shop", groups: [bad, twice, twice]).violations().map(\.field)
        #expect(
            fields == [
                "state.name", "state.groups[0].name", "state.groups[0].spec.memory",
                "state.groups[2].name",
            ]
        )
        fields = state(many).violations().map(\.field)
        #expect(fields == ["state.groups[0].replicas", "state.groups"])
        let crowd = FleetState(name: "shop", groups: (1...257).map { group("g\($0)") })
        #expect(crowd.violations().map(\.field) == ["state.groups"])
        // web with two replicas, and a single VM of the second one's name.
        #expect(
            state(group("web", 2), group("web-2")).violations().map(\.field)
                == ["state.groups[1].name"]
        )
        #expect(state(group("web", 0)).violations().isEmpty)
    }
}
