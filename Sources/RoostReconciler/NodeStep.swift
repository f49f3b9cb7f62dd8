import RoostModel

/// One thing that a node does to a VM. The whole vocabulary: there is no second way to change one.
package enum NodeStep: ReversibleStep {
    /// Make the directory with the root disk.
    case makeDisks
    /// Make the root disk as large as the spec says.
    case growDisk
    /// Start the VMM; its CPUs run afterwards.
    case startVMM
    /// Wait until the guest answers.
    case awaitGuest
    /// Ask the guest to power off; kill it after the grace.
    case shutDown(graceSeconds: Int)
    case killVMM
    case pauseVMM
    case resumeVMM
    case resetVMM
    /// Move the directory to the trash.
    case trashDisks
    /// Move it back.
    case untrashDisks
    /// Remove every byte.
    case purgeDisks

    package var name: String {
        switch self {
        case .makeDisks: "make-disks"
        case .growDisk: "grow-disk"
        case .startVMM: "start-vmm"
        case .awaitGuest: "await-guest"
        case .shutDown: "shut-down"
        case .killVMM: "kill-vmm"
        case .pauseVMM: "pause-vmm"
        case .resumeVMM: "resume-vmm"
        case .resetVMM: "reset-vmm"
        case .trashDisks: "trash-disks"
        case .untrashDisks: "untrash-disks"
        case .purgeDisks: "purge-disks"
        }
    }

    package var inverse: NodeStep? {
        switch self {
        case .makeDisks: .purgeDisks
        case .startVMM: .killVMM
        case .pauseVMM: .resumeVMM
        case .resumeVMM: .pauseVMM
        case .trashDisks: .untrashDisks
        case .untrashDisks: .trashDisks
        // A larger virtual disk holds the same bytes; waiting changes nothing.
        case .growDisk, .awaitGuest: nil
        // What the guest lost cannot be given back.
        case .shutDown, .killVMM, .resetVMM, .purgeDisks: nil
        }
    }

    package var isPointOfNoReturn: Bool {
        switch self {
        case .shutDown, .killVMM, .resetVMM, .purgeDisks: true
        case .makeDisks, .growDisk, .startVMM, .awaitGuest, .pauseVMM, .resumeVMM, .trashDisks,
            .untrashDisks:
            false
        }
    }
}
