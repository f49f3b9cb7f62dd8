import RoostHost
import RoostModel
import Testing

@testable import RoostNode

@Suite("What is kept is counted so that")
struct UsageAccountTests {
    private static let box = VMID(bits: 1)
    private static let copy = VMID(bits: 2)
    private static let early = CheckpointID(bits: 10)
    private static let late = CheckpointID(bits: 11)

    private static let vm = UsageOwner(.vm, vm: box)
    private static let other = UsageOwner(.vm, vm: copy)

    private static func checkpoint(_ id: CheckpointID) -> UsageOwner {
        UsageOwner(.checkpoint, vm: box, name: "\(id)")
    }

    /// Files by their numbers: each with its bytes and its names.
    private static func account(
        _ files: [(bytes: UInt64, names: [String])],
        memory: [(bytes: UInt64, names: [String])] = [],
        hidden: Set<Int> = [],
        pointers: [String: String] = [:]
    ) -> NodeUsage {
        var found: [StoredFile] = []
        for (index, file) in (files + memory).enumerated() {
            for name in file.names {
                found.append(
                    StoredFile(
                        place: index < files.count ? .state : .memory,
                        path: name,
                        identity: StoredFile.Identity(device: 1, inode: UInt64(index)),
                        names: file.names.count + (hidden.contains(index) ? 1 : 0),
                        bytes: file.bytes,
                        memoryName: pointers[name]
                    )
                )
            }
        }
        return RoostNode.account(
            StoredFiles(
                files: found,
                diskFree: ByteCount(bytes: 7),
                memoryFree: ByteCount(bytes: 8)
            )
        )
    }

    private static func row(_ owner: UsageOwner, _ usage: NodeUsage) throws -> UsageRow {
        try #require(usage.rows.first { $0.owner == owner })
    }

    /// A VM with two checkpoints that share a layer, and a copy of it that has one of its layers.
    private static let tree: [(bytes: UInt64, names: [String])] = [
        (1, ["vms/\(box)/root.qcow2"]),
        (
            10,
            [
                "vms/\(box)/root.1.qcow2", "vms/\(box)/checkpoints/\(early)/root.1.qcow2",
                "vms/\(box)/checkpoints/\(early)/root.qcow2",
                "vms/\(box)/checkpoints/\(late)/root.1.qcow2",
            ]
        ),
        (100, ["vms/\(box)/checkpoints/\(early)/memory.img"]),
        (1_000, ["vms/\(box)/checkpoints/\(late)/root.2.qcow2", "vms/\(copy)/root.2.qcow2"]),
        (10_000, ["vms/\(copy)/root.qcow2"]),
    ]

    @Test("what goes with a VM or a checkpoint is its own, and the rest names who has it too")
    func shares() throws {
        let usage = Self.account(Self.tree)
        let vm = try Self.row(Self.vm, usage)
        #expect(vm.disk == UsageShare(bytes: 1_111, unique: 111) && vm.disk.shared == 1_000)
        #expect(vm.with == [Self.other])
        let early = try Self.row(Self.checkpoint(Self.early), usage)
        #expect(early.disk == UsageShare(bytes: 110, unique: 100))
        #expect(early.with == [Self.vm, Self.checkpoint(Self.late)])
        let late = try Self.row(Self.checkpoint(Self.late), usage)
        #expect(late.disk == UsageShare(bytes: 1_010, unique: 0))
        #expect(late.with == [Self.vm, Self.checkpoint(Self.early), Self.other])
        let copy = try Self.row(Self.other, usage)
        #expect(copy.disk == UsageShare(bytes: 11_000, unique: 10_000))
        #expect(copy.with == [Self.vm])
    }

    @Test("each byte is in the whole once, and the parts add up to it")
    func sums() {
        let usage = Self.account(Self.tree + [(5, ["roost.db"]), (6, ["images/ab/root.ext4"])])
        #expect(usage.disk == UsageShare(bytes: 11_122, unique: 10_122))
        let parts = usage.rows.filter { $0.owner.kind != .checkpoint }
        #expect(parts.reduce(0) { $0 + $1.disk.unique } == usage.disk.unique)
        #expect(usage.diskFree.bytes == 7 && usage.memoryFree.bytes == 8)
    }

    @Test("VMs with files in common are a tree, also by way of a third")
    func trees() {
        let third = VMID(bits: 3)
        let alone = VMID(bits: 4)
        let usage = Self.account(
            Self.tree + [
                (100_000, ["vms/\(third)/root.qcow2"]),
                (1_000_000, ["vms/\(third)/root.5.qcow2", "trash/\(Self.copy)/root.5.qcow2"]),
                (1, ["vms/\(alone)/root.qcow2"]),
            ]
        )
        #expect(
            usage.trees == [
                UsageTree(
                    vms: [Self.box, Self.copy, third],
                    disk: UsageShare(bytes: 1_111_111, unique: 1_111_111),
                    memory: UsageShare()
                )
            ]
        )
    }

    @Test("what VMs have of an image's prepared template makes them no tree")
    func prepared() throws {
        let usage = Self.account(
            [
                (
                    10,
                    [
                        "templates/t/memory.img", "vms/\(Self.box)/memory.base",
                        "vms/\(Self.copy)/memory.base",
                    ]
                )
            ]
        )
        #expect(usage.trees.isEmpty)
        let template = try Self.row(UsageOwner(.prepared, name: "t"), usage)
        #expect(template.disk == UsageShare(bytes: 10, unique: 0))
        #expect(template.with == [Self.vm, Self.other])
    }

    @Test("memory files are their VM's, or whose folder points to them")
    func memory() throws {
        let fork = OperationID(bits: 9)
        let usage = Self.account(
            [(1, ["forks/\(fork)/memory.path"])],
            memory: [
                (10, ["roost-\(Self.box).mem"]),
                (100, ["roost-\(Self.copy).base", "saved-x.mem"]),
                (1_000, ["saved-y.mem"]),
            ],
            pointers: ["forks/\(fork)/memory.path": "saved-x.mem"]
        )
        let (owner, rest) = (UsageOwner(.fork, name: "\(fork)"), UsageOwner(.other))
        #expect(try Self.row(Self.vm, usage).memory == UsageShare(bytes: 10, unique: 10))
        #expect(try Self.row(owner, usage).memory == UsageShare(bytes: 100, unique: 0))
        #expect(try Self.row(owner, usage).disk == UsageShare(bytes: 1, unique: 1))
        #expect(try Self.row(Self.other, usage).with == [owner])
        #expect(try Self.row(rest, usage).memory == UsageShare(bytes: 1_000, unique: 1_000))
        #expect(usage.memory == UsageShare(bytes: 1_110, unique: 1_010))
    }

    @Test("what has a name elsewhere is nobody's own: it would stay")
    func elsewhere() throws {
        let usage = Self.account([(10, ["vms/\(Self.box)/root.qcow2"])], hidden: [0])
        let row = try Self.row(Self.vm, usage)
        #expect(row.disk == UsageShare(bytes: 10, unique: 0) && row.isElsewhere)
        #expect(row.with.isEmpty)
    }

    @Test(
        "every path has an owner",
        arguments: [
            ("vms/.new-\(VMID(bits: 1))/root.qcow2", UsageOwner(.vm, vm: VMID(bits: 1))),
            ("trash/.gone-\(VMID(bits: 1))", UsageOwner(.vm, vm: VMID(bits: 1))),
            ("trash/\(VMID(bits: 1))/saved/memory.img", UsageOwner(.vm, vm: VMID(bits: 1))),
            ("vms/\(VMID(bits: 1))/checkpoints", UsageOwner(.vm, vm: VMID(bits: 1))),
            ("vms/\(VMID(bits: 1))/checkpoints/x/y", UsageOwner(.vm, vm: VMID(bits: 1))),
            ("vms/strange", UsageOwner(.other)), ("vms", UsageOwner(.other)),
            ("", UsageOwner(.other)), ("kernels/cd/vmlinuz", UsageOwner(.kernel, name: "cd")),
            ("fleet/key.pem", UsageOwner(.other)),
        ]
    )
    func owners(path: String, owner: UsageOwner) {
        #expect(Self.account([(1, [path])]).rows.map(\.owner) == [owner])
    }
}
