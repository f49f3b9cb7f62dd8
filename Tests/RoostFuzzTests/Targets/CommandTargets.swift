import RoostAPI
import RoostModel

@testable import RoostCommands

let commandTargets = [
    FuzzTarget(name: "cli-text", check: text),
    FuzzTarget(name: "tar-copy", check: copiedArchive),
]

/// What people type: refused as invalid, or within its bounds.
private func text(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let kind = steering.byte()
    let text = steering.text
    do throws(Fault) {
        try read(text, as: kind % 9)
    } catch {
        if error.reason == .bug { throw BrokenPromise(description: error.message) }
        try promise(error.reason == .invalidFields, "\(error.reason): \(error.message)")
        try promise(
            !error.message.unicodeScalars.contains { $0.value < 0x20 },
            "an error with a control character"
        )
    }
}

private func read(_ text: String, as kind: UInt8) throws(Fault) {
    switch kind {
    case 0:
        let entries = try environmentFile(text, path: "env", inherited: ["HOME": "/root"])
        guard entries.allSatisfy({ $0.contains("=") && !$0.contains("\0") }) else {
            throw Fault(.bug, "entries \(entries)")
        }
    case 1: try bound(memoryMebibytes(text), 1...(1 << 42), text)
    case 2: try bound(diskGibibytes(text), 1...(1 << 42), text)
    case 3: try bound(Int64(duration(text, flag: "-t").wholeSeconds), 1...Int64(Int32.max), text)
    case 4:
        let port = try publishedPort(text)
        try bound(Int64(port.guestPort), 1...65_535, text)
        try bound(Int64(port.hostPort), 0...65_535, text)
        guard try publishedPort(flag(portText(port))).guestPort == port.guestPort else {
            throw Fault(.bug, "\(text) became another port")
        }
    case 5: _ = try changed(["a": "b"], by: text.split(separator: "\n").map(String.init))
    case 6:
        let place = try CopyPlace(text)
        if case .guest(_, let path) = place, !path.hasPrefix("/") {
            throw Fault(.bug, "a relative path in a guest")
        }
        let shape = PathShape(text)
        if shape.name.contains("/") { throw Fault(.bug, "name \(shape.name)") }
    case 7: _ = proxyVariables(of: ["HTTP_PROXY": text, "no_proxy": text])
    default:
        let words = text.split(separator: " ").map(String.init)
        let moved = movingLeadingOptions(words) { $0 == "image" }
        guard moved.sorted() == words.sorted() else {
            throw Fault(.bug, "\(words) became \(moved)")
        }
    }
}

private func bound(_ value: Int64, _ range: ClosedRange<Int64>, _ text: String) throws(Fault) {
    if !range.contains(value) { throw Fault(.bug, "'\(text)' became \(value)") }
}

/// A port as it is shown, written as a flag again.
private func flag(_ shown: String) -> String {
    shown.replacing("*", with: "0").replacing("->", with: ":")
}

/// An archive from a guest: pieces change nothing, names are bounded, no content without a member.
private func copiedArchive(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let size = steering.byte()
    let whole = try events(pieces(steering.rest, of: 0))
    let cut = try events(pieces(steering.rest, of: max(size, 1)))
    try promise(whole == cut, "pieces of \(size) bytes gave \(cut), not \(whole)")
    let scratch = try Scratch()
    defer { scratch.remove() }
    do throws(Fault) {
        let writer = try TreeWriter(into: "\(scratch.path)/in", top: size & 1 == 0 ? "top" : nil)
        for piece in pieces(steering.rest, of: size) { try writer.write(piece) }
        _ = try writer.finish()
    } catch {
        if error.reason == .bug { throw BrokenPromise(description: error.message) }
    }
    try scratch.checkNeighbour()
}

private func events(_ pieces: [[UInt8]]) throws -> [String] {
    var parser = TarParser()
    var found: [String] = []
    var content: [UInt8] = []
    var isInside = false
    var broken = false
    do throws(Fault) {
        for piece in pieces {
            try parser.read(piece) { event in
                switch event {
                case .content(let bytes):
                    broken = broken || !isInside
                    content += bytes
                case .member(let header):
                    broken = broken || isInside
                    isInside = true
                    found.append("\(header)")
                case .memberEnd:
                    broken = broken || !isInside
                    isInside = false
                    found.append("\(content)")
                    content = []
                case .skipped(let name): found.append("skipped \(name)")
                }
            }
        }
    } catch {
        found.append(error.message)
    }
    try promise(!broken, "events out of order")
    return found
}
