internal import GRPCCore
internal import RoostAPI
internal import RoostModel

/// What to do about a daemon of another version: a newer client replaces an idle one and names what
/// holds up a busy one. An older client leaves it alone.
struct VersionSkew: Equatable {
    /// The daemon is older and idle.
    var mustRestart = false
    /// What to tell the user.
    var note: String?

    init(client: String, daemon: String, busyWith: [String]?) {
        guard isNewer(client, than: daemon) else { return }
        guard let busyWith else {
            mustRestart = true
            return
        }
        let what = busyWith.isEmpty ? "something" : busyWith.joined(separator: ", ")
        note =
            "note: roostd is \(daemon) and this is \(client); it is busy with \(what); "
            + "when it is idle: roost daemon restart"
    }

    /// Asks the daemon for its version.
    static func check(_ daemon: Daemon) async throws -> VersionSkew {
        let info = try await daemon.about.getInfo(.init())
        return VersionSkew(
            client: Product.version,
            daemon: info.version,
            busyWith: info.busy ? info.busyWith : nil
        )
    }

    /// Ends the daemon, unless it has become busy meanwhile.
    func endDaemon(_ daemon: Daemon) async throws {
        _ = try await daemon.about.shutdown(.init())
    }
}

/// Whether `left` is a later version than `right`. Numbers count, whatever surrounds them; what has
/// no number is older than everything, and equal to itself.
func isNewer(_ left: String, than right: String) -> Bool {
    let (left, right) = (versionNumbers(left), versionNumbers(right))
    for index in 0..<max(left.count, right.count) {
        let one = index < left.count ? left[index] : 0
        let other = index < right.count ? right[index] : 0
        if one != other { return one > other }
    }
    return false
}

private func versionNumbers(_ text: String) -> [Int] {
    let start = text.drop { !($0.isASCII && $0.isNumber) }
    return start.prefix { $0 == "." || ($0.isASCII && $0.isNumber) }
        .split(separator: ".").map { Int($0) ?? 0 }
}
