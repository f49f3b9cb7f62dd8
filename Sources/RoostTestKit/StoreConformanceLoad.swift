import RoostModel
import RoostStore

extension StoreConformance {
    static let limits: [StoreConformance] = [
        StoreConformance("a key of 255 bytes is taken, one of 256 or with NUL is refused whole") {
            store in
            let longest = String(repeating: "k", count: 255)
            try await store.commit(.putting([SampleVM(longest)]))
            try holds(try await store.get(SampleVM.self, longest) != nil, "255 bytes")
            for key in [longest + "k", String(repeating: "\u{e9}", count: 128), "a\0b"] {
                try await refuses(.invalidFields, "key of \(key.utf8.count) bytes") {
                    try await store.commit(.putting([SampleVM("other"), SampleVM(key)]))
                }
            }
            try await refuses(.invalidFields, "an index value with NUL") {
                try await store.commit(.putting([SampleVM("other", owner: "a\0")]))
            }
            try await refuses(.invalidFields, "an index value of 1,025 bytes") {
                let owner = String(repeating: "o", count: 1_025)
                try await store.commit(.putting([SampleVM("other", owner: owner)]))
            }
            try equal(try await store.get(SampleVM.self, "other"), nil, "the row beside it")
            try equal(try await store.revision(), Revision(1), "revision")
        },
        StoreConformance("a row of 1 MiB comes back whole, alone and in a list") { store in
            let row = SampleVM("big", note: String(repeating: "0123456789abcdef", count: 65_536))
            try await store.commit(.putting([SampleVM("a"), row, SampleVM("c")]))
            try equal(try await store.get(SampleVM.self, "big")?.row, row, "get")
            let rows = try await store.list(SampleVM.self, Query()).rows
            try equal(rows.map(\.row.id), ["a", "big", "c"], "ids")
            try holds(rows[1].row == row, "the row in the list")
        },
    ]

    static let concurrency: [StoreConformance] = [
        StoreConformance("of 64 inserts of one key at once exactly one wins") { store in
            let winners = try await together(64) { number -> Int? in
                do {
                    try await store.commit(.of { $0.insert(SampleVM("only", count: number)) })
                    return number
                } catch let fault as Fault where fault.reason == .storeConflict {
                    return nil
                }
            }.compactMap { $0 }
            try equal(winners.count, 1, "winners")
            let row = try await store.get(SampleVM.self, "only")?.row
            try equal(row?.count, winners.first, "whose row it is")
            try equal(try await store.revision(), Revision(1), "revision")
        },
        StoreConformance("64 committers at once get one revision each, without a gap") { store in
            let revisions = try await together(64) { number in
                var mine: [Revision] = []
                for round in 0..<5 {
                    let row = SampleVM("\(number)-\(round)", count: round)
                    mine.append(try await store.commit(.of { $0.insert(row) }))
                }
                try equal(mine.sorted(), mine, "one after the other")
                return mine
            }.flatMap { $0 }
            try equal(revisions.sorted().map(\.number), (1...320).map(Int64.init), "revisions")
            try equal(try await store.allChanges(limit: 17).count, 320, "changes")
            for row in try await store.list(SampleVM.self, Query()).rows {
                let change = try await store.changes(
                    after: Revision(row.version.number - 1),
                    limit: 1
                )
                try equal(change.changes.first?.key, row.row.key, "the key of \(row.version)")
            }
        },
        StoreConformance("no increment by read and conditional write is lost") { store in
            try await store.commit(.putting([SampleVM("n")]))
            _ = try await together(16) { _ in
                var left = 20
                while left > 0 {
                    guard let old = try await store.get(SampleVM.self, "n") else { return }
                    let new = SampleVM("n", count: old.row.count + 1)
                    do {
                        try await store.commit(.of { $0.replace(old, with: new) })
                        left -= 1
                    } catch let fault as Fault where fault.reason == .storeConflict {
                        continue
                    }
                }
            }
            try equal(try await store.get(SampleVM.self, "n")?.row.count, 320, "count")
        },
        StoreConformance("a list shows all of a commit or nothing of it, at its revision") {
            store in
            try await store.commit(.putting((0..<50).map { SampleVM("\($0)", count: 1) }))
            let lists = try await together(3) { task in
                var seen = 0
                for round in 2...40 {
                    if task == 0 {
                        let rows = (0..<50).map { SampleVM("\($0)", count: round) }
                        try await store.commit(.putting(rows))
                    } else {
                        let listing = try await store.list(SampleVM.self, Query())
                        let counts = Set(listing.rows.map { Int64($0.row.count) })
                        try equal(counts, [listing.revision.number], "counts in one list")
                        seen += 1
                    }
                }
                return seen
            }
            try equal(lists, [0, 39, 39], "lists read")
        },
        StoreConformance("who reads on from page to page sees each commit once, in order") {
            store in
            let seen = try await together(9) { task -> [Int64] in
                if task > 0 {
                    for round in 0..<25 {
                        let id = "\(task)-\(round)"
                        try await store.commit(.putting([SampleVM(id), SampleVM(id + "x")]))
                    }
                    return []
                }
                var revisions: [Int64] = []
                var from = Revision(0)
                while from < Revision(200) {
                    let page = try await store.changes(after: from, limit: 10)
                    revisions += page.changes.map(\.revision.number)
                    try holds(page.revision >= from, "a page went back")
                    from = page.revision
                    await Task.yield()
                }
                return revisions
            }
            try equal(seen[0], (1...200).flatMap { [Int64($0), Int64($0)] }, "revisions")
        },
    ]
}
