extension Request {
    private var tag: UInt8 {
        switch self {
        case .exec: 1
        case .attach: 2
        case .listSessions: 3
        case .signal: 4
        case .readFile: 5
        case .writeFile: 6
        case .tarOut: 7
        case .tarIn: 8
        case .stats: 9
        case .ports: 10
        case .setHostname: 11
        case .setClock: 12
        case .renewIdentity: 13
        case .settle: 14
        case .shutdown: 15
        case .facts: 16
        case .freeze: 17
        case .thaw: 18
        }
    }

    func encode(into writer: inout ByteWriter) {
        writer.number(tag)
        switch self {
        case .exec(let request): request.encode(into: &writer)
        case .attach(let session, let from, let kill):
            writer.raw(session.prefix(16))
            writer.number(from)
            writer.flag(kill)
        case .signal(let session, let number):
            writer.raw(session.prefix(16))
            writer.number(number)
        case .readFile(let path), .facts(let path): writer.text(path, limit: WireLimits.path)
        case .writeFile(let request): request.encode(into: &writer)
        case .tarOut(let path, let contentsOnly):
            writer.text(path, limit: WireLimits.path)
            writer.flag(contentsOnly)
        case .tarIn(let path, let owners):
            writer.text(path, limit: WireLimits.path)
            writer.flag(owners)
        case .setHostname(let name): writer.text(name, limit: WireLimits.name)
        case .setClock(let time): writer.number(time)
        case .renewIdentity(let request): request.encode(into: &writer)
        case .shutdown(let reboot, let grace):
            writer.flag(reboot)
            writer.number(grace)
        case .listSessions, .stats, .ports, .settle, .freeze, .thaw: break
        }
    }

    init(from reader: inout ByteReader) throws(WireError) {
        let tag = try reader.number(UInt8.self)
        switch tag {
        case 1: self = .exec(try ExecRequest(from: &reader))
        case 2:
            self = .attach(
                session: try reader.raw(16),
                from: try reader.number(),
                killOnDetach: try reader.flag()
            )
        case 3: self = .listSessions
        case 4: self = .signal(session: try reader.raw(16), number: try reader.number())
        case 5: self = .readFile(path: try reader.text(limit: WireLimits.path))
        case 6: self = .writeFile(try WriteFileRequest(from: &reader))
        case 7:
            self = .tarOut(
                path: try reader.text(limit: WireLimits.path),
                contentsOnly: try reader.flag()
            )
        case 8:
            self = .tarIn(
                path: try reader.text(limit: WireLimits.path),
                ownersFromArchive: try reader.flag()
            )
        case 9: self = .stats
        case 10: self = .ports
        case 11: self = .setHostname(try reader.text(limit: WireLimits.name))
        case 12: self = .setClock(try reader.number())
        case 13: self = .renewIdentity(try RenewRequest(from: &reader))
        case 14: self = .settle
        case 15:
            self = .shutdown(reboot: try reader.flag(), graceMilliseconds: try reader.number())
        case 16: self = .facts(path: try reader.text(limit: WireLimits.path))
        case 17: self = .freeze
        case 18: self = .thaw
        default: throw .unknownTag(tag)
        }
    }
}

extension ExecRequest {
    func encode(into writer: inout ByteWriter) {
        writer.raw(session.prefix(16))
        writer.list(arguments) { $0.text($1, limit: WireLimits.argument) }
        writer.list(environment) { $0.text($1, limit: WireLimits.argument) }
        writer.text(directory, limit: WireLimits.path)
        writer.text(user, limit: WireLimits.name)
        writer.number(timeoutMilliseconds)
        writer.flag(terminal != nil)
        if let terminal { terminal.encode(into: &writer) }
        writer.flag(hasInput)
        writer.number(onDetach.rawValue)
        writer.number(from)
    }

    init(from reader: inout ByteReader) throws(WireError) {
        session = try reader.raw(16)
        arguments = try reader.list(limit: WireLimits.arguments) {
            (reader) throws(WireError) in try reader.text(limit: WireLimits.argument)
        }
        environment = try reader.list(limit: WireLimits.arguments) {
            (reader) throws(WireError) in try reader.text(limit: WireLimits.argument)
        }
        directory = try reader.text(limit: WireLimits.path)
        user = try reader.text(limit: WireLimits.name)
        timeoutMilliseconds = try reader.number()
        terminal = try reader.flag() ? try TerminalSize(from: &reader) : nil
        hasInput = try reader.flag()
        let policy = try reader.number(UInt8.self)
        guard let onDetach = DetachPolicy(rawValue: policy) else { throw .unknownTag(policy) }
        self.onDetach = onDetach
        self.from = try reader.number()
    }
}

extension TerminalSize {
    func encode(into writer: inout ByteWriter) {
        writer.number(rows)
        writer.number(columns)
    }

    init(from reader: inout ByteReader) throws(WireError) {
        rows = try reader.number()
        columns = try reader.number()
    }
}

extension WriteFileRequest {
    func encode(into writer: inout ByteWriter) {
        writer.text(path, limit: WireLimits.path)
        writer.number(mode)
        writer.number(uid)
        writer.number(gid)
        writer.flag(size != nil)
        if let size { writer.number(size) }
    }

    init(from reader: inout ByteReader) throws(WireError) {
        path = try reader.text(limit: WireLimits.path)
        mode = try reader.number()
        uid = try reader.number()
        gid = try reader.number()
        size = try reader.flag() ? try reader.number() : nil
    }
}

extension RenewRequest {
    func encode(into writer: inout ByteWriter) {
        writer.number(UInt16(clamping: entropy.count))
        writer.raw(entropy.prefix(Int(UInt16.max)))
        writer.flag(machineID != nil)
        if let machineID { writer.raw(machineID.prefix(16)) }
        writer.text(hostname, limit: WireLimits.name)
        writer.number(wallClock)
        writer.flag(ethernet != nil)
        if let ethernet { writer.raw(ethernet.prefix(6)) }
        writer.text(address, limit: WireLimits.name)
        writer.text(gateway, limit: WireLimits.name)
        writer.text(nameserver, limit: WireLimits.name)
        guard let generation else { return }
        writer.raw(generation.prefix(16))
        writer.raw(vm.prefix(16))
    }

    init(from reader: inout ByteReader) throws(WireError) {
        let count = Int(try reader.number(UInt16.self))
        guard count <= 512 else { throw .oversizedField(count) }
        entropy = try reader.raw(count)
        machineID = try reader.flag() ? try reader.raw(16) : nil
        hostname = try reader.text(limit: WireLimits.name)
        wallClock = try reader.number()
        ethernet = try reader.flag() ? try reader.raw(6) : nil
        address = try reader.text(limit: WireLimits.name)
        gateway = try reader.text(limit: WireLimits.name)
        nameserver = try reader.text(limit: WireLimits.name)
        let saysMore = reader.remaining > 0
        generation = saysMore ? try reader.raw(16) : nil
        vm = saysMore ? try reader.raw(16) : Array(repeating: 0, count: 16)
    }
}
