import Logging
import RoostControl
import RoostLink
import RoostModel
import RoostNode
import RoostOperations
import RoostRegistry

extension World {
    /// Tells the control side what each of several nodes of this daemon has, now and whenever that
    /// changes. A node of its own process says it with its beats.
    func followHoldings() async throws(Fault) {
        try await noteHoldings()
        let clock = surroundings.clock
        spawner.spawn {
            while !Task.isCancelled {
                do { try await clock.sleep(for: .seconds(3)) } catch { return }
                do throws(Fault) {
                    try await noteHoldings()
                } catch {
                    // What was said last stands; it is only wished for.
                    log.warning(
                        "cannot look at what nodes have",
                        metadata: ["fault": "\(error)"]
                    )
                }
            }
        }
    }

    private func noteHoldings() async throws(Fault) {
        for site in sites {
            nodes.note(site.link.node, holds: try await site.vms.holdings())
        }
    }
}

/// What nodes call the image that `reference` means, when it is one of a registry.
func fullImageName(_ reference: String) -> String? {
    guard let full = try? ImageReference(reference) else { return nil }
    return full.digest.map { full.pinned(to: $0) } ?? full.tagged
}
