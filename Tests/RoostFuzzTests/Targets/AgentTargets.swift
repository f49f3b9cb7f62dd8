import Glibc
import RoostGuestWire

@testable import RoostAgent

let agentTargets = [FuzzTarget(name: "tar-agent", check: agentArchive)]

/// An archive that the agent unpacks: nothing outside the directory changes.
private func agentArchive(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let size = steering.byte()
    let scratch = try Scratch()
    defer { scratch.remove() }
    do throws(GuestFailure) {
        let task = try TarInTask("\(scratch.path)/in", keepsOwners: false)
        for piece in pieces(steering.rest, of: size) { _ = task.receive(piece) }
        task.inputEnded()
        _ = task.next(0)
    } catch {
        throw BrokenPromise(description: error.text)
    }
    try scratch.checkNeighbour()
}

/// A directory with a neighbour that an archive must not reach; in memory, as it is made for every input.
struct Scratch {
    let path: String

    init() throws {
        var template = Array("/dev/shm/roost-fuzz-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw BrokenPromise(description: "no scratch directory: \(errno)")
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        mkdir("\(path)/neighbour", 0o700)
        mkdir("\(path)/in", 0o700)
    }

    /// Throws when the neighbour has got something in it, or something has come beside it.
    func checkNeighbour() throws {
        try promise(names(in: "\(path)/neighbour").isEmpty, "the neighbour was written to")
        try promise(
            names(in: path).sorted() == ["in", "neighbour"],
            "something was written beside"
        )
    }

    private func names(in directory: String) -> [String] {
        entries(of: open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC))
    }

    /// Takes it away with all that is in it.
    func remove() {
        clear(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC))
        rmdir(path)
    }
}

/// The names in the directory `descriptor`, which is closed.
private func entries(of descriptor: Int32) -> [String] {
    guard descriptor >= 0, let stream = fdopendir(descriptor) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names
}

/// Takes away what is in the directory `descriptor`, and closes it. Follows no link.
private func clear(_ descriptor: Int32) {
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    for name in entries(of: dup(descriptor)) where unlinkat(descriptor, name, 0) != 0 {
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        clear(openat(descriptor, name, flags))
        unlinkat(descriptor, name, AT_REMOVEDIR)
    }
}
