package import RoostModel
import SwiftProtobuf

extension FleetState {
    /// What the API says, with every default filled in.
    ///
    /// - Throws: ``Reason/invalidFields`` for a value that the API does not have.
    package init(_ message: Roost_Fleet_V1_FleetState) throws(Fault) {
        self.init(name: message.name)
        if !message.project.isEmpty { project = message.project }
        for (index, group) in message.groups.enumerated() {
            do throws(Fault) {
                groups.append(try FleetGroup(group))
            } catch {
                // Each is told where it is: 200 groups may have a spec.memory.
                let field = "state.groups[\(index)]"
                let violations = error.violations.map {
                    FieldViolation("\(field).\($0.field)", $0.problem)
                }
                guard !violations.isEmpty else { throw error }
                throw .invalid(violations)
            }
        }
    }
}

extension FleetGroup {
    fileprivate init(_ message: Roost_Fleet_V1_FleetGroup) throws(Fault) {
        let request = Roost_Compute_V1_CreateVMRequest.with {
            $0.name = message.name
            $0.labels = message.labels
            $0.annotations = message.annotations
            $0.spec = message.spec
            $0.node = message.node
        }
        let runs: Bool
        switch message.power {
        case .unspecified, .running: runs = true
        case .stopped: runs = false
        case .UNRECOGNIZED(let number): throw .invalid("power", "\(number) is no power")
        }
        self.init(
            name: message.name,
            replicas: message.hasReplicas ? Int(message.replicas) : nil,
            draft: try VMDraft(request),
            runs: runs
        )
    }
}
