/// What a node does to bring a VM to its assignment. Each is idempotent but for `reboot` and
/// `restart`, which the op id makes so.
package enum NodeAction: Sendable, Hashable, Codable {
    /// Make the disks; do not start.
    case provision
    /// Provision if needed, then run (or resume, when paused).
    case start
    /// Shut down through the guest, and kill after `graceSeconds`; 0 kills at once.
    case stop(graceSeconds: Int)
    /// Stop as above and start again, under one turn of the VM's queue.
    case restart(graceSeconds: Int)
    case reboot
    case pause
    case resume
    /// Write memory and devices to disk and end the process; a start brings it back.
    case suspend
    /// Keep memory, devices and disk of what runs as the fork of that name, and go on.
    case fork(OperationID)
    /// Begin as a copy of the fork of that name, with an identity of its own, and run.
    case become(OperationID)
    /// Forget the fork of that name: all copies of it that there will be are made.
    case release(OperationID)
    /// Keep disk, and memory and devices of what runs, as the checkpoint of that id, and go on.
    case checkpoint(CheckpointID)
    /// Be what the VM was at one of its checkpoints, in place.
    case revert(RevertOrder)
    /// Remove the checkpoint of that id.
    case forget(CheckpointID)
    /// Make the checkpoint the fork of that name, for copies to be made of.
    case branch(OperationID, CheckpointID)
    /// Keep the disk of what does not run as the fork of that name.
    case freeze(OperationID)
    /// Begin as a copy of a fork's disk; do not start.
    case derive(DeriveOrder)
    /// Kill if it runs, release everything, and put the disks in the trash.
    case discard
    /// Bring the disks back from the trash.
    case restore
    /// Kill if it runs, and remove every byte.
    case purge
}

extension NodeAction {
    /// An action without its numbers.
    package enum Kind: String, CaseIterable, Sendable {
        case provision
        case start
        case stop
        case restart
        case reboot
        case pause
        case resume
        case suspend
        case fork
        case become
        case release
        case checkpoint
        case revert
        case forget
        case branch
        case freeze
        case derive
        case discard
        case restore
        case purge

        /// Every way to ask for it that a plan tells apart.
        package var examples: [NodeAction] {
            switch self {
            case .provision: [.provision]
            case .start: [.start]
            case .stop: [.stop(graceSeconds: 30), .stop(graceSeconds: 0)]
            case .restart: [.restart(graceSeconds: 30), .restart(graceSeconds: 0)]
            case .reboot: [.reboot]
            case .pause: [.pause]
            case .resume: [.resume]
            case .suspend: [.suspend]
            case .fork: [.fork(OperationID(bits: 1))]
            case .become: [.become(OperationID(bits: 1))]
            case .release: [.release(OperationID(bits: 1))]
            case .checkpoint: [.checkpoint(CheckpointID(bits: 1))]
            case .revert:
                [true, false].map { hasMemory in
                    .revert(
                        RevertOrder(
                            checkpoint: CheckpointID(bits: 1),
                            hasMemory: hasMemory,
                            force: false
                        )
                    )
                }
            case .forget: [.forget(CheckpointID(bits: 1))]
            case .branch: [.branch(OperationID(bits: 1), CheckpointID(bits: 1))]
            case .freeze: [.freeze(OperationID(bits: 1))]
            case .derive:
                [
                    .derive(DeriveOrder(fork: OperationID(bits: 1), isWhole: false, seal: nil)),
                    .derive(DeriveOrder(fork: OperationID(bits: 1), isWhole: true, seal: nil)),
                    .derive(
                        DeriveOrder(
                            fork: OperationID(bits: 1),
                            isWhole: false,
                            seal: CheckpointID(bits: 1)
                        )
                    ),
                ]
            case .discard: [.discard]
            case .restore: [.restore]
            case .purge: [.purge]
            }
        }
    }

    /// Every action there is, for tables and tests: a new one is in it or does not compile.
    package static var examples: [NodeAction] { Kind.allCases.flatMap(\.examples) }

    package var kind: Kind {
        switch self {
        case .provision: .provision
        case .start: .start
        case .stop: .stop
        case .restart: .restart
        case .reboot: .reboot
        case .pause: .pause
        case .resume: .resume
        case .suspend: .suspend
        case .fork: .fork
        case .become: .become
        case .release: .release
        case .checkpoint: .checkpoint
        case .revert: .revert
        case .forget: .forget
        case .branch: .branch
        case .freeze: .freeze
        case .derive: .derive
        case .discard: .discard
        case .restore: .restore
        case .purge: .purge
        }
    }

    /// The action without its numbers, for logs and journals.
    package var name: String { kind.rawValue }

    /// The fork that it makes, needs or forgets.
    package var forkName: OperationID? {
        switch self {
        case .fork(let name), .become(let name), .release(let name), .branch(let name, _),
            .freeze(let name):
            name
        case .derive(let order): order.fork
        case .provision, .start, .stop, .restart, .reboot, .pause, .resume, .suspend, .checkpoint,
            .revert, .forget, .discard, .restore, .purge:
            nil
        }
    }

    /// Whether doing it twice differs from doing it once, so that only the journal makes it exact.
    package var isOneShot: Bool {
        switch self {
        case .restart, .reboot, .fork, .release, .checkpoint, .revert, .forget, .branch, .freeze:
            true
        case .provision, .start, .stop, .pause, .resume, .suspend, .become, .derive, .discard,
            .restore, .purge:
            false
        }
    }
}
