package import RoostModel
package import RoostStore

/// The events of one commit, written by that commit: what happened and that it happened are durable
/// together, and the commit's revision is their place in the order.
package struct EventRow: Row {
    package static let table = "events"

    /// Begins with the time, so that the oldest come first, and never comes again.
    package var key: String
    package var at: Timestamp
    /// In order; never empty.
    package var events: [Event]

    /// None: each would cost every commit, and few ask for one thing's events among many.
    package var indexes: [IndexEntry] { [] }
}

/// One thing that happened.
package struct Event: Hashable, Sendable, Codable {
    /// What kind of thing.
    package enum Kind: String, CaseIterable, Sendable, Codable {
        /// A VM came into another state.
        case vmState = "VM_STATE"
        /// A VM is gone with everything it had.
        case vmGone = "VM_GONE"
        /// A node is heard of or not, takes VMs or not, joined or left.
        case nodeState = "NODE_STATE"
        /// An operation was accepted, or has ended.
        case operationState = "OPERATION_STATE"
        /// A fleet's state was published.
        case fleetPublished = "FLEET_PUBLISHED"
    }

    /// What it is about.
    package struct Subject: Hashable, Sendable, Codable {
        /// What kind of thing that is.
        package enum Kind: String, Sendable, Codable {
            case vm
            case node
            case fleet
            // In the audit trail alone.
            case token
            case image
            case kernel
            case registry
            case operation
        }

        package var kind: Kind
        /// Its id; a fleet has its name.
        package var id: String
        /// Its name then.
        package var name: String
        /// `nil` for what belongs to none, such as a node.
        package var project: String?

        package init(kind: Kind, id: String, name: String, project: String? = nil) {
            self.kind = kind
            self.id = id
            self.name = name
            self.project = project
        }
    }

    package var kind: Kind
    package var subject: Subject
    /// The state before; `nil`: there was none, or nobody knows.
    package var from: String?
    /// The state now.
    package var to: String
    /// For people.
    package var reason: String
    /// What was asked that led to it; `nil`: nobody asked.
    package var operation: OperationID?
    /// Of an operation or a publication: who asked.
    package var principal: String?
    /// Of an operation: the call.
    package var method: String?
}

/// One event in its place.
package struct PlacedEvent: Hashable, Sendable {
    package var event: Event
    /// When, by the control plane's clock.
    package var at: Timestamp
    /// The commit's.
    package var revision: Revision
    /// Which of the commit's events it is, from 1.
    package var ordinal: Int

    /// Unique, and rises: by revision, then by ordinal.
    package var id: String { "\(revision.number).\(ordinal)" }
}

extension Versioned<EventRow> {
    /// The commit's events in their places.
    package var placed: [PlacedEvent] {
        row.events.enumerated().map { index, event in
            PlacedEvent(event: event, at: row.at, revision: version, ordinal: index + 1)
        }
    }
}

/// Which events are meant. Empty: whatever there is for the asker.
package struct EventFilter: Hashable, Sendable {
    package var kinds: Set<Event.Kind>
    /// A VM's name, id, or the beginning of one.
    package var vm: String
    /// A node's name, id, or the beginning of one.
    package var node: String
    /// An op id, or its last six characters or more.
    package var operation: String
    /// Only of this project; empty: of any.
    package var project: String
    /// The project that the asker is confined to: no event of another one, nor of the fleet as a whole,
    /// is there then. `nil`: none.
    package var confinedTo: String?

    package init(
        kinds: Set<Event.Kind> = [],
        vm: String = "",
        node: String = "",
        operation: String = "",
        project: String = "",
        confinedTo: String? = nil
    ) {
        self.kinds = kinds
        self.vm = vm
        self.node = node
        self.operation = operation
        self.project = project
        self.confinedTo = confinedTo
    }

    /// Whether `event` is meant.
    package func admits(_ event: Event) -> Bool {
        let its = event.subject.project
        // What belongs to no project is for who is confined to none.
        if let confinedTo, its != confinedTo { return false }
        guard project.isEmpty || its == project else { return false }
        guard kinds.isEmpty || kinds.contains(event.kind) else { return false }
        guard vm.isEmpty || means(vm, .vm, event.subject) else { return false }
        guard node.isEmpty || means(node, .node, event.subject) else { return false }
        guard operation.isEmpty else {
            return event.operation?.description.hasSuffix(operation) ?? false
        }
        return true
    }

    private func means(
        _ text: String,
        _ kind: Event.Subject.Kind,
        _ subject: Event.Subject
    ) -> Bool {
        guard subject.kind == kind else { return false }
        return subject.name == text || (text.utf8.count >= 4 && subject.id.hasPrefix(text))
    }
}
