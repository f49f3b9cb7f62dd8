import RoostControl
import RoostModel
import Testing

@Suite("What nodes hold")
struct UsageTests {
    @Test("comes under the names that people know, each VM before its checkpoints")
    func names() async throws {
        try await withDesk { desk in
            let box = try await desk.create("box").vm
            let web = try await desk.create("web").vm
            let (vm, other) = (UsageOwner(.vm, vm: box.id), UsageOwner(.vm, vm: web.id))
            let lost = UsageOwner(.vm, vm: VMID(bits: 1 << 100))
            let kept = UsageOwner(.checkpoint, vm: box.id, name: "\(CheckpointID(bits: 1 << 127))")
            let image = UsageOwner(.image, name: String(repeating: "a", count: 64))
            let usage = NodeUsage(
                rows: [
                    UsageRow(owner: vm, disk: UsageShare(bytes: 3, unique: 2), with: [other]),
                    UsageRow(owner: other, with: [vm, image], isElsewhere: true),
                    UsageRow(owner: lost), UsageRow(owner: kept, with: [vm]),
                    UsageRow(owner: image, label: "tiny"), UsageRow(owner: UsageOwner(.other)),
                ],
                trees: [UsageTree(vms: [box.id, web.id], disk: .init(), memory: .init())],
                disk: UsageShare(bytes: 9, unique: 8),
                memory: UsageShare(),
                diskFree: ByteCount(bytes: 0),
                memoryFree: ByteCount(bytes: 0)
            )
            let items = usageItems(usage, [box.id: box, web.id: web])
            #expect(
                items.map { "\($0.kind.rawValue) \($0.name)" } == [
                    "vm 000000100000", "vm box", "checkpoint box@80000000", "vm web", "tree box+1",
                    "image tiny", "other other", "total total",
                ]
            )
            #expect(items[1].sharedWith == ["web"] && items[1].disk.unique == 2)
            #expect(items[1].state == .stopped && items[1].project == "default")
            #expect(items[2].sharedWith == ["box"] && items[2].id == kept.name)
            #expect(items[3].sharedWith == ["box", "tiny", "elsewhere"])
            #expect(items[4].sharedWith == ["box", "web"])
            #expect(items.last?.disk == UsageShare(bytes: 9, unique: 8))
        }
    }

    @Test("is asked of every node, or of one")
    func nodes() async throws {
        try await withDesk(nodes: 2) { desk in
            try await desk.create("a", running: true)
            try await desk.create("b", running: true)
            let all = try await desk.fleet.usage("")
            #expect(all.map(\.name) == ["node1", "node2"])
            let vms = all.map { $0.items.filter { $0.kind == .vm }.map(\.name) }
            #expect(vms.flatMap(\.self).sorted() == ["a", "b"] && vms.allSatisfy { $0.count == 1 })
            #expect(try await desk.fleet.usage("node2").map(\.name) == ["node2"])
            let none = await fault { () async throws(Fault) in
                _ = try await desk.fleet.usage("node3")
            }
            #expect(none?.reason == .nodeNotFound)
        }
    }
}
