import RoostModel
import Testing

@Suite("A VM's room on its node")
struct RoomTests {
    /// A control plane that came up counted a VM whose delete had not reached its node for nothing,
    /// and promised its room to another while it ran.
    @Test("is taken while its VMM runs, is about to, or may still run", arguments: VMState.allCases)
    func whileItMayRun(_ state: VMState) {
        let always: Set<VMState> = [.starting, .running, .stopping, .paused, .migrating]
        #expect(vm(state, .stopped, isHeld: false).holdsRoom == always.contains(state))
        #expect(vm(state, .running, isHeld: true).holdsRoom)
        let mayRun = always.contains(state) || state == .deleting
        #expect(vm(state, .stopped, isHeld: true).holdsRoom == mayRun)
        // What has ended unasked waits for its policy without holding anything.
        #expect(vm(state, .running, isHeld: false).holdsRoom == always.contains(state))
    }

    private func vm(_ state: VMState, _ desired: DesiredPower, isHeld: Bool) -> VM {
        let noon = Timestamp(milliseconds: 43_200_000)
        var vm = VM(
            id: VMID(bits: 1),
            name: "box",
            project: "default",
            labels: [:],
            annotations: [:],
            spec: VMSpec(cores: 1, memoryMiB: 512, image: "image", kernel: "kernel"),
            desired: desired,
            status: VMStatus(state: state, reason: "seen", since: noon, node: nil),
            createdAt: noon,
            operation: OperationID(bits: 1)
        )
        if !isHeld { vm.runningOp = nil }
        return vm
    }
}
