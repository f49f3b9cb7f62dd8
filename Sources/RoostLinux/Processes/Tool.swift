internal import Glibc
package import RoostModel

/// What a short outside program said.
package struct ToolResult: Sendable {
    package var end: ProcessEnd
    /// At most the limit; later bytes were thrown away.
    package var output: [UInt8]
    package var errorOutput: [UInt8]

    /// Whether it exited with 0.
    package var succeeded: Bool { end == .exited(code: 0) }
    /// Standard output as text.
    package var text: String { String(decoding: output, as: UTF8.self) }
}

/// Runs a short outside program and waits for it: exact argv, absolute path, closed environment
/// (`PATH` and `LC_ALL=C` unless given), no input, bounded output.
///
/// After `deadline` it is killed and ``Reason/deadline`` thrown; after a cancellation it is killed
/// and ``Reason/opCancelled`` thrown. It is reaped in every case.
package func runTool(
    _ path: String,
    _ arguments: [String],
    environment: [String] = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"],
    workingDirectory: String = "/",
    deadline: Duration,
    outputLimit: Int = 256 << 10
) async throws(Fault) -> ToolResult {
    let end = ContinuousClock.now + deadline
    let (output, outputEnd) = try streamPair()
    let (errors, errorsEnd) = try streamPair()
    let plan = ProcessPlan(
        path: path,
        arguments: [path] + arguments,
        environment: environment,
        workingDirectory: workingDirectory,
        descriptors: [nil, outputEnd, errorsEnd]
    )
    let process = try await onItsOwnThread { () throws(Fault) in try ProcessSpawner.spawn(plan) }
    outputEnd.close()
    errorsEnd.close()
    async let said = collect(output, limit: outputLimit, until: end)
    async let complained = collect(errors, limit: outputLimit, until: end)
    let finished = await process.end(until: end)
    if let finished {
        // A grandchild may hold the pipes open: what came until now is what there is.
        output.closeNow()
        errors.closeNow()
        return await ToolResult(end: finished, output: said, errorOutput: complained)
    }
    try? process.signal(SIGKILL)
    output.closeNow()
    errors.closeNow()
    _ = await (said, complained)
    // Not cancellable: a killed process must be reaped, and it is at once.
    await Task { _ = await process.end() }.value
    throw Task.isCancelled
        ? Fault(.opCancelled, "'\(path)' was cancelled")
        : Fault(.deadline, "'\(path)' did not end within \(deadline)")
}

private func collect(
    _ stream: SocketStream,
    limit: Int,
    until deadline: ContinuousClock.Instant
) async -> [UInt8] {
    var bytes: [UInt8] = []
    while let piece = try? await stream.read(upTo: 64 << 10, until: deadline), !piece.isEmpty {
        bytes += piece.prefix(limit - bytes.count)
    }
    return bytes
}

/// Two connected sockets: a stream for us and a blocking end for a child.
package func streamPair() throws(Fault) -> (SocketStream, Descriptor) {
    var numbers: [Int32] = [-1, -1]
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, kind, 0, &numbers) == 0 else {
        throw systemFault("make", "socket pair", errno)
    }
    let (ours, theirs) = (Descriptor(numbers[0]), Descriptor(numbers[1]))
    _ = fcntl(ours.number, F_SETFL, O_NONBLOCK)
    return (SocketStream(ours), theirs)
}
