package import RoostModel

extension Roost_Compute_V1_VM.Power {
    /// The same power.
    package init(_ power: DesiredPower) {
        switch power {
        case .running: self = .running
        case .stopped: self = .stopped
        case .paused: self = .paused
        case .suspended: self = .suspended
        }
    }
}

extension Roost_Compute_V1_VMStatus.State {
    /// The same state.
    package init(_ state: VMState) {
        switch state {
        case .pending: self = .pending
        case .provisioning: self = .provisioning
        case .stopped: self = .stopped
        case .starting: self = .starting
        case .running: self = .running
        case .stopping: self = .stopping
        case .paused: self = .paused
        case .suspended: self = .suspended
        case .migrating: self = .migrating
        case .failed: self = .failed
        case .lost: self = .lost
        case .deleting: self = .deleting
        case .deleted: self = .deleted
        }
    }
}

extension VMState {
    /// The state that a request names.
    package init(_ state: Roost_Compute_V1_VMStatus.State) throws(Fault) {
        switch state {
        case .pending: self = .pending
        case .provisioning: self = .provisioning
        case .stopped: self = .stopped
        case .starting: self = .starting
        case .running: self = .running
        case .stopping: self = .stopping
        case .paused: self = .paused
        case .suspended: self = .suspended
        case .migrating: self = .migrating
        case .failed: self = .failed
        case .lost: self = .lost
        case .deleting: self = .deleting
        case .deleted: self = .deleted
        case .unspecified, .UNRECOGNIZED:
            throw .invalid("states", "\(state.rawValue) is no state")
        }
    }
}

extension NetworkMode {
    /// The mode that a request names; user-mode networking when it names none.
    package init(_ mode: Roost_Compute_V1_Network.Mode) throws(Fault) {
        switch mode {
        case .unspecified, .user: self = .user
        case .none: self = .none
        case .UNRECOGNIZED(let number): throw .invalid("spec.network.mode", "\(number) is no mode")
        }
    }
}

extension RestartMode {
    /// The mode that a request names; never when it names none.
    package init(_ mode: Roost_Compute_V1_Restart.Mode) throws(Fault) {
        switch mode {
        case .unspecified, .never: self = .never
        case .onFailure: self = .onFailure
        case .always: self = .always
        case .UNRECOGNIZED(let number): throw .invalid("spec.restart.mode", "\(number) is no mode")
        }
    }
}

extension PortTransport {
    /// The transport that a request names in `field`; TCP when it names none.
    package init(_ transport: Roost_Compute_V1_PublishedPort.Transport, field: String) throws(Fault)
    {
        switch transport {
        case .unspecified, .tcp: self = .tcp
        case .udp: self = .udp
        case .UNRECOGNIZED(let number): throw .invalid(field, "\(number) is no transport")
        }
    }
}

extension Roost_Compute_V1_PublishedPort.Transport {
    /// The same transport.
    package init(_ transport: PortTransport) {
        switch transport {
        case .tcp: self = .tcp
        case .udp: self = .udp
        }
    }
}
