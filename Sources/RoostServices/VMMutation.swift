import RoostAPI
import SwiftProtobuf

/// What every request that changes one VM has.
protocol VMMutation: Message {
    var id: String { get }
    var project: String { get }
    var etag: String { get }
    var validateOnly: Bool { get }
    var wait: Roost_Compute_V1_Wait.Until { get }
}

extension Roost_Compute_V1_StartVMRequest: VMMutation {}
extension Roost_Compute_V1_StopVMRequest: VMMutation {}
extension Roost_Compute_V1_RestartVMRequest: VMMutation {}
extension Roost_Compute_V1_RebootVMRequest: VMMutation {}
extension Roost_Compute_V1_KillVMRequest: VMMutation {}
extension Roost_Compute_V1_PauseVMRequest: VMMutation {}
extension Roost_Compute_V1_ResumeVMRequest: VMMutation {}
extension Roost_Compute_V1_SuspendVMRequest: VMMutation {}
extension Roost_Compute_V1_ForkVMRequest: VMMutation {}
extension Roost_Compute_V1_CloneVMRequest: VMMutation {}
extension Roost_Compute_V1_CreateTemplateRequest: VMMutation {}
extension Roost_Compute_V1_DeleteTemplateRequest: VMMutation {}
extension Roost_Compute_V1_CreateCheckpointRequest: VMMutation {}
extension Roost_Compute_V1_RevertVMRequest: VMMutation {}
extension Roost_Compute_V1_DeleteCheckpointRequest: VMMutation {}
extension Roost_Compute_V1_DeleteVMRequest: VMMutation {}
extension Roost_Compute_V1_UndeleteVMRequest: VMMutation {}
extension Roost_Compute_V1_PurgeVMRequest: VMMutation {}
extension Roost_Compute_V1_ResetVMStateRequest: VMMutation {}
