package import RoostStore

/// What every store must do: the sentences of the contract, each as a check that an empty store
/// passes or fails.
///
/// A suite for a store runs each of ``all`` on a new store of its own.
package struct StoreConformance: Sendable, CustomStringConvertible {
    /// The claim.
    package let name: String
    private let body: @Sendable (any Store) async throws -> Void

    init(_ name: String, _ body: @escaping @Sendable (any Store) async throws -> Void) {
        self.name = name
        self.body = body
    }

    /// Runs the check on `store`, which must be new.
    ///
    /// - Throws: ``Broken`` with what was found, or what the store threw unasked.
    package func run(on store: any Store) async throws { try await body(store) }

    package var description: String { name }

    /// Every check, in the order of the contract.
    package static let all: [StoreConformance] =
        commits + orders + listings + indexes + changeLogs + limits + concurrency

    /// A claim that does not hold.
    package struct Broken: Error, CustomStringConvertible {
        package let description: String
    }
}

/// A row with a bit of everything: what the suites store.
package struct SampleVM: Row {
    package static let table = "sample_vms"
    package var id: String
    package var owner: String
    package var labels: [String]
    package var count: Int
    package var note: String?

    package init(
        _ id: String,
        owner: String = "ann",
        labels: [String] = [],
        count: Int = 0,
        note: String? = nil
    ) {
        self.id = id
        self.owner = owner
        self.labels = labels
        self.count = count
        self.note = note
    }

    package var key: String { id }
    package var indexes: [IndexEntry] {
        [IndexEntry("owner", owner)] + labels.map { IndexEntry("label", $0) }
    }
}

/// A row without index entries.
package struct SampleName: Row {
    package static let table = "sample_names"
    package var name: String
    package var target: String

    package init(_ name: String, _ target: String) {
        self.name = name
        self.target = target
    }

    package var key: String { name }
    package var indexes: [IndexEntry] { [] }
}

extension Batch {
    /// A batch made in one expression.
    package static func of(_ build: (inout Batch) -> Void) -> Batch {
        var batch = Batch()
        build(&batch)
        return batch
    }

    /// A batch that writes `rows` over whatever is there.
    package static func putting(_ rows: [SampleVM]) -> Batch {
        of { batch in for row in rows { batch.put(row) } }
    }
}
