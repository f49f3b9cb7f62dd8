import RoostLink
package import RoostModel
import RoostStore

/// What VMs and what they are made of take on the nodes.
extension FleetService {
    /// One node's answer, or why there is none.
    package struct Usage: Sendable {
        package var node: NodeID
        package var name: String
        package var usage: Result<NodeUsage, Fault>
        package var items: [UsageItem]
    }

    /// What is taken on one node, or on each of them (for an empty `reference`), by node.
    ///
    /// A node that does not answer is in the answer with its fault.
    /// - Throws: as ``NodeDirectory/find(_:field:)``, and what reading rows throws.
    package func usage(_ reference: String) async throws(Fault) -> [Usage] {
        let only = reference.isEmpty ? nil : try nodes.find(reference)
        let links = nodes.links.filter { only == nil || $0.node == only }
        let answers = await withTaskGroup(
            of: (NodeID, Result<NodeUsage, Fault>).self,
            returning: [NodeID: Result<NodeUsage, Fault>].self
        ) { group in
            for link in links {
                group.addTask {
                    do throws(Fault) {
                        return (link.node, .success(try await link.usage()))
                    } catch {
                        return (link.node, .failure(error))
                    }
                }
            }
            var answers: [NodeID: Result<NodeUsage, Fault>] = [:]
            for await (node, answer) in group { answers[node] = answer }
            return answers
        }
        // After the looking: what was made meanwhile has its name.
        let vms = try await allVMs()
        return answers.map { node, usage in
            Usage(
                node: node,
                name: nodes.name(node),
                usage: usage,
                items: (try? usage.get()).map { usageItems($0, vms) } ?? []
            )
        }
        .sorted { ($0.name, $0.node) < ($1.name, $1.node) }
    }

    /// Every VM and template of every project, also in the trash.
    private func allVMs() async throws(Fault) -> [VMID: VM] {
        var found: [VMID: VM] = [:]
        var after: String?
        while true {
            let rows = try await vms.parts.store.list(VM.self, Query(after: after, limit: 1000))
                .rows
            for row in rows { found[row.row.id] = row.row }
            guard rows.count == 1000, let last = rows.last else { return found }
            after = last.row.key
        }
    }
}
