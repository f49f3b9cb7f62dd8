import Logging
import RoostDriver
import RoostHost
import RoostModel
import RoostOperations
import RoostStore
import Synchronization

/// Prepared machines that disposable VMs are copied from instead of booting; see README.md.
///
/// One for everything that shapes a guest's memory. They make themselves: when a disposable VM ends
/// that had to boot, its like is booted once more behind everybody's back and kept. They are never
/// needed: whatever is wrong with one, it is dropped, and the VM boots.
final class Templates: Sendable {
    /// The most templates that are kept; the least lately used goes first.
    static let limit = 8
    /// How long after a failed attempt the next one may begin, in milliseconds.
    static let pauseMilliseconds: Int64 = 600_000

    private let parts: NodeParts
    private let state = Mutex(State())

    private struct State {
        var making: Set<String> = []
        /// When a template was last copied or made, in milliseconds since 1970.
        var used: [String: Int64] = [:]
        var failed: [String: Int64] = [:]
    }

    init(_ parts: NodeParts) { self.parts = parts }

    /// The name of the template that `spec` could be copied from; `nil` when it must boot.
    func name(for spec: VMSpec) -> String? {
        guard spec.disposable, !spec.coldBoot, parts.driver.capabilities.contains(.fork) else {
            return nil
        }
        return templateName(spec)
    }

    /// The template for `spec`, if there is one.
    func find(_ spec: VMSpec) async throws(Fault) -> SavedMachine? {
        guard let name = name(for: spec), let driver = parts.driver as? any Forking else {
            return nil
        }
        do throws(Fault) {
            let found = try await driver.savedMachine(in: parts.files.templateFolder(name))
            if found != nil { note(name) }
            return found
        } catch  where error.reason == .savedStateDamaged {
            await drop(spec, because: error)
            return nil
        }
    }

    /// Removes the template for `spec`: it did not serve.
    func drop(_ spec: VMSpec, because fault: Fault) async {
        guard let name = name(for: spec) else { return }
        parts.log.warning(
            "a template did not serve and is dropped",
            metadata: ["template": "\(name)", "fault": "\(fault)"]
        )
        state.withLock { $0.failed[name] = parts.surroundings.wall.now().milliseconds }
        await remove(name)
    }

    /// Makes the template for `spec` unless there is one, it is being made, or it failed lately.
    func make(for spec: VMSpec) async {
        guard let name = name(for: spec), let driver = parts.driver as? any Forking else { return }
        let now = parts.surroundings.wall.now().milliseconds
        let isFree = state.withLock { state in
            if let last = state.failed[name], now - last < Self.pauseMilliseconds { return false }
            // One at a time: the host has other things to do.
            guard state.making.isEmpty else { return false }
            return state.making.insert(name).inserted
        }
        guard isFree else { return }
        defer { state.withLock { _ = $0.making.remove(name) } }
        let builder = TemplateRow(id: parts.surroundings.identifier(), template: name)
        do throws(Fault) {
            let folder = parts.files.templateFolder(name)
            guard try await driver.savedMachine(in: folder) == nil else { return }
            try await commit { $0.put(builder) }
            try await build(spec, builder, driver)
            try await clear(builder)
            note(name)
            await sweep()
            parts.log.info("made a template", metadata: ["template": "\(name)"])
        } catch {
            state.withLock { $0.failed[name] = now }
            parts.log.warning(
                "could not make a template",
                metadata: ["template": "\(name)", "fault": "\(error)"]
            )
            await giveUp(builder)
        }
    }

    /// Takes away what an earlier daemon was making when it ended. Call before VMs are looked at.
    func recover() async throws(Fault) {
        for row in try await parts.store.list(TemplateRow.self, Query()).rows {
            try await clear(row.row)
        }
        guard let driver = parts.driver as? any Forking else { return }
        for name in try await parts.files.templates() {
            let folder = parts.files.templateFolder(name)
            if try await !isWhole(folder, driver) { try await driver.discard(savedIn: folder) }
        }
    }

    private func isWhole(_ folder: String, _ driver: any Forking) async throws(Fault) -> Bool {
        do throws(Fault) {
            return try await driver.savedMachine(in: folder) != nil
        } catch  where error.reason == .savedStateDamaged {
            return false
        }
    }

    /// The VMs that templates are being made with: nobody's, and no orphans.
    func builders() async throws(Fault) -> Set<VMID> {
        Set(try await parts.store.list(TemplateRow.self, Query()).rows.map(\.row.id))
    }

    // MARK: Making

    private func build(
        _ spec: VMSpec,
        _ builder: TemplateRow,
        _ driver: any Forking
    ) async throws(Fault) {
        var spec = spec
        spec.ports = []
        try await parts.files.prepare(builder.id, spec: spec)
        try await parts.files.growRootDisk(builder.id, toGiB: spec.rootDiskGiB)
        let paths = try await parts.files.launch(
            builder.id,
            name: "template",
            spec: spec,
            generation: 1
        )
        let launch = VMLaunch(builder.id, name: "template", spec: spec, generation: 1, paths)
        try await driver.start(launch)
        if parts.driver.capabilities.contains(.guestAgent) { try await boot(builder.id) }
        let folder = parts.files.templateFolder(builder.template)
        _ = try await driver.save(
            launch,
            SaveOrder(folder: folder, memory: .onDisk, afterwards: .ends)
        )
    }

    private func boot(_ id: VMID) async throws(Fault) {
        let parts = parts
        try await within(
            parts.bootDeadline,
            on: parts.surroundings.clock,
            onTimeout: Fault(.bootTimeout, "the template's guest did not answer in time")
        ) { () async throws(Fault) in
            try await parts.guests.awaitReady(id)
            try await parts.guests.settle(id)
        }
        await parts.guests.drop(id)
    }

    private func giveUp(_ builder: TemplateRow) async {
        do throws(Fault) {
            try await clear(builder)
        } catch {
            // Its row is still there: the next daemon clears it away.
            parts.log.error(
                "could not clear away a template's VM",
                metadata: ["vm": "\(builder.id)", "fault": "\(error)"]
            )
        }
    }

    private func clear(_ builder: TemplateRow) async throws(Fault) {
        await parts.guests.drop(builder.id)
        try await parts.driver.kill(builder.id)
        try await parts.files.purge(builder.id)
        try await commit { $0.delete(TemplateRow.self, builder.key) }
    }

    // MARK: Removing

    private func note(_ name: String) {
        let now = parts.surroundings.wall.now().milliseconds
        state.withLock { $0.used[name] = now }
    }

    /// Removes what is too much, but nothing that a VM's disk lies over.
    private func sweep() async {
        do throws(Fault) {
            let all = try await parts.files.templates()
            let needed = try await parts.files.templatesInUse()
            let used = state.withLock(\.used)
            let order = all.filter { !needed.contains($0) }
                .sorted { (used[$0] ?? 0, $0) < (used[$1] ?? 0, $1) }
            for name in order.prefix(max(all.count - Self.limit, 0)) { await remove(name) }
        } catch {
            parts.log.warning("cannot look at the templates", metadata: ["fault": "\(error)"])
        }
    }

    private func remove(_ name: String) async {
        guard let driver = parts.driver as? any Forking else { return }
        do throws(Fault) {
            try await driver.discard(savedIn: parts.files.templateFolder(name))
        } catch {
            parts.log.warning(
                "could not remove a template",
                metadata: ["template": "\(name)", "fault": "\(error)"]
            )
        }
    }

    private func commit(_ fill: (inout Batch) -> Void) async throws(Fault) {
        var batch = Batch()
        fill(&batch)
        try await parts.store.commit(batch)
    }
}

/// The name of the template of VMs like `spec`: a file name that says what shaped it.
///
/// What the driver and the host add to the shape (QEMU, CPU, agent) is compared when it is used.
func templateName(_ spec: VMSpec) -> String {
    let image = spec.image.split(separator: ":").last?.prefix(16) ?? ""
    let kernel = spec.kernel.split(separator: ":").last?.prefix(16) ?? ""
    return "\(image)-\(kernel)-c\(spec.cores)-m\(spec.memoryMiB)-d\(spec.rootDiskGiB)"
        + "-\(spec.network.rawValue)"
}

/// A VM that a template is being made with. There while it is: what a crash leaves is taken away.
struct TemplateRow: Row {
    static let table = "template_builders"

    var id: VMID
    var template: String

    var key: String { id.description }
    var indexes: [IndexEntry] { [] }
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
