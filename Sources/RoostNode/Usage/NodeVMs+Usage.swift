import RoostHost
package import RoostModel

/// What this node's disks and memory files hold.
extension NodeVMs {
    /// Looks once through everything that is kept, and says whose it is.
    ///
    /// VMs go on meanwhile: what grows or goes while it is looked at is counted before or after.
    package func usage() async throws(Fault) -> NodeUsage {
        var usage = account(try await parts.files.stored())
        let images = try await parts.catalogue.images().map { ($0.digest, $0.names) }
        let kernels = try await parts.catalogue.kernels().map { ($0.digest, $0.names) }
        let labels = Dictionary(
            (images + kernels).map { ($0.split(separator: ":").last.map(String.init) ?? $0, $1) },
            uniquingKeysWith: { one, _ in one }
        )
        for index in usage.rows.indices {
            usage.rows[index].label = labels[usage.rows[index].owner.name]?.first ?? ""
        }
        return usage
    }
}
