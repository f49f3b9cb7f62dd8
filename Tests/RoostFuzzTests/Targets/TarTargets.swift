import RoostTar

let tarTargets = [FuzzTarget(name: "tar-headers", check: headers)]

/// Headers without content: each member is written and read the same.
private func headers(_ input: [UInt8]) throws {
    var steering = Steering(input)
    _ = steering.byte()
    for member in try members(Array(steering.rest)) {
        try promise(member.size < 1 << 62, "\(member.size) bytes")
        try promise(member.mode <= 0o7777, "mode \(member.mode)")
        try promise(member.nanoseconds < 1_000_000_000, "\(member.nanoseconds) nanoseconds")
        // What is not written: see ``TarMember/encoded()``. A NUL ends a name in ustar.
        var kept = member
        (kept.nanoseconds, kept.attributes) = (0, [])
        if kept.path.contains(0) || kept.link.contains(0) { continue }
        let limit: UInt32 = 0o7777777
        if kept.major > limit || kept.minor > limit { continue }
        let again = try members(kept.encoded())
        try promise(again == [kept], "\(kept) became \(again)")
    }
}

private func members(_ bytes: [UInt8]) throws -> [TarMember] {
    var headers = TarHeaders(extensionLimit: 1 << 16)
    var found: [TarMember] = []
    var rest = bytes[...]
    do throws(TarProblem) {
        while rest.count >= TarHeaders.blockSize {
            let block = Array(rest.prefix(TarHeaders.blockSize))
            rest = rest.dropFirst(TarHeaders.blockSize)
            switch try headers.take(block: block) {
            case .extension(let count):
                guard rest.count >= count else { return found }
                try headers.take(extension: Array(rest.prefix(count)))
                rest = rest.dropFirst(count + TarHeaders.padding(after: UInt64(count)))
            case .member(let member): found.append(member)
            case .end: return found
            }
        }
    } catch {
        return found
    }
    return found
}
