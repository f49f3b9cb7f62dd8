internal import RoostGuestWire
package import RoostHost
package import RoostLink
package import RoostModel

/// Reads a VM's logs, also when it does not run: whole files, or one writer's records of `guest.log`.
package struct LogReader: Sendable {
    private let files: any LogFiles

    /// Reads the logs of `files`.
    package init(files: any LogFiles) { self.files = files }

    /// What can be asked for: in what file it is, and whose records it is made of.
    private enum Log: String, CaseIterable {
        case app
        case kernel
        case agent
        case console
        case vmm

        var file: LogSource {
            switch self {
            case .app, .kernel, .agent: .guest
            case .console: .console
            case .vmm: .vmm
            }
        }

        /// `nil`: the file has no records.
        var streams: Set<GuestLogRecord.Stream>? {
            switch self {
            case .app: [.stdout, .stderr]
            case .kernel: [.kernel]
            case .agent: [.agent]
            case .console, .vmm: nil
            }
        }
    }

    /// The next piece. Throws ``Reason/invalidFields`` for a source that is none.
    package func read(_ vm: VMID, _ request: LogRequest) async throws(Fault) -> LogPiece {
        let log = try await log(of: vm, request)
        guard let streams = log.streams else {
            guard !request.timestamps else {
                throw .invalid("timestamps", "the \(log.rawValue) log keeps no times")
            }
            let chunk = try await files.readLog(
                vm,
                log.file,
                from: request.offset,
                follow: request.follow
            )
            return piece(of: log, chunk.bytes, chunk.nextOffset, chunk.isEnd)
        }
        let filter = GuestLogFilter(streams, showsTimes: request.timestamps)
        return try await records(of: vm, log, filter, request)
    }

    private func records(
        of vm: VMID,
        _ log: Log,
        _ filter: GuestLogFilter,
        _ request: LogRequest
    ) async throws(Fault) -> LogPiece {
        var offset = request.offset
        /// Bytes from `offset` on that are no whole record yet.
        var unfinished: [UInt8] = []
        while true {
            let from = offset + UInt64(unfinished.count)
            let chunk = try await files.readLog(vm, log.file, from: from, follow: request.follow)
            let start = chunk.nextOffset - UInt64(chunk.bytes.count)
            if start != from {
                // Older bytes were given back meanwhile.
                unfinished = []
                offset = start
            }
            unfinished += chunk.bytes
            let (text, used) = filter.select(from: unfinished[...])
            offset += UInt64(used)
            unfinished.removeFirst(used)
            if !text.isEmpty || (chunk.isEnd && !request.follow) {
                return piece(of: log, text, offset, chunk.isEnd)
            }
        }
    }

    private func piece(
        of log: Log,
        _ bytes: [UInt8],
        _ next: UInt64,
        _ isEnd: Bool
    ) -> LogPiece {
        LogPiece(source: log.rawValue, bytes: bytes, nextOffset: next, isEnd: isEnd)
    }

    private func log(of vm: VMID, _ request: LogRequest) async throws(Fault) -> Log {
        guard request.source.isEmpty else {
            if let log = Log(rawValue: request.source) { return log }
            let known = Log.allCases.map(\.rawValue).joined(separator: ", ")
            throw .invalid("source", "'\(shown(request.source))' is none of \(known)")
        }
        let first = LogRequest(source: Log.app.rawValue, offset: 0, follow: false)
        return try await read(vm, first).bytes.isEmpty ? .console : .app
    }
}
