import Logging
import RoostDriver
import RoostHost
import RoostModel
import RoostOperations
import RoostStore
import Synchronization

/// How a template comes to be, and what becomes of the VM that it was made with.
extension Templates {
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
            guard try await !driver.holdsMachine(folder) else { return }
            if !parts.failpoints.skips(.builder) { try await commit { $0.put(builder) } }
            try await build(spec, builder, driver)
            parts.failpoints.mark(.templateMade)
            parts.log.info("made a template", metadata: ["template": "\(name)"])
            note(name)
        } catch {
            parts.failpoints.mark(.templateFailed)
            state.withLock { $0.failed[name] = now }
            parts.log.warning(
                "could not make a template",
                metadata: ["template": "\(name)", "fault": "\(error)"]
            )
        }
        await insist("could not clear away a template's VM; trying again") {
            () async throws(Fault) in try await clear(builder)
        }
        await sweep()
    }

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

    /// Removes the VM that a template was made with, and last the row that says that it is one.
    func clear(_ builder: TemplateRow) async throws(Fault) {
        await parts.guests.drop(builder.id)
        try await parts.driver.kill(builder.id)
        try await parts.files.purge(builder.id)
        try await commit { $0.delete(TemplateRow.self, builder.key) }
    }
}
