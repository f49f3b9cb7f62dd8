package import RoostModel

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
    /// Write memory and devices beside the disks, and end the VMM.
    case saveVMM
    /// Start the VMM from what was written, which is used up by that.
    case restoreVMM
    /// Forget what was written: the next start boots.
    case dropSaved
    /// Make the directory with a root disk over the template's.
    case copyTemplate
    /// Start the VMM from the template's memory.
    case startCopy
    /// Make the copy a machine of its own: entropy, machine-id, host name, clock.
    case renewGuest
    /// Tell the guest that its memory was kept for a while: generation, fresh random numbers, clock.
    case freshenGuest
    /// Keep memory, devices and disk as a fork; the VM goes on in another process.
    case forkVMM(OperationID)
    /// Make the directory anew with a root disk over the fork's.
    case copyFork(OperationID)
    /// Start the VMM from the fork's memory.
    case startFork(OperationID)
    /// Remove the fork; copies of it run on.
    case dropFork(OperationID)
    /// Keep the VM as it is now as a checkpoint; what runs goes on in another process.
    case keepCheckpoint(CheckpointID)
    /// Remove a checkpoint; what others need of it stays.
    case dropCheckpoint(CheckpointID)
    /// Give a checkpoint the further name of a fork.
    case lendCheckpoint(OperationID, CheckpointID)
    /// Keep the disk of a VM that does not run as a fork; what it writes later lies over that.
    case freezeDisk(OperationID)
    /// Make the directory anew with a root disk that has every byte of the fork's.
    case copyWhole(OperationID)
    /// Keep the fork as a checkpoint of this VM too: what copies of a template begin from.
    case sealCopy(OperationID, CheckpointID)
    /// Put disk and, if it has one, memory of a checkpoint in the place of the VM's, whose guest then
    /// gets fresh random numbers and the time, and goes on.
    case goBack(RevertOrder)
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
        case .saveVMM: "save-vmm"
        case .restoreVMM: "restore-vmm"
        case .dropSaved: "drop-saved"
        case .copyTemplate: "copy-template"
        case .startCopy: "start-copy"
        case .renewGuest: "renew-guest"
        case .freshenGuest: "freshen-guest"
        case .forkVMM: "fork-vmm"
        case .copyFork: "copy-fork"
        case .startFork: "start-fork"
        case .dropFork: "drop-fork"
        case .keepCheckpoint: "keep-checkpoint"
        case .dropCheckpoint: "drop-checkpoint"
        case .lendCheckpoint: "lend-checkpoint"
        case .freezeDisk: "freeze-disk"
        case .copyWhole: "copy-whole"
        case .sealCopy: "seal-copy"
        case .goBack: "go-back"
        case .trashDisks: "trash-disks"
        case .untrashDisks: "untrash-disks"
        case .purgeDisks: "purge-disks"
        }
    }

    package var inverse: NodeStep? {
        switch self {
        case .makeDisks, .copyTemplate, .copyFork, .copyWhole: .purgeDisks
        case .startVMM, .startCopy, .startFork: .killVMM
        case .forkVMM(let fork), .lendCheckpoint(let fork, _), .freezeDisk(let fork):
            .dropFork(fork)
        case .keepCheckpoint(let id), .sealCopy(_, let id): .dropCheckpoint(id)
        // What was written is used up by the restoring: it is written again.
        case .restoreVMM: .saveVMM
        case .pauseVMM: .resumeVMM
        case .resumeVMM: .pauseVMM
        case .trashDisks: .untrashDisks
        case .untrashDisks: .trashDisks
        // A larger virtual disk holds the same bytes; waiting changes nothing.
        case .growDisk, .awaitGuest, .freshenGuest: nil
        // What the guest lost cannot be given back.
        case .shutDown, .killVMM, .resetVMM, .purgeDisks, .dropSaved, .renewGuest, .dropFork,
            .dropCheckpoint:
            nil
        // All of it or nothing; once it is done, what was there before is gone.
        case .goBack: nil
        // Whole or not at all; and once it is, the VM is what was asked for.
        case .saveVMM: nil
        }
    }

    package var isPointOfNoReturn: Bool {
        switch self {
        case .shutDown, .killVMM, .resetVMM, .purgeDisks, .dropSaved, .saveVMM, .renewGuest,
            .dropFork, .dropCheckpoint, .goBack:
            true
        case .makeDisks, .growDisk, .startVMM, .awaitGuest, .freshenGuest, .pauseVMM, .resumeVMM,
            .restoreVMM, .copyTemplate, .startCopy, .forkVMM, .copyFork, .startFork, .trashDisks,
            .untrashDisks, .keepCheckpoint, .lendCheckpoint, .freezeDisk, .copyWhole, .sealCopy:
            false
        }
    }
}
