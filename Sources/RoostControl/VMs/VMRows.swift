package import RoostModel
package import RoostStore

extension VM: Row {
    package static var table: String { "vms" }
    package var key: String { id.description }
    package var indexes: [IndexEntry] {
        var entries = [IndexEntry("project", project)]
        if let node = status.node { entries.append(IndexEntry("node", node.description)) }
        // A name in the trash is no longer taken, and still how people ask for the VM.
        if let origin = spec.template {
            entries.append(IndexEntry("template", origin.template.description))
        }
        if deletedAt != nil { entries.append(IndexEntry("trashed", "\(project)/\(name)")) }
        if let member { entries.append(IndexEntry("fleet", "\(project)/\(member.fleet)")) }
        return entries
    }

    /// Who has its name. Templates have names among themselves: no VM's name has a slash.
    package var nameRow: NameRow {
        NameRow(project: project, name: seal == nil ? name : NameRow.template(name), vm: id)
    }
}

/// Who has a name. Its key is the uniqueness.
package struct NameRow: Row {
    package static let table = "names"

    package var project: String
    package var name: String
    package var vm: VMID

    package var key: String { Self.key(project, name) }
    package var indexes: [IndexEntry] { [] }

    package init(project: String, name: String, vm: VMID) {
        self.project = project
        self.name = name
        self.vm = vm
    }

    /// The name under which the template `name` is found.
    static func template(_ name: String) -> String { "template/\(name)" }

    /// The key of `name` in `project`.
    package static func key(_ project: String, _ name: String) -> String { "\(project)/\(name)" }
}

/// Who has a host port on a node. Its key is the uniqueness.
package struct PortRow: Row {
    package static let table = "ports"

    package var node: NodeID
    package var transport: PortTransport
    package var hostAddress: String
    package var hostPort: Int
    package var vm: VMID

    package var key: String { Self.key(node, transport, hostAddress, hostPort) }
    package var indexes: [IndexEntry] { [IndexEntry("vm", vm.description)] }

    package init(node: NodeID, port: PublishedPort, vm: VMID) {
        self.node = node
        transport = port.transport
        hostAddress = port.hostAddress
        hostPort = port.hostPort
        self.vm = vm
    }

    /// The key of a port on `node`.
    package static func key(
        _ node: NodeID,
        _ transport: PortTransport,
        _ address: String,
        _ port: Int
    ) -> String { "\(node)/\(transport.rawValue)/\(address):\(port)" }
}
