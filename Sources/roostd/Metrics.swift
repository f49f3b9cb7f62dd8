import Glibc
import RoostAPI
import RoostConnect
import RoostControl
import RoostLinux
import RoostModel
import RoostOperations
import RoostStore

/// `/metrics`, `/healthz` and `/readyz`.
struct Pages: Sendable {
    let vms: VMService
    let store: any Store
    let fleet: FleetService
    /// How the calls ended that this daemon answered, and those that it made to nodes.
    let tallies: [CallTally]
    let startedAt: ContinuousClock.Instant

    func answer(_ request: WebRequest) async -> WebResponse? {
        switch request.path {
        case "/healthz": return WebResponse(text: "ok\n")
        case "/readyz":
            do throws(Fault) {
                _ = try await store.revision()
                return WebResponse(text: "ok\n")
            } catch {
                return WebResponse(
                    status: 503,
                    text: "the store does not answer: \(error.message)\n"
                )
            }
        case "/metrics":
            do throws(Fault) {
                let format = Format(request)
                return WebResponse(text: try await metrics(format), contentType: format.rawValue)
            } catch {
                return WebResponse(status: 503, text: "\(error.message)\n")
            }
        default: return nil
        }
    }

    /// How metrics are written: Prometheus asks for OpenMetrics, people and promtool for text.
    private enum Format: String {
        case openMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
        case text = "text/plain; version=0.0.4; charset=utf-8"

        init(_ request: WebRequest) {
            let accepted = request.headers.filter { $0.name == "accept" }
            self = accepted.contains { $0.value.contains("openmetrics") } ? .openMetrics : .text
        }
    }

    /// Counters end in `_total`, units stand in the names. OpenMetrics 1.0 names a counter's family
    /// without `_total` and ends with `# EOF`; the text format 0.0.4 does neither.
    private func metrics(_ format: Format) async throws(Fault) -> String {
        var byState: [VMState: Int] = [:]
        var token: PageToken?
        repeat {
            let page = try await vms.list(VMFilter(showsTrash: true), size: 1000, token: token)
            for vm in page.vms { byState[vm.row.status.state, default: 0] += 1 }
            token = page.next
        } while token != nil
        var text = "# HELP roost_vms VMs by their observed state.\n# TYPE roost_vms gauge\n"
        for state in VMState.allCases {
            text += "roost_vms{state=\"\(state.rawValue)\"} \(byState[state] ?? 0)\n"
        }
        let nodes = fleet.list().map(\.facts.state)
        text += family("roost_nodes", "gauge", "Nodes by their state.")
        for state in NodeState.allCases {
            text += "roost_nodes{state=\"\(state.rawValue)\"} \(nodes.count { $0 == state })\n"
        }
        let revision = try await store.revision().number
        text += counter("roost_store_commits", "Commits since the store was made.", format)
        text += "roost_store_commits_total \(revision)\n"
        text += family("roost_operations_running", "gauge", "Operations being carried out.")
        text += "roost_operations_running \(vms.ledger.liveCount)\n"
        if let usage = ProcessTable.usage(getpid()) {
            text += "# HELP process_resident_memory_bytes Resident memory.\n"
            text += "# TYPE process_resident_memory_bytes gauge\n"
            text += "process_resident_memory_bytes \(usage.resident.bytes)\n"
            let (seconds, attoseconds) = usage.cpu.components
            let cpu = Double(seconds) + Double(attoseconds) / 1e18
            text += counter("process_cpu_seconds", "CPU time used.", format)
            text += "process_cpu_seconds_total \(cpu)\n"
        }
        let uptime = (ContinuousClock.now - startedAt).components.seconds
        text += family("roost_uptime_seconds", "gauge", "Since the daemon began to serve.")
        text += "roost_uptime_seconds \(uptime)\n"
        for tally in tallies { text += tally.exposition(isOpenMetrics: format == .openMetrics) }
        return format == .openMetrics ? text + "# EOF\n" : text
    }

    private func counter(_ name: String, _ help: String, _ format: Format) -> String {
        family(format == .openMetrics ? name : name + "_total", "counter", help)
    }

    private func family(_ name: String, _ type: String, _ help: String) -> String {
        "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }
}
