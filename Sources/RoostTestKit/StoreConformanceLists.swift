import RoostModel
import RoostStore

extension StoreConformance {
    static let listings: [StoreConformance] = [
        StoreConformance("a list is in the order of the keys' bytes, odd ones too") { store in
            try await store.commit(.putting(oddKeys.reversed().map { SampleVM($0) }))
            let ids = try await store.ids(Query())
            try equal(ids.map { Array($0.utf8) }, oddKeys.map { Array($0.utf8) }, "keys")
            for key in oddKeys {
                let row = try await store.get(SampleVM.self, key)?.row
                try equal(row.map { Array($0.id.utf8) }, Array(key.utf8), "get of '\(key)'")
            }
        },
        StoreConformance("keys that Swift holds equal but have other bytes are two rows") { store in
            try await store.commit(.putting([SampleVM("\u{e9}", count: 1)]))
            try await store.commit(.of { $0.insert(SampleVM("e\u{301}", count: 2)) })
            try equal(try await store.get(SampleVM.self, "\u{e9}")?.row.count, 1, "composed")
            try equal(try await store.get(SampleVM.self, "e\u{301}")?.row.count, 2, "decomposed")
        },
        StoreConformance("pages joined are the whole list, each row once") { store in
            let keys = (0..<100).map { "k\($0)" }.sorted()
            try await store.commit(.putting(keys.map { SampleVM($0) }))
            for limit in [1, 7, 100, 101] {
                for matching in [[], [IndexEntry("owner", "ann")]] {
                    var found: [String] = []
                    var query = Query(matching: matching, limit: limit)
                    while true {
                        let page = try await store.ids(query)
                        try holds(page.count <= limit, "\(page.count) rows in a page of \(limit)")
                        guard let last = page.last else { break }
                        found += page
                        query.after = last
                    }
                    try equal(found, keys, "limit \(limit), matching \(matching.count)")
                }
            }
        },
        StoreConformance("after may be a key that is not there") { store in
            try await store.commit(.putting(["a", "c", "e"].map { SampleVM($0) }))
            try equal(try await store.ids(Query(after: "b")), ["c", "e"], "between")
            try equal(try await store.ids(Query(after: "z")), [], "behind all")
            let owned = Query(matching: [IndexEntry("owner", "ann")], after: "b")
            try equal(try await store.ids(owned), ["c", "e"], "by index")
        },
        StoreConformance("a list has the revision at which it was read") { store in
            try await store.commit(.putting([SampleVM("a")]))
            try await store.commit(.of { $0.put(SampleName("n", "a")) })
            let listing = try await store.list(SampleVM.self, Query())
            try equal(listing.revision, Revision(2), "revision")
            try equal(listing.rows.map(\.version), [Revision(1)], "version of the row")
        },
        StoreConformance("a limit outside 1 to 10,000 is refused") { store in
            for limit in [Int.min, -1, 0, 10_001, Int.max] {
                try await refuses(.invalidFields, "list \(limit)") {
                    _ = try await store.list(SampleVM.self, Query(limit: limit))
                }
                try await refuses(.invalidFields, "changes \(limit)") {
                    _ = try await store.changes(after: Revision(0), limit: limit)
                }
            }
        },
    ]

    static let indexes: [StoreConformance] = [
        StoreConformance("rows are found by each of their index entries, and by all of several") {
            store in
            try await store.commit(
                .putting([
                    SampleVM("1", owner: "ann", labels: ["red", "big"]),
                    SampleVM("2", owner: "bob", labels: ["red"]),
                    SampleVM("3", owner: "ann", labels: ["red", "red"]),
                ])
            )
            let ann = IndexEntry("owner", "ann")
            let red = IndexEntry("label", "red")
            let big = IndexEntry("label", "big")
            try equal(try await store.ids(Query(matching: [ann])), ["1", "3"], "ann")
            try equal(try await store.ids(Query(matching: [red])), ["1", "2", "3"], "red")
            try equal(try await store.ids(Query(matching: [red, ann])), ["1", "3"], "red, ann")
            try equal(try await store.ids(Query(matching: [ann, red])), ["1", "3"], "ann, red")
            try equal(try await store.ids(Query(matching: [ann, red, big])), ["1"], "all three")
            try equal(try await store.ids(Query(matching: [red, red])), ["1", "2", "3"], "twice")
            let none = IndexEntry("label", "re")
            try equal(try await store.ids(Query(matching: [none])), [], "a prefix")
            try equal(try await store.ids(Query(matching: [red, none])), [], "red and a prefix")
            let names = try await store.list(SampleName.self, Query(matching: [ann]))
            try equal(names.rows.count, 0, "another table")
        },
        StoreConformance("index entries follow the row when it changes, and go when it goes") {
            store in
            let ann = Query(matching: [IndexEntry("owner", "ann")])
            let bob = Query(matching: [IndexEntry("owner", "bob")])
            let red = Query(matching: [IndexEntry("label", "red")])
            try await store.commit(.putting([SampleVM("1", owner: "ann", labels: ["red"])]))
            try await store.commit(.putting([SampleVM("1", owner: "bob")]))
            try equal(try await store.ids(ann), [], "the old owner")
            try equal(try await store.ids(bob), ["1"], "the new owner")
            try equal(try await store.ids(red), [], "the label")
            try await store.commit(.putting([SampleVM("1", owner: "bob", count: 5)]))
            try equal(try await store.ids(bob), ["1"], "unchanged")
            try await store.commit(.of { $0.delete(SampleVM.self, "1") })
            try equal(try await store.ids(bob), [], "after deletion")
            try await store.commit(.putting([SampleVM("1", owner: "ann")]))
            try equal(try await store.ids(bob), [], "after another with the key, old owner")
            try equal(try await store.ids(ann), ["1"], "after another with the key")
        },
        StoreConformance("index values are told apart by their bytes") { store in
            for (number, value) in oddKeys.enumerated() {
                try await store.commit(.putting([SampleVM("\(number)", owner: value)]))
            }
            for (number, value) in oddKeys.enumerated() {
                let query = Query(matching: [IndexEntry("owner", value)])
                try equal(try await store.ids(query), ["\(number)"], "owner '\(value)'")
            }
        },
    ]

    static let changeLogs: [StoreConformance] = [
        StoreConformance("the change log has every change in order, deletions marked") { store in
            try await store.commit(.putting([SampleVM("b"), SampleVM("a")]))
            try await store.commit(
                .of {
                    $0.delete(SampleVM.self, "a")
                    $0.delete(SampleVM.self, "never")
                    $0.put(SampleName("n", "b"))
                }
            )
            let one = Revision(1)
            let two = Revision(2)
            let vms = SampleVM.table
            let wanted = [
                Change(revision: one, table: vms, key: "b", isDeletion: false),
                Change(revision: one, table: vms, key: "a", isDeletion: false),
                Change(revision: two, table: vms, key: "a", isDeletion: true),
                Change(revision: two, table: SampleName.table, key: "n", isDeletion: false),
            ]
            let page = try await store.changes(after: Revision(0), limit: 10)
            try equal(page, ChangePage(changes: wanted, revision: two), "all")
            let rest = try await store.changes(after: one, limit: 10)
            try equal(rest, ChangePage(changes: Array(wanted[2...]), revision: two), "rest")
            let end = try await store.changes(after: two, limit: 10)
            try equal(end, ChangePage(changes: [], revision: two), "end")
        },
        StoreConformance("a page never ends within a commit, and always gets on") { store in
            let sizes = [1, 5, 2, 2, 1, 9, 1]
            for size in sizes {
                try await store.commit(.putting((0..<size).map { SampleVM("\($0)") }))
            }
            let all = try await store.changes(after: Revision(0), limit: 1_000).changes
            try equal(all.count, sizes.reduce(0, +), "changes")
            for limit in 1...22 {
                try equal(try await store.allChanges(limit: limit), all, "limit \(limit)")
            }
            let page = try await store.changes(after: Revision(0), limit: 7)
            try equal(page.revision, Revision(2), "6 changes in two commits, the third has 2")
        },
        StoreConformance("a commit that changed no row is passed over, not lost") { store in
            try await store.commit(.putting([SampleVM("a")]))
            let empty = try await store.commit(.of { $0.delete(SampleVM.self, "never") })
            try equal(empty, Revision(2), "revision")
            let page = try await store.changes(after: Revision(1), limit: 10)
            try equal(page, ChangePage(changes: [], revision: empty), "page")
        },
        StoreConformance("after compaction older revisions are refused and rows stay") { store in
            for number in 1...10 {
                try await store.commit(.putting([SampleVM("\(number % 3)", count: number)]))
            }
            let before = try await store.list(SampleVM.self, Query()).rows
            try await store.compact(upTo: Revision(6))
            for old in 0...5 {
                try await refuses(.revisionCompacted, "after \(old)") {
                    _ = try await store.changes(after: Revision(Int64(old)), limit: 10)
                }
            }
            let page = try await store.changes(after: Revision(6), limit: 10)
            try equal(page.changes.map(\.revision.number), [7, 8, 9, 10], "what is kept")
            try equal(try await store.list(SampleVM.self, Query()).rows, before, "rows")
            try equal(try await store.revision(), Revision(10), "revision")
            try await store.compact(upTo: Revision(2))
            try equal(try await store.changes(after: Revision(6), limit: 10), page, "less: nothing")
            try await store.compact(upTo: Revision(1_000))
            let end = try await store.changes(after: Revision(10), limit: 10)
            try equal(end, ChangePage(changes: [], revision: Revision(10)), "all compacted")
            let next = try await store.commit(.putting([SampleVM("z")]))
            try equal(next, Revision(11), "the next commit")
            try equal(
                try await store.changes(after: Revision(10), limit: 10).changes.count,
                1,
                "it"
            )
        },
        StoreConformance("a revision that is still to come is refused like a compacted one") {
            store in
            try await store.commit(.putting([SampleVM("a")]))
            try await refuses(.revisionCompacted, "after 2 of 1") {
                _ = try await store.changes(after: Revision(2), limit: 10)
            }
        },
    ]
}
