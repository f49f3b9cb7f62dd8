package import RoostModel
internal import SwiftProtobuf

extension Roost_Fleet_V1_Holdings {
    /// What a node has, as it is sent.
    package init(_ holdings: NodeHoldings) {
        self.init()
        images = holdings.images.map { image in
            .with {
                $0.digest = image.digest
                $0.names = image.names
                $0.isDefault = image.isDefault
            }
        }
        templates = holdings.templates
    }
}

extension NodeHoldings {
    /// What was sent, unchecked: see ``NodeHoldings/violations(field:)``.
    package init(_ message: Roost_Fleet_V1_Holdings) {
        self.init(
            images: message.images.map { image in
                Image(digest: image.digest, names: image.names, isDefault: image.isDefault)
            },
            templates: message.templates
        )
    }
}
