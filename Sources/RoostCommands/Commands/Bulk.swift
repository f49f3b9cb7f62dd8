internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// One change for each of the VMs that a command names or selects.
final class Bulk: Sendable {
    typealias Change = Roost_Compute_V1_VMChange
    typealias Call =
        @Sendable @concurrent (_ vm: String, _ metadata: Metadata) async throws -> Change

    let invocation: Invocation
    let project: String
    let operation: OpTicket
    /// What has been done to a VM, such as `stopped`.
    let verb: String
    let format: OutputFormat
    let isDryRun: Bool

    init(
        invocation: Invocation,
        project: String,
        operation: OpTicket,
        verb: String,
        format: OutputFormat,
        isDryRun: Bool
    ) {
        self.invocation = invocation
        self.project = project
        self.operation = operation
        self.verb = verb
        self.format = format
        self.isDryRun = isDryRun
    }

    /// How many calls are under way at once.
    static let width = 16

    /// The names, or the ids of all VMs that match the selector; an empty one matches all.
    func targets(
        named names: [String],
        selector: String?,
        of daemon: Daemon,
        deleted: Bool = false
    ) async throws -> [String] {
        guard let selector else { return names }
        let found = try await daemon.everyVM(
            .with {
                $0.project = project
                $0.selector = selector
                $0.showDeleted = deleted
            }
        )
        let matching = deleted ? found.filter { $0.hasDeleteTime } : found
        if matching.isEmpty && !selector.isEmpty {
            invocation.talk("note: no VM matches '\(shown(selector))'")
        }
        return matching.map(\.id)
    }

    /// Makes the change to all of them, and reports each as it was asked for. Returns the status.
    func run(_ targets: [String], _ call: @escaping Call) async throws -> Int32 {
        var reports: [Report] = []
        for start in stride(from: 0, to: targets.count, by: Self.width) {
            let some = targets[start..<min(start + Self.width, targets.count)]
            let ended = await withTaskGroup(of: Report.self) { group in
                for target in some {
                    let operation = targets.count == 1 ? operation : operation.child(target)
                    group.addTask { await self.one(target, operation, call) }
                }
                var ended: [String: Report] = [:]
                for await report in group { ended[report.target] = report }
                return ended
            }
            for target in some {
                guard let report = ended[target] else { continue }
                reports.append(report)
                try tell(report, isAlone: targets.count == 1)
            }
        }
        let changes = reports.compactMap { try? $0.outcome.get() }
        switch format {
        case .json, .yaml:
            let printer = Printer(invocation, format)
            if targets.count == 1, let only = changes.first {
                try printer.write(only.vm)
            } else if targets.count != 1 {
                try printer.write(changes.map(\.vm))
            }
        case .name: for change in changes { try invocation.write(change.vm.name + "\n") }
        case .table, .wide: break
        }
        return ExitStatus.ofAll(reports.map(\.status))
    }

    private struct Report: Sendable {
        var target: String
        var operation: OpTicket
        var outcome: Result<Change, any Error>
        var took: Duration

        var status: Int32 {
            switch outcome {
            case .success: ExitStatus.ok
            case .failure(let error): ExitStatus.of(reason(of: error))
            }
        }
    }

    private func one(_ target: String, _ operation: OpTicket, _ call: Call) async -> Report {
        let begun = ContinuousClock.now
        let outcome: Result<Change, any Error>
        do {
            outcome = .success(try await call(target, metadata(operation)))
        } catch {
            outcome = .failure(error)
        }
        return Report(
            target: target,
            operation: operation,
            outcome: outcome,
            took: ContinuousClock.now - begun
        )
    }

    /// A line for one VM: alone on a terminal only, among others always.
    private func tell(_ report: Report, isAlone: Bool) throws {
        switch report.outcome {
        case .failure(let error):
            _ = RoostCommands.report(
                error,
                subject: isAlone ? nil : shown(report.target),
                in: invocation
            )
        case .success(let change):
            let did = isDryRun ? "would be \(verb)" : change.changed ? verb : "already \(verb)"
            let name = change.vm.name.isEmpty ? report.target : change.vm.name
            if isAlone {
                let took = secondsText(report.took)
                invocation.remark("\(report.operation.short)  \(did) \(name)  \(took)")
            } else if format == .table || format == .wide {
                try invocation.write(invocation.isQuiet ? "\(name)\n" : "\(name)  \(did)\n")
            }
        }
    }
}

extension Daemon {
    /// Every VM of a list, page after page. All pages are of one revision.
    func everyVM(
        _ request: Roost_Compute_V1_ListVMsRequest,
        _ options: CallOptions = .defaults
    ) async throws -> [Roost_Compute_V1_VM] {
        var request = request
        request.pageSize = 1000
        var found: [Roost_Compute_V1_VM] = []
        repeat {
            let page = try await vms.listVMs(request, options: options)
            found += page.vms
            request.pageToken = page.nextPageToken
        } while !request.pageToken.isEmpty
        return found
    }
}
