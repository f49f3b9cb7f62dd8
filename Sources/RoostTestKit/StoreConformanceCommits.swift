import RoostModel
import RoostStore

extension StoreConformance {
    static let commits: [StoreConformance] = [
        StoreConformance("a new store is empty and at revision 0") { store in
            try equal(try await store.revision(), Revision(0), "revision")
            try equal(try await store.get(SampleVM.self, "a"), nil, "get")
            let listing = try await store.list(SampleVM.self, Query())
            try equal(listing.rows.count, 0, "rows")
            try equal(listing.revision, Revision(0), "revision of the list")
            let page = try await store.changes(after: Revision(0), limit: 10)
            try equal(page, ChangePage(changes: [], revision: Revision(0)), "changes")
        },
        StoreConformance("a row comes back as it was put, with the revision that wrote it") {
            store in
            let row = SampleVM(
                "a",
                labels: ["x", "y"],
                count: -7,
                note: "é \u{1f426} \"quoted\" \\ / \u{1}"
            )
            let revision = try await store.commit(.putting([row]))
            try equal(revision, Revision(1), "revision")
            let found = try await store.get(SampleVM.self, "a")
            try equal(found, Versioned(row: row, version: revision), "row")
        },
        StoreConformance("the revision rises by one with each commit, also one of many rows") {
            store in
            for number in 1...5 {
                let rows = (0..<number * 3).map { SampleVM("\($0)", count: number) }
                let revision = try await store.commit(.putting(rows))
                try equal(revision, Revision(Int64(number)), "answer")
                try equal(try await store.revision(), revision, "revision()")
            }
            let rows = try await store.list(SampleVM.self, Query()).rows
            try equal(Set(rows.map(\.version)), [Revision(5)], "versions")
        },
        StoreConformance("a batch without writes takes no revision, and its conditions count") {
            store in
            let revision = try await store.commit(.putting([SampleVM("a")]))
            let check = Batch.of { $0.require(SampleVM.self, "a", at: revision) }
            try equal(try await store.commit(check), revision, "a check that holds")
            try equal(try await store.commit(Batch()), revision, "nothing at all")
            try await refuses(.storeConflict, "a check that does not hold") {
                try await store.commit(.of { $0.require(SampleVM.self, "a", at: nil) })
            }
            try equal(try await store.revision(), revision, "revision after")
        },
        StoreConformance("an insert of a key that is taken is refused and names table and key") {
            store in
            try await store.commit(.of { $0.insert(SampleName("web", "1")) })
            let fault = try await refuses(.storeConflict, "second insert") {
                try await store.commit(
                    .of {
                        $0.insert(SampleVM("2"))
                        $0.insert(SampleName("web", "2"))
                    }
                )
            }
            try equal(fault.metadata["table"], "sample_names", "table")
            try equal(fault.metadata["key"], "web", "key")
            try equal(try await store.get(SampleVM.self, "2"), nil, "the row before it")
            try equal(
                try await store.get(SampleName.self, "web")?.row,
                SampleName("web", "1"),
                "the row"
            )
            try equal(try await store.revision(), Revision(1), "revision")
        },
        StoreConformance("a replace of a row that has changed or gone is refused") { store in
            try await store.commit(.putting([SampleVM("a", count: 1)]))
            guard let old = try await store.get(SampleVM.self, "a") else {
                throw Broken(description: "the row is not there")
            }
            try await store.commit(.of { $0.replace(old, with: SampleVM("a", count: 2)) })
            try await refuses(.storeConflict, "replace of an old version") {
                try await store.commit(.of { $0.replace(old, with: SampleVM("a", count: 3)) })
            }
            try equal(try await store.get(SampleVM.self, "a")?.row.count, 2, "count")
            try await store.commit(.of { $0.delete(SampleVM.self, "a") })
            try await refuses(.storeConflict, "replace of a deleted row") {
                try await store.commit(.of { $0.replace(old, with: SampleVM("a", count: 3)) })
            }
            try equal(try await store.get(SampleVM.self, "a"), nil, "the row")
        },
    ]

    static let orders: [StoreConformance] = [
        StoreConformance("the first condition that fails is the one that is named") { store in
            try await store.commit(.putting([SampleVM("b"), SampleVM("c")]))
            let fault = try await refuses(.storeConflict, "two failing conditions") {
                try await store.commit(
                    .of {
                        $0.require(SampleVM.self, "a", at: nil)
                        $0.require(SampleVM.self, "c", at: nil)
                        $0.require(SampleVM.self, "b", at: nil)
                    }
                )
            }
            try equal(fault.metadata["key"], "c", "key")
        },
        StoreConformance("conditions are about the store before any write of the batch") { store in
            try await store.commit(
                .of {
                    $0.put(SampleVM("a", count: 1))
                    $0.require(SampleVM.self, "a", at: nil)
                    $0.insert(SampleVM("a", count: 2))
                }
            )
            try equal(try await store.get(SampleVM.self, "a")?.row.count, 2, "count")
        },
        StoreConformance("writes of one row happen in order and the last one stays") { store in
            try await store.commit(
                .of {
                    $0.put(SampleVM("a", owner: "ann"))
                    $0.put(SampleVM("a", owner: "bob"))
                    $0.put(SampleVM("b"))
                    $0.delete(SampleVM.self, "b")
                    $0.delete(SampleVM.self, "c")
                    $0.put(SampleVM("c"))
                }
            )
            try equal(try await store.ids(Query()), ["a", "c"], "ids")
            let bobs = Query(matching: [IndexEntry("owner", "bob")])
            try equal(try await store.ids(bobs), ["a"], "by the last owner")
            let anns = Query(matching: [IndexEntry("owner", "ann")])
            try equal(try await store.ids(anns), ["c"], "by the first owner")
        },
        StoreConformance("a refused batch leaves nothing behind, neither row, index nor change") {
            store in
            try await store.commit(.putting([SampleVM("a", owner: "ann")]))
            try await refuses(.storeConflict, "commit") {
                try await store.commit(
                    .of {
                        $0.put(SampleVM("a", owner: "bob"))
                        $0.put(SampleVM("b", owner: "bob"))
                        $0.delete(SampleVM.self, "a")
                        $0.require(SampleVM.self, "a", at: nil)
                    }
                )
            }
            try equal(try await store.ids(Query()), ["a"], "ids")
            let bobs = Query(matching: [IndexEntry("owner", "bob")])
            try equal(try await store.ids(bobs), [], "by owner")
            try equal(try await store.allChanges(limit: 10).count, 1, "changes")
        },
        StoreConformance("rows of two types under one key do not meet") { store in
            try await store.commit(
                .of {
                    $0.insert(SampleVM("a"))
                    $0.insert(SampleName("a", "x"))
                }
            )
            try await store.commit(.of { $0.delete(SampleVM.self, "a") })
            try equal(try await store.get(SampleVM.self, "a"), nil, "the deleted one")
            try holds(try await store.get(SampleName.self, "a") != nil, "the other has gone too")
        },
        StoreConformance("append puts conditions and writes of another batch behind") { store in
            var batch = Batch.of { $0.insert(SampleVM("a")) }
            batch.append(.of { $0.insert(SampleName("n", "a")) })
            try await store.commit(batch)
            try holds(try await store.get(SampleName.self, "n") != nil, "the appended row")
            try await refuses(.storeConflict, "again") { try await store.commit(batch) }
        },
    ]
}
