/// The catalogue of everything that can go wrong: a stable name, a code and a remedy each.
///
/// A remedy is a sentence with a command a person can type. `{key}` is filled in from the
/// fault's metadata. The table below is the one copy; `docs/ERRORS.md` is printed from it.
package enum Reason: String, CaseIterable, Sendable, Codable {
    // Requests
    case invalidFields = "INVALID_FIELDS"
    case malformedRequest = "MALFORMED_REQUEST"
    case requestTooLarge = "REQUEST_TOO_LARGE"
    case unknownMethod = "UNKNOWN_METHOD"
    case opIDInvalid = "OP_ID_INVALID"
    case opIDReused = "OP_ID_REUSED"
    case opIDExpired = "OP_ID_EXPIRED"
    case opInProgress = "OP_IN_PROGRESS"
    case opCancelled = "OP_CANCELLED"
    case unauthenticated = "UNAUTHENTICATED"
    case permissionDenied = "PERMISSION_DENIED"
    case foreignOrigin = "FOREIGN_ORIGIN"
    // Things that are not there, or are there already
    case vmNotFound = "VM_NOT_FOUND"
    case imageNotFound = "IMAGE_NOT_FOUND"
    case kernelNotFound = "KERNEL_NOT_FOUND"
    case nodeNotFound = "NODE_NOT_FOUND"
    case fleetNotFound = "FLEET_NOT_FOUND"
    case operationNotFound = "OPERATION_NOT_FOUND"
    case sessionNotFound = "SESSION_NOT_FOUND"
    case contextNotFound = "CONTEXT_NOT_FOUND"
    case pathNotFound = "PATH_NOT_FOUND"
    case checkpointNotFound = "CHECKPOINT_NOT_FOUND"
    case templateNotFound = "TEMPLATE_NOT_FOUND"
    case ambiguousCheckpoint = "AMBIGUOUS_CHECKPOINT"
    case ambiguousName = "AMBIGUOUS_NAME"
    case nameTaken = "NAME_TAKEN"
    case contextExists = "CONTEXT_EXISTS"
    case portTaken = "PORT_TAKEN"
    // States
    case wrongState = "WRONG_STATE"
    case needsForce = "NEEDS_FORCE"
    case needsStopped = "NEEDS_STOPPED"
    case staleEtag = "STALE_ETAG"
    case storeConflict = "STORE_CONFLICT"
    case staleGeneration = "STALE_GENERATION"
    case generationReused = "GENERATION_REUSED"
    case stalePlan = "STALE_PLAN"
    case nodeDraining = "NODE_DRAINING"
    case staleEpoch = "STALE_EPOCH"
    case inUse = "IN_USE"
    case revisionCompacted = "REVISION_COMPACTED"
    case watchTooSlow = "WATCH_TOO_SLOW"
    // Room
    case noCapacity = "NO_CAPACITY"
    case noNodeFits = "NO_NODE_FITS"
    case diskFull = "DISK_FULL"
    case memoryFull = "MEMORY_FULL"
    case limitExceeded = "LIMIT_EXCEEDED"
    // Peers and processes
    case nodeUnreachable = "NODE_UNREACHABLE"
    case registryUnreachable = "REGISTRY_UNREACHABLE"
    case registryDenied = "REGISTRY_DENIED"
    case registryInvalid = "REGISTRY_INVALID"
    case daemonUnreachable = "DAEMON_UNREACHABLE"
    case daemonBusy = "DAEMON_BUSY"
    case shuttingDown = "SHUTTING_DOWN"
    case stateDirectoryLocked = "STATE_DIRECTORY_LOCKED"
    case socketInUse = "SOCKET_IN_USE"
    case socketPathTooLong = "SOCKET_PATH_TOO_LONG"
    case vmmMissing = "VMM_MISSING"
    case vmmFailed = "VMM_FAILED"
    case driverMissing = "DRIVER_MISSING"
    case bootTimeout = "BOOT_TIMEOUT"
    case guestUnreachable = "GUEST_UNREACHABLE"
    case guestProtocol = "GUEST_PROTOCOL"
    case hookFailed = "HOOK_FAILED"
    case commandNotFound = "COMMAND_NOT_FOUND"
    case deadline = "DEADLINE"
    case storeUnreachable = "STORE_UNREACHABLE"
    case storeRefused = "STORE_REFUSED"
    // The fleet
    case joinTokenInvalid = "JOIN_TOKEN_INVALID"
    case joinTokenExpired = "JOIN_TOKEN_EXPIRED"
    case joinTokenUsedUp = "JOIN_TOKEN_USED_UP"
    case accessTokenInvalid = "ACCESS_TOKEN_INVALID"
    case accessTokenExpired = "ACCESS_TOKEN_EXPIRED"
    case accessTokenNotFound = "ACCESS_TOKEN_NOT_FOUND"
    case notThisNode = "NOT_THIS_NODE"
    case nodeRemoved = "NODE_REMOVED"
    case controlUnreachable = "CONTROL_UNREACHABLE"
    // Who is asked
    case sessionTakenOver = "SESSION_TAKEN_OVER"
    case contextUnreachable = "CONTEXT_UNREACHABLE"
    case contextsUnreadable = "CONTEXTS_UNREADABLE"
    // Bytes
    case archiveInvalid = "ARCHIVE_INVALID"
    case imageInvalid = "IMAGE_INVALID"
    case kernelInvalid = "KERNEL_INVALID"
    case digestMismatch = "DIGEST_MISMATCH"
    case stateUnreadable = "STATE_UNREADABLE"
    case savedStateDamaged = "SAVED_STATE_DAMAGED"
    case checkpointDamaged = "CHECKPOINT_DAMAGED"
    case shapeDiffers = "SHAPE_DIFFERS"
    case identityShared = "IDENTITY_SHARED"
    case ioFailed = "IO_FAILED"
    // The rest
    case unsupported = "UNSUPPORTED"
    case hostNotReady = "HOST_NOT_READY"
    case bug = "INTERNAL"

    /// The code that transports say.
    package var code: Fault.Code { entry.code }
    /// The remedy, with `{key}` where the fault's metadata goes.
    package var remedy: String { entry.remedy }

    /// The remedy for a VM that is in `state`, where that leads further than ``remedy`` does.
    package func remedy(in state: VMState) -> String? {
        switch (self, state) {
        case (.wrongState, .suspended), (.needsStopped, .suspended):
            "start it first: roost start {vm}, or drop its memory: roost kill {vm}"
        case (.wrongState, .paused): "let it go on first: roost resume {vm}"
        case (.wrongState, .stopped), (.wrongState, .failed): "start it first: roost start {vm}"
        default: nil
        }
    }

    // Statements, not one switch expression: its type check took minutes.
    private var entry: Entry {
        switch self {
        case .invalidFields:
            return Entry(.invalidArgument, "correct the named fields and send the request again")
        case .malformedRequest:
            return Entry(
                .invalidArgument,
                "send a well-formed JSON object or protobuf message; see proto/"
            )
        case .requestTooLarge:
            return Entry(.resourceExhausted, "send a body under 4 MiB")
        case .unknownMethod:
            return Entry(
                .unimplemented,
                "check the path: POST /roost.compute.v1.VMService/CreateVM is one"
            )
        case .opIDInvalid:
            return Entry(
                .invalidArgument,
                "send op- and 26 base32 characters in roost-op-id, or leave it out"
            )
        case .opIDReused:
            return Entry(.alreadyExists, "send a new op id: this one belongs to another request")
        case .opIDExpired:
            return Entry(
                .failedPrecondition,
                "read the object (roost get) and send a new op id if needed"
            )
        case .opInProgress:
            return Entry(.aborted, "wait for it: roost ops wait {op}")
        case .opCancelled:
            return Entry(.canceled, "look at what pre-empted it: roost ops ls")
        case .unauthenticated:
            return Entry(.unauthenticated, "use the Unix socket of the same user, or send a token")
        case .permissionDenied:
            return Entry(
                .permissionDenied,
                "ask for a role that allows it, or use the owner's account"
            )
        case .foreignOrigin:
            return Entry(
                .permissionDenied,
                "call it by its own address: http://127.0.0.1:8080, from no other page"
            )
        case .vmNotFound: return Entry(.notFound, "list the VMs: roost ls -a")
        case .imageNotFound: return Entry(.notFound, "list the images: roost image ls")
        case .kernelNotFound: return Entry(.notFound, "list the kernels: roost kernel ls")
        case .nodeNotFound: return Entry(.notFound, "list the nodes: roost node ls")
        case .fleetNotFound: return Entry(.notFound, "list the fleets: roost status")
        case .operationNotFound: return Entry(.notFound, "list the operations: roost ops ls")
        case .sessionNotFound:
            return Entry(.notFound, "start the command again: roost exec VM -- CMD")
        case .sessionTakenOver:
            return Entry(
                .aborted,
                "nothing to do: the command goes on with its new reader; the same op id attaches again"
            )
        case .contextNotFound: return Entry(.notFound, "list the contexts: roost context ls")
        case .contextExists:
            return Entry(
                .alreadyExists,
                "choose another name, or remove it: roost context rm {name}"
            )
        case .contextUnreachable:
            return Entry(
                .unavailable,
                "start the daemon where it runs, or go back: roost context use default"
            )
        case .contextsUnreadable:
            return Entry(
                .dataLoss,
                "it was left as it is: correct it or move it away: mv {path} {path}.old"
            )
        case .pathNotFound: return Entry(.notFound, "check the path: roost exec VM -- ls -la DIR")
        case .checkpointNotFound:
            return Entry(.notFound, "list the checkpoints: roost log {vm}")
        case .templateNotFound:
            return Entry(.notFound, "see which there are: roost template ls")
        case .ambiguousCheckpoint:
            return Entry(.invalidArgument, "type more of its id: roost log {vm} -o wide")
        case .ambiguousName:
            return Entry(.invalidArgument, "type more of the id: roost ls -o json shows it whole")
        case .nameTaken:
            return Entry(.alreadyExists, "choose another name, or remove it: roost rm {name}")
        case .portTaken:
            return Entry(.alreadyExists, "publish another host port, for example -p 0:80")
        case .wrongState: return Entry(.failedPrecondition, "look at the VM: roost get {vm}")
        case .needsForce:
            return Entry(.failedPrecondition, "stop it first: roost stop {vm}, or use --force")
        case .needsStopped: return Entry(.failedPrecondition, "stop it first: roost stop {vm}")
        case .staleEtag:
            return Entry(.aborted, "read it again: roost get {vm} -o json, and send its etag")
        case .staleGeneration:
            return Entry(.aborted, "look at what was published since: roost status {fleet} -o json")
        case .generationReused:
            return Entry(.alreadyExists, "publish it under a higher number than {generation}")
        case .stalePlan:
            return Entry(.aborted, "plan again and apply with the new token: roost plan -f FILE")
        case .nodeDraining:
            return Entry(.failedPrecondition, "end the drain first: roost node uncordon {node}")
        case .storeConflict: return Entry(.aborted, "send the same request again")
        case .staleEpoch:
            return Entry(.aborted, "nothing to do: a newer control plane has taken over")
        case .inUse: return Entry(.failedPrecondition, "remove what uses it first: {users}")
        case .revisionCompacted:
            return Entry(.outOfRange, "list again and watch from the list's revision")
        case .watchTooSlow:
            return Entry(
                .aborted,
                "read what is sent as it comes, and go on after the last revision that was read"
            )
        case .noCapacity:
            return Entry(.resourceExhausted, "ask for less, or free some: roost ls, roost rm")
        case .noNodeFits:
            return Entry(.failedPrecondition, "{change}, then send the request again")
        case .diskFull:
            return Entry(.resourceExhausted, "free space under {path}: roost purge --all")
        case .memoryFull: return Entry(.resourceExhausted, "stop a VM or ask for less memory (-m)")
        case .limitExceeded:
            return Entry(.resourceExhausted, "stay under the limit that the message names")
        case .nodeUnreachable:
            return Entry(.unavailable, "retry with the same op id: roost --op-id {op} …")
        case .registryUnreachable:
            return Entry(.unavailable, "check name, network and proxy, then: roost pull {image}")
        case .registryDenied: return Entry(.permissionDenied, "log in: roost login {registry}")
        case .registryInvalid:
            return Entry(.unavailable, "the registry is at fault; try later: roost pull {image}")
        case .daemonUnreachable: return Entry(.unavailable, "start it: roost daemon start")
        case .daemonBusy:
            return Entry(.failedPrecondition, "end what runs, then: roost daemon stop")
        case .shuttingDown: return Entry(.unavailable, "retry in a moment with the same op id")
        case .stateDirectoryLocked:
            return Entry(
                .failedPrecondition,
                "stop the daemon that holds it (pid {pid}), or set ROOST_STATE_DIR"
            )
        case .socketInUse:
            return Entry(
                .failedPrecondition,
                "stop the daemon that listens there, or set ROOST_SOCKET"
            )
        case .socketPathTooLong:
            return Entry(
                .invalidArgument,
                "choose a path under 104 bytes: ROOST_SOCKET=/tmp/roost.sock"
            )
        case .vmmMissing:
            return Entry(
                .failedPrecondition,
                "install it: apt-get install qemu-system-x86 qemu-utils"
            )
        case .vmmFailed:
            return Entry(.internalError, "read the VMM's last words: roost logs {vm} --source vmm")
        case .driverMissing: return Entry(.failedPrecondition, "choose one of: qemu, simulated")
        case .bootTimeout:
            return Entry(.deadlineExceeded, "read the console: roost logs {vm} --source console")
        case .guestUnreachable:
            return Entry(.unavailable, "look at the guest: roost logs {vm} --source console")
        case .guestProtocol:
            return Entry(
                .internalError,
                "restart the VM: roost restart {vm}; its agent spoke nonsense"
            )
        case .hookFailed:
            return Entry(
                .failedPrecondition,
                "correct the hook in /etc/roost/on-fork.d of what is copied, then copy it again"
            )
        case .commandNotFound:
            return Entry(
                .notFound,
                "check the command's name and the guest's PATH: roost exec VM -- ls /bin"
            )
        case .deadline:
            return Entry(.deadlineExceeded, "it may still be running: roost ops get {op}")
        case .storeUnreachable:
            return Entry(
                .unavailable,
                "start PostgreSQL, or look at the way to it: pg_isready -d '{store}'"
            )
        case .storeRefused: return Entry(.failedPrecondition, "{fix}")
        case .joinTokenInvalid:
            return Entry(
                .unauthenticated,
                "make one where the control plane runs: roost token create"
            )
        case .joinTokenExpired:
            return Entry(.unauthenticated, "make a new one: roost token create --ttl 1h")
        case .joinTokenUsedUp:
            return Entry(.unauthenticated, "make a new one: roost token create --uses 3")
        case .accessTokenInvalid:
            return Entry(
                .unauthenticated,
                "have one made where the control plane runs: roost access create --role operator"
            )
        case .accessTokenExpired:
            return Entry(
                .unauthenticated,
                "have a new one made where the control plane runs: roost access create --ttl 30d"
            )
        case .accessTokenNotFound:
            return Entry(.notFound, "list the access tokens: roost access ls")
        case .notThisNode:
            return Entry(
                .permissionDenied,
                "a certificate speaks for its own node only; to give the id up: roost node rm {node}"
            )
        case .nodeRemoved:
            return Entry(
                .failedPrecondition,
                "join again with a state directory of its own: roost token create"
            )
        case .controlUnreachable:
            return Entry(.unavailable, "look at the control plane, and the way to it: {control}")
        case .archiveInvalid:
            return Entry(.invalidArgument, "make the archive again: tar --numeric-owner -cf")
        case .imageInvalid:
            return Entry(
                .invalidArgument,
                "import a root file system: roost image import NAME --rootfs DIR"
            )
        case .kernelInvalid:
            return Entry(
                .invalidArgument,
                "import a Debian linux-image package: roost kernel import FILE.deb"
            )
        case .digestMismatch: return Entry(.dataLoss, "remove it and import it again")
        case .stateUnreadable:
            return Entry(.dataLoss, "it was set aside, not deleted: look at {path}")
        case .savedStateDamaged:
            return Entry(.dataLoss, "look at {path}; the saved memory cannot be used, the disk can")
        case .checkpointDamaged:
            return Entry(
                .dataLoss,
                "nothing was changed; go back to another one: roost log {vm}; look at {path}"
            )
        case .shapeDiffers:
            return Entry(
                .failedPrecondition,
                "put back what the message names, or start from the disk alone"
            )
        case .identityShared:
            return Entry(
                .internalError,
                "do not use the copies: roost rm -f --purge {vm}; report it with the op id"
            )
        case .ioFailed:
            return Entry(.unavailable, "check the disk and the permissions: roost doctor")
        case .unsupported: return Entry(.unimplemented, "see what this host can do: roost doctor")
        case .hostNotReady: return Entry(.failedPrecondition, "see what is missing: roost doctor")
        case .bug:
            return Entry(.internalError, "report it with the op id and: roost ops get {op} -o json")
        }
    }
}

/// One row of the catalogue.
private struct Entry {
    let code: Fault.Code
    let remedy: String

    init(_ code: Fault.Code, _ remedy: String) {
        self.code = code
        self.remedy = remedy
    }
}
