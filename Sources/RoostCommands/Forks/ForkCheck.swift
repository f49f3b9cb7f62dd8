internal import GRPCCore
internal import RoostAPI
internal import RoostModel
internal import SwiftProtobuf

/// Looks into a VM and its copies whether each is a machine of its own: by a command in each, not by
/// the word of anybody who has made them.
struct ForkCheck: Sendable {
    let daemon: Daemon
    let project: String
    let operation: OpTicket

    /// What a guest's shell prints: a word for each thing that no two machines may share, and the
    /// thing. Images need not have all of them.
    private static let script = """
        r() { [ -r "$2" ] && echo "$1 $(cat "$2")"; }
        r random /proc/sys/kernel/random/uuid
        r machine-id /etc/machine-id
        r host-name /proc/sys/kernel/hostname
        for d in /sys/class/net/*; do [ -e "$d/device" ] && r ethernet-address "$d/address"; done
        for k in /etc/ssh/ssh_host_*_key.pub; do r "$(basename "$k")" "$k"; done
        :
        """
    /// The most that a guest may say.
    private static let limit = 64 << 10

    /// Looks into all of them and returns how many they are.
    ///
    /// - Throws: ``Reason/identityShared`` naming what two of them share, and what a command in a
    ///   guest can throw.
    func run(_ vms: [String]) async throws -> Int {
        var owners: [String: String] = [:]
        for vm in vms {
            let facts = try await facts(of: vm)
            guard facts.contains(where: { $0.hasPrefix("random ") }) else {
                throw Fault(.guestUnreachable, "\(shown(vm)) did not say who it is")
            }
            for fact in facts {
                if let other = owners.updateValue(vm, forKey: fact), other != vm {
                    throw Fault(
                        .identityShared,
                        "\(shown(other)) and \(shown(vm)) have the same \(shown(fact))",
                        metadata: ["vm": vm]
                    )
                }
            }
        }
        return vms.count
    }

    /// The lines that the guest says.
    private func facts(of vm: String) async throws -> [String] {
        let session = operation.child("verify \(vm)")
        let start = Roost_Compute_V1_ExecStart.with {
            $0.id = vm
            $0.project = project
            $0.session = session.description
            $0.arguments = ["/bin/sh", "-c", Self.script]
            $0.killOnDetach = true
            $0.timeoutSeconds = 60
        }
        let request = StreamingClientRequest<Roost_Compute_V1_ExecRequest>(
            metadata: metadata(session)
        ) { writer in
            try await writer.write(.with { $0.start = start })
            // The stream stays open until the command ends; ending it here would detach from it.
            try await Task.sleep(for: .seconds(1 << 30))
        }
        let said = try await daemon.guests.exec(request: request) { response in
            var bytes: [UInt8] = []
            for try await message in response.messages {
                switch message.message {
                case .stdout(let data):
                    bytes += data
                    guard bytes.count <= Self.limit else {
                        throw Fault(.limitExceeded, "\(shown(vm)) says over \(Self.limit) bytes")
                    }
                case .exit: return bytes
                case .started, .stderr, nil: continue
                }
            }
            throw Fault(.guestUnreachable, "the stream of \(shown(vm)) ended before its command")
        }
        return String(decoding: said, as: UTF8.self).split(separator: "\n").map(String.init)
    }
}
