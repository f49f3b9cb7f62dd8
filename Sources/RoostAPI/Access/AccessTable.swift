internal import RoostModel

/// Who may call which method: one row for every method of proto/, by `service/method`.
///
/// A method without a row is refused to everybody, and fails a test. docs/METHODS.md is printed from it.
package let accessTable: [String: AccessRule] = {
    var table: [String: AccessRule] = [:]
    for (service, rule, methods) in accessRows {
        for method in methods.split(separator: " ") { table["\(service)/\(method)"] = rule }
    }
    return table
}()

private let compute = "roost.compute.v1."
private let fleet = "roost.fleet.v1."
private let ops = "roost.ops.v1."
private let image = "roost.image.v1.ImageService"
private let node = "roost.node.v1."

/// The table's rows: a service, a rule, and the methods that it holds for.
let accessRows: [(service: String, rule: AccessRule, methods: String)] = [
    (compute + "VMService", .role(.viewer, .project), "GetVM ListVMs WatchVMs"),
    (
        compute + "VMService", .role(.operator, .project),
        """
        CreateVM UpdateVM StartVM StopVM RestartVM RebootVM KillVM PauseVM ResumeVM SuspendVM \
        ForkVM CloneVM DeleteVM UndeleteVM PurgeVM ResetVMState
        """
    ),
    (compute + "CheckpointService", .role(.viewer, .project), "ListCheckpoints"),
    (
        compute + "CheckpointService", .role(.operator, .project),
        "CreateCheckpoint RevertVM DeleteCheckpoint"
    ),
    (compute + "TemplateService", .role(.viewer, .project), "GetTemplate ListTemplates"),
    (compute + "TemplateService", .role(.operator, .project), "CreateTemplate DeleteTemplate"),
    (compute + "GuestService", .role(.viewer, .project), "ReadLog GetGuestStatus WaitVM"),
    // A guest's files are its owner's secrets: who looks into it could as well change it.
    (compute + "GuestService", .role(.operator, .project), "Exec CopyIn CopyOut Stat"),
    (image, .role(.viewer, .shared), "ListImages GetImage ListKernels"),
    // A tag that moves, moves for every project.
    (image, .role(.operator, .fleet), "PullImage DeleteImage DeleteKernel SetDefault"),
    // What they read lies on the daemon's host; a registry's password is the daemon's.
    (image, .role(.admin, .fleet), "ImportImage ImportKernel LogIn LogOut"),
    (fleet + "NodeService", .role(.viewer, .fleet), "ListNodes GetNode"),
    (
        fleet + "NodeService", .role(.admin, .fleet),
        "CordonNode DrainNode UncordonNode SetNodeLabels SetNodeTaints"
    ),
    (fleet + "DesiredStateService", .role(.viewer, .project), "PlanState GetState ListStates"),
    (fleet + "DesiredStateService", .role(.operator, .project), "PublishState"),
    (
        fleet + "JoinTokenService", .role(.admin, .fleet),
        "CreateJoinToken ListJoinTokens DeleteJoinToken RemoveNode"
    ),
    (fleet + "AccessService", .role(.viewer, .shared), "GetCaller GetAuthority"),
    (
        fleet + "AccessService", .role(.admin, .fleet),
        "CreateAccessToken ListAccessTokens DeleteAccessToken"
    ),
    (fleet + "MembershipService", .member, "Join Register Heartbeat RenewCertificate"),
    (ops + "ExplainService", .role(.viewer, .project), "ExplainVM"),
    (ops + "ExplainService", .role(.viewer, .fleet), "WhatIf RecommendMoves"),
    (ops + "UsageService", .role(.viewer, .fleet), "GetUsage"),
    // What was run in guests is in it, of every project.
    (ops + "AuditService", .role(.admin, .fleet), "ListAudit"),
    // Of nodes, and of other projects, who is confined to one is told nothing.
    (ops + "EventService", .role(.viewer, .project), "ListEvents WatchEvents"),
    (
        ops + "OperationService", .role(.viewer, .project),
        "GetOperation ListOperations WaitOperation"
    ),
    (ops + "OperationService", .role(.operator, .project), "CancelOperation"),
    (ops + "DaemonService", .role(.viewer, .shared), "GetInfo"),
    (ops + "DaemonService", .role(.viewer, .fleet), "RunDoctor"),
    (ops + "DaemonService", .role(.admin, .fleet), "Shutdown ScanLeaks"),
    // For the user of a daemon that is its own control plane; a fleet's nodes serve it to members.
    (
        node + "NodeDaemonService", .role(.admin, .fleet),
        """
        HealthCheck GetNodeInfo CreateVM StartVM StopVM ForceStopVM RebootVM PauseVM ResumeVM DeleteVM
        """
    ),
    (
        node + "NodeLinkService", .member,
        """
        Apply Preempt Inspect GetAssignment Observe GetChanges GetUsage Resolve ReadLog \
        GetGuestStatus Exec Copy
        """
    ),
    ("grpc.health.v1.Health", .anybody, "Check Watch"),
    ("grpc.reflection.v1.ServerReflection", .role(.viewer, .shared), "ServerReflectionInfo"),
    ("grpc.reflection.v1alpha.ServerReflection", .role(.viewer, .shared), "ServerReflectionInfo"),
]
