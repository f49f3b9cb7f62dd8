internal import RoostLinux
package import RoostModel

/// Disks by way of `qemu-img`: explicit formats, exact argv, a deadline.
package struct DiskTool: Sendable {
    private let searchPath: String

    package init(searchPath: String = "/usr/local/bin:/usr/bin:/bin") {
        self.searchPath = searchPath
    }

    /// Makes a qcow2 overlay at `path` over `backing`, whose format is `raw` or `qcow2`.
    package func makeOverlay(
        _ path: String,
        over backing: String,
        format: String,
        gibibytes: Int
    ) async throws(Fault) {
        try await run([
            "create", "-q", "-f", "qcow2", "-F", format, "-b", backing, "--", path,
            "\(gibibytes)G",
        ])
    }

    /// Makes a qcow2 overlay at `path` over a qcow2 disk that need not be opened for it: one in use, or
    /// named relative to `path`'s directory.
    func makeUncheckedOverlay(
        _ path: String,
        over backing: String,
        bytes: UInt64
    ) async throws(Fault) {
        try await run([
            "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", backing, "--", path,
            "\(bytes)",
        ])
    }

    /// Makes a qcow2 disk at `path` that has every byte of the one at `source` and stands on nothing. What
    /// was never written stays a hole. Killed when cancelled; what it wrote is the caller's to remove.
    package func flatten(_ source: String, to path: String) async throws(Fault) {
        try await run(
            ["convert", "-q", "-f", "qcow2", "-O", "qcow2", "--", source, path],
            within: .seconds(3600)
        )
    }

    /// Grows the qcow2 disk at `path`; one that is as large already is left as it is.
    package func grow(_ path: String, toGiB gibibytes: Int) async throws(Fault) {
        let result = try await run(["info", "-f", "qcow2", "--output=json", "--", path])
        let size = result.text.split(separator: "\n").lazy
            .first { $0.contains("\"virtual-size\"") }
            .flatMap { line in UInt64(String(line.filter(\.isNumber))) }
        guard let size else {
            throw Fault(.stateUnreadable, "'\(path)' has no size", metadata: ["path": path])
        }
        if size >= ByteCount.gibibytes(UInt64(gibibytes)).bytes { return }
        try await run(["resize", "-q", "-f", "qcow2", "--", path, "\(gibibytes)G"])
    }

    @discardableResult
    private func run(
        _ arguments: [String],
        within deadline: Duration = .seconds(60)
    ) async throws(Fault) -> ToolResult {
        guard let tool = ProcessSpawner.resolve("qemu-img", searchPath: searchPath) else {
            throw Fault(.vmmMissing, "no qemu-img in '\(searchPath)'")
        }
        let result = try await runTool(tool, arguments, deadline: deadline)
        if result.succeeded { return result }
        let words = shown(String(decoding: result.errorOutput, as: UTF8.self))
        let full = words.contains("No space left")
        throw Fault(full ? .diskFull : .ioFailed, "qemu-img failed: \(words)")
    }
}
