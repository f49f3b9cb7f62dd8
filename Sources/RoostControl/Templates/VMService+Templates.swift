import RoostLink
package import RoostModel
package import RoostOperations
package import RoostStore

/// A template as users have it.
package struct Template: Sendable {
    package var vm: Versioned<VM>
    /// What its copies begin from; `nil` while it is being made.
    package var moment: Checkpoint?
    /// The VMs whose disks lie over it, also in the trash, by name.
    package var users: [String]

    /// What its copies say of it.
    var origin: TemplateOrigin? {
        vm.row.seal.map { TemplateOrigin(template: vm.row.id, checkpoint: $0.checkpoint) }
    }
}

/// Templates: kept as VMs that no request about VMs finds, so that everything that is true of the
/// lives of VMs, and of what a crash leaves of them, is true of templates. README.md has the picture.
extension VMService {
    /// Makes the template `name` of a stopped VM, or of a checkpoint.
    ///
    /// - Throws: as ``fork(_:project:_:_:)``.
    package func makeTemplate(
        _ name: String,
        of reference: String,
        checkpoint: String,
        project: ProjectView,
        etag: Revision?,
        _ context: RequestContext
    ) async throws(Fault) -> Template {
        guard !name.isEmpty else { throw .invalid("name", "is required") }
        let order = ForkOrder(.templates, names: [name], checkpoint: checkpoint, etag: etag)
        let made = try await fork(reference, project: project, order, context)
        guard let outcome = made.first else {
            throw Fault(.bug, "operation \(context.operation) made no template")
        }
        let version = outcome.etag ?? Revision(0)
        return try await template(Versioned(row: outcome.vm, version: version))
    }

    /// Every template of a project, by name.
    package func templates(project: ProjectView) async throws(Fault) -> [Template] {
        let query = Query(matching: [IndexEntry("project", project.name)])
        var found: [Template] = []
        for row in try await parts.store.list(VM.self, query).rows where row.row.seal != nil {
            found.append(try await template(row))
        }
        return found.sorted { ($0.vm.row.name, $0.vm.row.id) < ($1.vm.row.name, $1.vm.row.id) }
    }

    /// The template that `reference` means, a name or an id.
    ///
    /// - Throws: ``Reason/templateNotFound``.
    package func findTemplate(
        _ reference: String,
        project: ProjectView
    ) async throws(Fault) -> Template {
        let key = NameRow.key(project.name, NameRow.template(reference))
        var id = VMID(reference)
        if let name = try await parts.store.get(NameRow.self, key) { id = name.row.vm }
        if let id, let found = try await parts.store.get(VM.self, id.description),
            found.row.seal != nil, project.admits(found.row.project)
        {
            return try await template(found)
        }
        throw Fault(
            .templateNotFound,
            "no template '\(shown(reference))' in project \(shown(project.name))",
            metadata: ["template": shown(reference)]
        )
    }

    private func template(_ vm: Versioned<VM>) async throws(Fault) -> Template {
        let id = vm.row.seal?.checkpoint.description ?? ""
        let moment = try await parts.store.get(Checkpoint.self, id)?.row
        let query = Query(matching: [IndexEntry("template", vm.row.id.description)])
        let users = try await parts.store.list(VM.self, query).rows
        return Template(vm: vm, moment: moment, users: users.map(\.row.name).sorted())
    }

    /// Removes a template with its last byte.
    ///
    /// - Throws: ``Reason/templateNotFound``, ``Reason/inUse`` naming the VMs whose disks lie over it,
    ///   ``Reason/staleEtag``, ``Reason/opInProgress``.
    package func deleteTemplate(
        _ reference: String,
        project: ProjectView,
        etag: Revision?,
        _ context: RequestContext
    ) async throws(Fault) -> VMOutcome {
        try await once(context) { live throws(Fault) in
            try await self.accept(live, context) { () async throws(Fault) -> Acceptance in
                let found = try await self.findTemplate(reference, project: project)
                var vm = found.vm.row
                if let etag, etag != found.vm.version { throw self.stale(vm) }
                guard found.users.isEmpty else { throw self.inUse(vm, by: found.users) }
                vm.generation += 1
                let intent = LifecycleIntent(
                    action: .purge,
                    formerDesired: .stopped,
                    removesRow: true,
                    failurePrefix: "Failed to remove: "
                )
                return Acceptance(found: found.vm, vm: vm, intent: intent, preempts: false)
            }
        }
    }

    private func inUse(_ template: VM, by users: [String]) -> Fault {
        let shown = users.prefix(8).joined(separator: ", ")
        let more = users.count > 8 ? " and \(users.count - 8) more" : ""
        return Fault(
            .inUse,
            "the disks of \(shown)\(more) lie over the template \(template.name)",
            metadata: ["users": "roost rm --purge \(users.prefix(8).joined(separator: " "))"]
        )
    }

    // MARK: VMs from templates

    /// Fills in what `draft` has from its template, and which that is; `nil` for a draft without.
    func fill(_ draft: inout VMDraft) async throws(Fault) -> Template? {
        guard !draft.template.isEmpty else { return nil }
        let named = [("spec.image", draft.image), ("spec.kernel", draft.kernel)]
        let violations = named.filter { !$0.1.isEmpty }.map {
            FieldViolation($0.0, "a VM from a template has the template's: leave it out")
        }
        guard violations.isEmpty else { throw .invalid(violations) }
        let template = try await findTemplate(draft.template, project: ProjectView(draft.project))
        let vm = template.vm.row
        guard template.moment != nil, vm.runningOp == nil, let node = vm.status.node else {
            throw Fault(
                .opInProgress,
                "the template \(vm.name) is being made, or removed",
                metadata: ["op": vm.runningOp?.description ?? "", "vm": vm.name]
            )
        }
        if !draft.node.isEmpty, try parts.nodes.find(draft.node) != node {
            throw .invalid(
                "node",
                "the template \(vm.name) is on \(parts.nodes.name(node)), and so are its copies"
            )
        }
        draft.node = node.description
        draft.image = vm.spec.image
        draft.kernel = vm.spec.kernel
        draft.cores = draft.cores ?? vm.spec.cores
        draft.memoryMiB = draft.memoryMiB ?? vm.spec.memoryMiB
        let disk = draft.rootDiskGiB ?? vm.spec.rootDiskGiB
        guard disk >= vm.spec.rootDiskGiB else {
            throw .invalid(
                "spec.disk.size_gib",
                "\(disk) is less than the template's (\(vm.spec.rootDiskGiB))"
            )
        }
        draft.rootDiskGiB = disk
        // Memory fits a machine of its own shape only; another one boots the same disk.
        if draft.cores != vm.spec.cores || draft.memoryMiB != vm.spec.memoryMiB
            || draft.network != vm.spec.network
        {
            draft.coldBoot = true
        }
        return template
    }

    /// Makes `batch` happen only if the template is as it was read, and nobody else's at once: who
    /// removes it meanwhile finds that it is used.
    func use(_ template: Template, _ batch: inout Batch) {
        var vm = template.vm.row
        vm.updatedAt = now
        batch.replace(template.vm, with: vm)
    }
}
