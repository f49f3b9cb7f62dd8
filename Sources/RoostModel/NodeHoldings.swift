/// What a node has that VMs begin from, as the node itself says it: a VM had better go where its
/// image is, since no other node can start it.
package struct NodeHoldings: Hashable, Sendable, Codable {
    /// One image of the node.
    package struct Image: Hashable, Sendable, Codable {
        /// `sha256:` and 64 digits: the same content has the same on every node.
        package var digest: String
        /// What it is called there, in full, sorted.
        package var names: [String]
        /// Whether it is what a request without an image means there.
        package var isDefault: Bool

        package init(digest: String, names: [String] = [], isDefault: Bool = false) {
            self.digest = digest
            self.names = names
            self.isDefault = isDefault
        }
    }

    package var images: [Image]
    /// Names of prepared machines, as ``TemplateShape`` reads them.
    package var templates: [String]

    package init(images: [Image] = [], templates: [String] = []) {
        self.images = images
        self.templates = templates
    }

    // Together they are fewer than PlacementLimits.artifacts.
    package static let mostImages = 500
    package static let mostNames = 16
    package static let mostTemplates = 500

    /// As much of it as may be said. What is left out is found all the same, if the VM comes here.
    package var bounded: NodeHoldings {
        let first = images.sorted {
            ($0.isDefault ? 0 : 1, $0.digest) < ($1.isDefault ? 0 : 1, $1.digest)
        }
        return NodeHoldings(
            images: first.prefix(Self.mostImages).map { image in
                var image = image
                image.names = Array(image.names.sorted().prefix(Self.mostNames))
                return image
            },
            templates: Array(templates.sorted().prefix(Self.mostTemplates))
        )
    }

    /// What a scheduler compares a VM's wishes with: each image by its digest and by its names.
    package var artifacts: Set<Artifact> {
        var found: Set<Artifact> = []
        for image in images {
            found.insert(Artifact(.image, image.digest))
            for name in image.names { found.insert(Artifact(.image, name)) }
        }
        for template in templates { found.insert(Artifact(.template, template)) }
        return found
    }

    /// Everything that cannot be used, by field below `field`; empty when nothing is.
    package func violations(field: String = "holdings") -> [FieldViolation] {
        var found: [FieldViolation] = []
        if images.count > Self.mostImages {
            let problem = "\(images.count) of them; at most \(Self.mostImages)"
            found.append(.init("\(field).images", problem))
        }
        if templates.count > Self.mostTemplates {
            let problem = "\(templates.count) of them; at most \(Self.mostTemplates)"
            found.append(.init("\(field).templates", problem))
        }
        guard found.isEmpty else { return found }
        var known: Set<String> = []
        for (index, image) in images.enumerated() {
            let path = "\(field).images[\(index)]"
            if let problem = digestProblem(image.digest) {
                found.append(.init("\(path).digest", problem))
            } else if !known.insert(image.digest).inserted {
                found.append(.init("\(path).digest", "\(image.digest) is there twice"))
            }
            if image.names.count > Self.mostNames {
                let problem = "\(image.names.count) of them; at most \(Self.mostNames)"
                found.append(.init("\(path).names", problem))
                continue
            }
            for (number, name) in image.names.enumerated() {
                let problem = name.isEmpty ? "is empty" : referenceProblem(name)
                if let problem { found.append(.init("\(path).names[\(number)]", problem)) }
            }
        }
        for (index, template) in templates.enumerated() where TemplateShape(name: template) == nil {
            let problem = "'\(shown(template))' is not the name of a template"
            found.append(.init("\(field).templates[\(index)]", problem))
        }
        return found
    }

    private func digestProblem(_ digest: String) -> String? {
        let digits = digest.utf8.dropFirst(7)
        let isFine =
            digest.hasPrefix("sha256:") && digits.count == 64
            && digits.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
        return isFine ? nil : "'\(shown(digest))' is not sha256: and 64 hexadecimal digits"
    }
}
