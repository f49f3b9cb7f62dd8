import RoostHost
package import RoostModel

/// What VMs begin from here: told to whoever decides where they go.
extension NodeVMs {
    /// The images and prepared machines that there are now, no more than may be said. Reads
    /// directories.
    package func holdings() async throws(Fault) -> NodeHoldings {
        let usual: String
        do throws(Fault) {
            usual = try await parts.catalogue.image("").digest
        } catch  where error.reason == .imageNotFound {
            usual = ""
        }
        let images = try await parts.catalogue.images().map { entry in
            NodeHoldings.Image(
                digest: entry.digest,
                names: entry.names + entry.origins,
                isDefault: entry.digest == usual
            )
        }
        return NodeHoldings(images: images, templates: try await templates.serving()).bounded
    }
}
