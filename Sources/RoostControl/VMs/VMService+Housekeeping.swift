import Logging
import RoostModel
import RoostOperations
import RoostStore

extension VMService {
    /// How many commits a watch may be behind: what came before them is forgotten, and their events.
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
        await keep("the events and the log of changes") { () async throws(Fault) in
            let latest = try await self.parts.store.revision().number
            let last = Revision(max(0, latest - revisions))
            while try await self.forgetEvents(upTo: last) > 0 {}
            if last > Revision(0) { try await self.parts.store.compact(upTo: last) }
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
