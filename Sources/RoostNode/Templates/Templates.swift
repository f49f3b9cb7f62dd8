import Logging
import RoostDriver
import RoostHost
package import RoostModel
import RoostOperations
package import RoostStore
import Synchronization

/// Prepared machines that disposable VMs are copied from instead of booting; see README.md.
///
/// One for everything that shapes a guest's memory. They make themselves: when a disposable VM ends
/// that had to boot, its like is booted once more behind everybody's back and kept. They are never
/// needed: whatever is wrong with one, it is not used any more, and the VM boots.
final class Templates: Sendable {
    /// How long after a failed attempt the next one may begin, in milliseconds.
    static let pauseMilliseconds: Int64 = 600_000

    let parts: NodeParts
    let state = Mutex(State())

    struct State {
        var making: Set<String> = []
        /// When a template was last copied or made, in milliseconds since 1970.
        var used: [String: Int64] = [:]
        var failed: [String: Int64] = [:]
        /// What did not serve, and stays only for the disks that lie over it. Not used any more;
        /// the next daemon finds out anew.
        var unfit: Set<String> = []
        /// How many disks are about to be laid over it.
        var lent: [String: Int] = [:]
        /// What is being removed: no disk may be laid over it any more.
        var removing: Set<String> = []
        /// Something was to be removed, and a VM's disk lay over it.
        var owesSweep = false
    }

    init(_ parts: NodeParts) { self.parts = parts }

    /// The name of the template that `spec` could be copied from; `nil` when it must boot.
    func name(for spec: VMSpec) -> String? {
        guard spec.disposable, !spec.coldBoot, spec.template == nil,
            parts.driver.capabilities.contains(.fork)
        else {
            return nil
        }
        return TemplateShape(spec).name
    }

    /// The template for `spec`, if there is one that serves.
    func find(_ spec: VMSpec) async throws(Fault) -> SavedMachine? {
        guard let name = name(for: spec), let driver = parts.driver as? any Forking,
            state.withLock({ !$0.unfit.contains(name) && !$0.removing.contains(name) })
        else { return nil }
        do throws(Fault) {
            let found = try await driver.savedMachine(in: parts.files.templateFolder(name))
            if found != nil { note(name) }
            return found
        } catch  where error.reason == .savedStateDamaged {
            await drop(spec, because: error)
            return nil
        }
    }

    /// The names of those that serve now, sorted. Reads directories.
    func serving() async throws(Fault) -> [String] {
        guard let driver = parts.driver as? any Forking else { return [] }
        var names: [String] = []
        for name in try await parts.files.templates().sorted() {
            let isOut = state.withLock {
                $0.unfit.contains(name) || $0.removing.contains(name) || $0.making.contains(name)
            }
            guard !isOut, TemplateShape(name: name) != nil else { continue }
            if try await driver.holdsMachine(parts.files.templateFolder(name)) {
                names.append(name)
            }
        }
        return names
    }

    /// Keeps the template `name` from being removed until ``giveBack(_:)``: a disk is about to be
    /// laid over it, which nobody sees yet.
    ///
    /// - Throws: ``Reason/savedStateDamaged`` when it is being removed already.
    func lend(_ name: String) throws(Fault) {
        let isThere = state.withLock { state in
            if state.removing.contains(name) { return false }
            state.lent[name, default: 0] += 1
            return true
        }
        guard isThere || parts.failpoints.skips(.lending) else {
            throw Fault(.savedStateDamaged, "the template \(name) is being removed")
        }
    }

    func giveBack(_ name: String) {
        state.withLock { state in
            let rest = (state.lent[name] ?? 0) - 1
            state.lent[name] = rest > 0 ? rest : nil
        }
    }

    /// The template for `spec` did not serve: nobody uses it any more, and it goes as soon as no
    /// disk lies over it.
    func drop(_ spec: VMSpec, because fault: Fault) async {
        guard let name = name(for: spec) else { return }
        parts.failpoints.mark(.templateDropped)
        parts.log.warning(
            "a template did not serve and is not used any more",
            metadata: ["template": "\(name)", "fault": "\(fault)"]
        )
        let now = parts.surroundings.wall.now().milliseconds
        state.withLock { state in
            state.failed[name] = now
            state.unfit.insert(name)
            state.owesSweep = true
        }
        await sweepIfOwed()
    }

    /// A disposable VM like `spec` is gone: it may have been the last over a template that is to go,
    /// and the next one shall not have to boot.
    func tend(for spec: VMSpec) async {
        await sweepIfOwed()
        await make(for: spec)
    }

    /// Takes away what an earlier daemon was making when it ended. Call before VMs are looked at.
    func recover() async throws(Fault) {
        for row in try await parts.store.list(TemplateRow.self, Query()).rows {
            parts.failpoints.mark(.builderFound)
            try await clear(row.row)
        }
        guard let driver = parts.driver as? any Forking else { return }
        for name in try await parts.files.templates() {
            let folder = parts.files.templateFolder(name)
            if try await !driver.holdsMachine(folder), !parts.failpoints.skips(.halfTemplate) {
                parts.failpoints.mark(.halfTemplate)
                try await driver.discard(savedIn: folder)
            }
        }
        // Whoever owed it may have been the earlier daemon.
        state.withLock { $0.owesSweep = true }
        parts.spawner.spawn { await self.sweepIfOwed() }
    }

    /// The VMs that templates are being made with: nobody's, and no orphans.
    func builders() async throws(Fault) -> Set<VMID> {
        Set(try await parts.store.list(TemplateRow.self, Query()).rows.map(\.row.id))
    }

    func note(_ name: String) {
        let now = parts.surroundings.wall.now().milliseconds
        state.withLock { $0.used[name] = now }
    }

    /// Does `work` until it succeeds or this daemon ends: nobody else would.
    func insist(_ what: Logger.Message, _ work: () async throws(Fault) -> Void) async {
        var pause = Duration.milliseconds(100)
        while !Task.isCancelled {
            do throws(Fault) {
                return try await work()
            } catch {
                parts.failpoints.mark(.tidyRetried)
                parts.log.error(what, metadata: ["fault": "\(error)"])
                try? await parts.surroundings.clock.sleep(for: pause)
                pause = min(pause * 2, .seconds(30))
            }
        }
    }

    func commit(_ fill: (inout Batch) -> Void) async throws(Fault) {
        var batch = Batch()
        fill(&batch)
        try await parts.store.commit(batch)
    }
}

/// A VM that a template is being made with. There while it is: what a crash leaves is taken away.
package struct TemplateRow: Row {
    package static let table = "template_builders"

    package var id: VMID
    package var template: String

    package var key: String { id.description }
    package var indexes: [IndexEntry] { [] }
}

extension Fault {
    /// Whether it may be the template's, so that booting may do what copying did not.
    var mayBeTheTemplates: Bool {
        switch reason {
        case .shapeDiffers, .savedStateDamaged, .vmmFailed, .bootTimeout, .guestUnreachable,
            .guestProtocol:
            true
        default: false
        }
    }
}
