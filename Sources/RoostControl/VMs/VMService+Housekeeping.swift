import Logging
import RoostModel
import RoostOperations
import RoostStore

extension VMService {
    /// How many commits a watch may be behind: what came before them is forgotten.
    package static let keptRevisions: Int64 = 1_000_000

    /// Forgets what need not be kept: the trash that is due, operations past their retention, changes
    /// that no watch may ask for any more. To be called every hour or so; may be called twice.
    ///
    /// What fails is logged, holds up nothing else, and is tried again the next time.
    package func keepHouse(keeping revisions: Int64 = keptRevisions) async {
        await keep("the trash") { () async throws(Fault) in
            while try await self.purgeExpired() > 0 {}
        }
        await keep("the operations") { () async throws(Fault) in
            while try await self.ledger.prune() > 0 {}
        }
        await keep("the log of changes") { () async throws(Fault) in
            let latest = try await self.parts.store.revision().number
            guard latest > revisions else { return }
            try await self.parts.store.compact(upTo: Revision(latest - revisions))
        }
    }

    private func keep(_ what: String, _ forget: () async throws(Fault) -> Void) async {
        do throws(Fault) {
            try await forget()
        } catch {
            parts.log.warning("could not tidy \(what)", metadata: ["fault": "\(error)"])
        }
    }
}
