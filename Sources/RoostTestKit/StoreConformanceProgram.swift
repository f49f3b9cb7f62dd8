import RoostModel
package import RoostStore

/// A random program on a store. Two stores that keep the contract answer the same to it.
package struct StoreProgram: Sendable {
    private var random: SplitMix64
    /// The last versions that were read: what replaces and requirements are made of.
    private var read: [Versioned<SampleVM>] = []
    private let keys = ["a", "b", "\u{e9}", "e\u{301}", "a b", "", "zz", "%"]
    private let owners = ["ann", "bob", ""]

    package init(seed: UInt64) { random = SplitMix64(seed: seed) }

    /// Runs `steps` calls and answers what each of them answered, in words.
    package mutating func run(steps: Int, on store: any Store) async -> [String] {
        var answers: [String] = []
        for step in 0..<steps {
            do {
                answers.append("\(step) " + (try await one(store)))
            } catch {
                answers.append("\(step) \(error)")
            }
        }
        return answers
    }

    private mutating func one(_ store: any Store) async throws -> String {
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<9:
            return "commit \(try await store.commit(batch()).number)"
        case 9..<12:
            let found = try await store.get(SampleVM.self, pick(keys))
            if let found { read.append(found) }
            return "get \(String(describing: found))"
        case 12..<15:
            let listing = try await store.list(SampleVM.self, query())
            read += listing.rows.prefix(2)
            return "list \(listing.revision.number) \(listing.rows)"
        case 15..<18:
            let latest = try await store.revision().number
            let from = Revision(Int64.random(in: -1...latest + 1, using: &random))
            let page = try await store.changes(
                after: from,
                limit: Int.random(in: 1...9, using: &random)
            )
            return "changes \(page.revision.number) \(page.changes)"
        case 18:
            let latest = try await store.revision().number
            // Rarely near the end, so that there is mostly a log to read.
            try await store.compact(
                upTo: Revision(latest - Int64.random(in: 0...40, using: &random))
            )
            return "compact"
        default:
            return "names \(try await store.list(SampleName.self, Query(limit: 5)).rows)"
        }
    }

    private mutating func batch() -> Batch {
        var batch = Batch()
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4: batch.put(vm(pick(keys)))
            case 4: batch.insert(vm(pick(keys)))
            case 5: batch.insert(SampleName(pick(keys), pick(owners)))
            case 6: batch.delete(SampleVM.self, pick(keys))
            case 7: batch.delete(SampleName.self, pick(keys))
            default:
                guard let old = read.randomElement(using: &random) else { continue }
                batch.replace(old, with: vm(old.row.id))
            }
        }
        return batch
    }

    private mutating func vm(_ id: String) -> SampleVM {
        let labels = (0..<Int.random(in: 0...3, using: &random)).map { _ in pick(["x", "y", "z"]) }
        let count = Int.random(in: -5...5, using: &random)
        return SampleVM(id, owner: pick(owners), labels: labels, count: count)
    }

    private mutating func query() -> Query {
        var matching: [IndexEntry] = []
        for _ in 0..<Int.random(in: 0...2, using: &random) {
            matching.append(
                Bool.random(using: &random)
                    ? IndexEntry("owner", pick(owners))
                    : IndexEntry("label", pick(["x", "y", "z"]))
            )
        }
        let after = Bool.random(using: &random) ? pick(keys) : nil
        return Query(
            matching: matching,
            after: after,
            limit: Int.random(in: 0...4, using: &random)
        )
    }

    private mutating func pick(_ choices: [String]) -> String {
        choices[Int.random(in: 0..<choices.count, using: &random)]
    }
}
