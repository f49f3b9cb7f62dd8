internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostLinux
internal import RoostModel
internal import SwiftProtobuf

/// Things whose names a shell completes by asking the daemon.
///
/// A person waits between two keys: a daemon is never started for it, it has ``patience`` to answer,
/// and whatever goes wrong is no candidate and no word on the terminal.
enum Candidates: Sendable {
    case vms
    /// Removed VMs that are in the trash.
    case removedVMs
    case images
    case kernels
    case operations
    case nodes
    case contexts

    /// For one completion; a test on a busy machine has more.
    @TaskLocal static var patience = Duration.milliseconds(800)
    /// More than anybody reads through.
    static let limit: Int32 = 1000

    /// For an argument or option.
    var completion: CompletionKind {
        .custom { words, _, prefix in
            await names(words: words, prefix: prefix, environment: Self.environment)
        }
    }

    /// The environment to look for the daemon in; a test gives its own.
    @TaskLocal static var environment: [String: String] = [:]

    /// The names that begin with `prefix`, in order. `words` are those of the command line, whose
    /// `--context`, `--socket`, `--state-dir` and `--project` count.
    func names(
        words: [String],
        prefix: String,
        environment: [String: String]
    ) async -> [String] {
        let found = try? await found(DaemonFlags(reading: words), environment)
        return Set(found ?? []).filter { $0.hasPrefix(prefix) && !$0.isEmpty }.sorted()
    }

    private func found(
        _ flags: DaemonFlags,
        _ environment: [String: String]
    ) async throws -> [String] {
        if case .contexts = self {
            let contexts = try ContextFile(environment: environment).read()
            return [Contexts.localName] + contexts.all.map(\.name)
        }
        let endpoint = try flags.target(environment).endpoint
        guard endpoint.answers() else { return [] }
        let project = flags.project ?? ""
        return try await withThrowingTaskGroup(of: [String].self) { group in
            group.addTask {
                try await Daemon.connected(to: endpoint) { daemon in
                    try await ask(daemon, project)
                }
            }
            group.addTask {
                _ = await Reactor.shared.sleep(until: .now + Self.patience)
                return []
            }
            defer { group.cancelAll() }
            return try await group.next() ?? []
        }
    }

    private func ask(_ daemon: Daemon, _ project: String) async throws -> [String] {
        let options = CallOptions.limited(to: Self.patience)
        switch self {
        case .vms, .removedVMs:
            let areRemoved = self == .removedVMs
            var request = Roost_Compute_V1_ListVMsRequest.with {
                $0.project = project
                $0.pageSize = Self.limit
                $0.showDeleted = areRemoved
            }
            var names: [String] = []
            repeat {
                let page = try await daemon.vms.listVMs(request, options: options)
                names += page.vms.filter { $0.hasDeleteTime == areRemoved }.map(\.name)
                request.pageToken = page.nextPageToken
            } while !request.pageToken.isEmpty && names.count < Self.limit
            return names
        case .images:
            return try await daemon.images.listImages(.init(), options: options).images
                .flatMap(\.names)
        case .kernels:
            return try await daemon.images.listKernels(.init(), options: options).kernels
                .flatMap(\.names)
        case .operations:
            let request = Roost_Ops_V1_ListOperationsRequest.with {
                $0.project = project
                $0.pageSize = 100
            }
            return try await daemon.operations.listOperations(request, options: options).operations
                .map(\.id)
        case .nodes:
            return try await daemon.nodes.listNodes(.init(), options: options).nodes.map(\.name)
        case .contexts: return []
        }
    }
}

extension DaemonFlags {
    /// The flags that stand among `words`, which may be half written.
    fileprivate init(reading words: [String]) {
        self.init()
        let flags: [(String, WritableKeyPath<DaemonFlags, String?>)] = [
            ("--context", \.context), ("--socket", \.socket), ("--state-dir", \.stateDir),
            ("--project", \.project),
        ]
        for (index, word) in words.enumerated() {
            // What follows is the guest's command.
            if word == "--" { break }
            for (name, place) in flags {
                if word == name, index + 1 < words.count {
                    self[keyPath: place] = words[index + 1]
                } else if word.hasPrefix("\(name)=") {
                    self[keyPath: place] = String(word.dropFirst(name.count + 1))
                }
            }
        }
    }
}
