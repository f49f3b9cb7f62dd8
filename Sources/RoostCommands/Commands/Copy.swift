internal import ArgumentParser
internal import GRPCCore
internal import RoostAPI
internal import RoostLinux
internal import RoostModel
internal import SwiftProtobuf

/// `roost cp`: files and trees between this host and a VM.
struct Copy: RoostCommand {
    static let configuration = CommandConfiguration(
        commandName: "cp",
        abstract: "Copy files and trees to a VM or out of it.",
        discussion: """
            Modes and symbolic links are kept. A copy to a directory that is there goes into it; to a \
            name that is not there it gets that name. SRC/. stands for what is in SRC. With - a tar \
            stream is read from standard input or written to standard output.

            Examples:
              roost cp ./f box:/root/f
              roost cp box:/var/log ./logs
              roost cp box:/etc - | tar -tf -
              tar -cf - . | roost cp - box:/srv
            """
    )

    @Argument(help: "PATH, VM:/PATH or -.")
    var source: String

    @Argument(help: "PATH, VM:/PATH or -.")
    var destination: String

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(in invocation: Invocation) async throws -> Int32 {
        let (from, to) = (try CopyPlace(source), try CopyPlace(destination))
        switch (from, to) {
        case (.host(let here), .guest(let vm, let path)):
            try await work(invocation) {
                try await $0.put(here, into: GuestPlace(vm: vm, path: path))
            }
        case (.guest(let vm, let path), .host(let here)):
            try await work(invocation) {
                try await $0.take(GuestPlace(vm: vm, path: path), to: here)
            }
        case (.stream, .guest(let vm, let path)):
            try await work(invocation) { try await $0.putStream(GuestPlace(vm: vm, path: path)) }
        case (.guest(let vm, let path), .stream):
            try await work(invocation) { try await $0.takeStream(GuestPlace(vm: vm, path: path)) }
        case (.guest, .guest):
            throw Fault.invalid(
                "destination",
                "is a VM too; copy through here: roost cp A:/x - | roost cp - B:/dir"
            )
        default:
            throw Fault.invalid("source", "and destination are both on this host; use cp(1)")
        }
        return ExitStatus.ok
    }

    private func work(
        _ invocation: Invocation,
        _ body: (CopyWork) async throws -> Void
    ) async throws {
        try await withDaemon(invocation) { daemon in
            try await body(CopyWork(daemon: daemon, project: project, invocation: invocation))
        }
    }
}

/// A path in a VM.
struct GuestPlace: Sendable {
    var vm: String
    var path: String
}

/// The transfers of `roost cp`.
struct CopyWork: Sendable {
    typealias CopyIn = Roost_Compute_V1_CopyInRequest

    let daemon: Daemon
    let project: String
    let invocation: Invocation

    private static let pieceSize = 128 << 10

    // MARK: - To a VM

    func put(_ here: String, into there: GuestPlace) async throws {
        let source = PathShape(here)
        let kind = try LocalKind(source.contentsOnly ? here : source.path)
        let target = PathShape(there.path)
        let found = try await look(there, target.path)
        let isInto = found?.isDirectory == true
        if target.mustBeDirectory && !isInto {
            throw Fault(.pathNotFound, "'\(shown(there.path))' is no directory in '\(there.vm)'")
        }
        switch kind {
        case .file(let mode, let size):
            let path = isInto ? joined(target.path, source.name) : target.path
            try await send(to: GuestPlace(vm: there.vm, path: path), mode: mode, size: size) {
                try await pieces(ofFile: source.path, to: $0)
            }
        case .directory:
            // A tree that gets another name is sent as what is in it, into a directory of that name.
            let isContents = source.contentsOnly || !isInto
            if found != nil && !isInto {
                throw Fault(.wrongState, "'\(shown(target.path))' is a file in '\(there.vm)'")
            }
            let reader = TreeReader(source.path, name: isContents ? "." : source.name)
            try await sendTree(reader, to: GuestPlace(vm: there.vm, path: target.path))
        case .link:
            let name = isInto ? source.name : target.name
            let parent = isInto ? target.path : target.parent
            let reader = TreeReader(source.path, name: name)
            try await sendTree(reader, to: GuestPlace(vm: there.vm, path: parent))
        }
    }

    func putStream(_ there: GuestPlace) async throws {
        let input = StandardInput(descriptor: invocation.input)
        try await send(to: there) { writer in
            while true {
                let bytes = try await input.read(upTo: Self.pieceSize)
                if bytes.isEmpty { return }
                try await writer.write(.with { $0.data = .init(bytes) })
            }
        }
    }

    private func sendTree(_ reader: TreeReader, to there: GuestPlace) async throws {
        try await send(to: there) { writer in
            while let piece = try await onItsOwnThread({ () throws(Fault) in try reader.next() }) {
                try await writer.write(.with { $0.data = .init(piece) })
            }
        }
    }

    private func pieces(ofFile path: String, to writer: RPCWriter<CopyIn>) async throws {
        let file = try LocalFile(reading: path)
        while true {
            let bytes = try await onItsOwnThread { () throws(Fault) in
                try file.read(upTo: Self.pieceSize)
            }
            if bytes.isEmpty { return }
            try await writer.write(.with { $0.data = .init(bytes) })
        }
    }

    /// Sends one file (with `mode` and `size`) or one tar stream (without).
    private func send(
        to there: GuestPlace,
        mode: UInt32? = nil,
        size: Int64? = nil,
        _ body: @escaping @Sendable (RPCWriter<CopyIn>) async throws -> Void
    ) async throws {
        let problem = OnceError()
        let start = CopyIn.with {
            $0.start.id = there.vm
            $0.start.project = project
            $0.start.path = there.path
            $0.start.tree = mode == nil
            if let mode { $0.start.mode = Int32(mode) }
            if let size { $0.start.sizeBytes = size }
        }
        let request = StreamingClientRequest<CopyIn>(metadata: metadata(try operation())) {
            writer in
            try await writer.write(start)
            do {
                try await body(writer)
            } catch {
                // The call only says that writing failed; this is why.
                if error is Fault { problem.set(error) }
                throw error
            }
        }
        do {
            _ = try await daemon.guests.copyIn(request: request)
        } catch {
            throw problem.error ?? error
        }
    }

    // MARK: - Out of a VM

    func take(_ there: GuestPlace, to here: String) async throws {
        let source = PathShape(there.path)
        guard let found = try await look(there, source.path) else {
            throw Fault(.pathNotFound, "there is no '\(shown(there.path))' in '\(there.vm)'")
        }
        let target = PathShape(here)
        let kind = try? LocalKind(following: target.path)
        let isInto = kind == .directory
        if target.mustBeDirectory && !isInto {
            throw Fault.invalid("destination", "'\(shown(here))' is no directory")
        }
        guard found.isDirectory else {
            let path = isInto ? joined(target.path, source.name) : target.path
            try await takeFile(GuestPlace(vm: there.vm, path: source.path), to: path)
            return
        }
        let writer: TreeWriter
        if isInto {
            let top = source.contentsOnly ? nil : source.name
            writer = try TreeWriter(into: target.path, top: top == "." ? nil : top)
        } else {
            guard kind == nil else {
                throw Fault.invalid("destination", "'\(shown(here))' is a file, not a directory")
            }
            writer = try TreeWriter(into: target.parent, top: target.name)
        }
        try await copyOut(GuestPlace(vm: there.vm, path: source.path), tree: true) { bytes, _ in
            try await onItsOwnThread { () throws(Fault) in try writer.write(bytes) }
        }
        let skipped = try writer.finish()
        if !skipped.isEmpty {
            let names = skipped.prefix(3).map { shown($0) }.joined(separator: ", ")
            invocation.talk("warning: \(skipped.count) devices or pipes left out: \(names)")
        }
    }

    func takeStream(_ there: GuestPlace) async throws {
        let invocation = invocation
        try await copyOut(there, tree: true) { bytes, _ in
            try invocation.write(bytes, to: invocation.output)
        }
    }

    private func takeFile(_ there: GuestPlace, to path: String) async throws {
        let file = try LocalFile(replacing: path)
        do {
            try await copyOut(there, tree: false) { bytes, found in
                try await onItsOwnThread { () throws(Fault) in
                    if let found { try file.setMode(UInt32(found.mode & 0o777)) }
                    try file.write(bytes)
                }
            }
        } catch {
            file.discard()
            throw error
        }
        try file.publish()
    }

    private func copyOut(
        _ there: GuestPlace,
        tree: Bool,
        _ body: @escaping @Sendable ([UInt8], Roost_Compute_V1_GuestPath?) async throws -> Void
    ) async throws {
        let request = Roost_Compute_V1_CopyOutRequest.with {
            $0.id = there.vm
            $0.project = project
            $0.path = there.path
            $0.tree = tree
        }
        try await daemon.guests.copyOut(request) { response in
            for try await piece in response.messages {
                switch piece.message {
                case .path(let found): try await body([], found)
                case .data(let data): try await body(Array(data), nil)
                case nil: continue
                }
            }
        }
    }

    /// What a path in a VM is; `nil` when it is nothing.
    private func look(
        _ there: GuestPlace,
        _ path: String
    ) async throws -> Roost_Compute_V1_GuestPath? {
        do {
            return try await daemon.guests.stat(
                .with {
                    $0.id = there.vm
                    $0.project = project
                    $0.path = path
                }
            )
        } catch let error as RPCError {
            if reason(of: error) == .pathNotFound { return nil }
            throw error
        }
    }
}

/// `directory/name`, also for the root directory.
func joined(_ directory: String, _ name: String) -> String {
    directory.hasSuffix("/") ? directory + name : "\(directory)/\(name)"
}
