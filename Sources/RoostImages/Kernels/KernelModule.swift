import RoostModel

/// What a `.ko` says of itself in its `.modinfo` section.
struct KernelModule: Hashable {
    /// The module's name, with underscores.
    let name: String
    /// The path below `lib/modules/RELEASE`.
    let path: String
    /// The modules whose symbols it uses.
    let depends: [String]
    /// What must be there first although no symbol says so (`softdep pre:`).
    let softDepends: [String]
    /// Other names it answers to.
    let aliases: [String]

    /// Reads the module in `bytes` (ELF, 64 bits, least significant byte first).
    ///
    /// - Throws: `kernelInvalid` naming `path`.
    init(_ bytes: [UInt8], path: String) throws(Fault) {
        guard let section = Self.section(".modinfo", of: bytes) else {
            throw Fault(.kernelInvalid, "module \(printable(path)) is no ELF file with .modinfo")
        }
        var values: [String: [String]] = [:]
        for part in bytes[section].split(separator: 0) {
            let text = String(decoding: part, as: UTF8.self)
            guard let equals = text.firstIndex(of: "=") else { continue }
            values[String(text[..<equals]), default: []]
                .append(String(text[text.index(after: equals)...]))
        }
        self.path = path
        self.name = Self.canonical(values["name"]?.first ?? Self.fileName(path))
        self.depends = (values["depends"] ?? []).flatMap { $0.split(separator: ",") }
            .map { Self.canonical(String($0)) }
        self.softDepends = (values["softdep"] ?? []).flatMap(Self.before)
        self.aliases = values["alias"] ?? []
    }

    /// Underscores and dashes are the same in a module's name.
    static func canonical(_ name: String) -> String { name.replacing("-", with: "_") }

    /// The name that a module file's path gives: `kernel/a/virtio-rng.ko.xz` is `virtio_rng`.
    static func fileName(_ path: String) -> String {
        let last = path.split(separator: "/").last ?? ""
        return canonical(String(last.prefix { $0 != "." }))
    }

    private static func before(_ text: String) -> [String] {
        var result: [String] = []
        var isBefore = false
        for word in text.split(separator: " ") {
            if word.hasSuffix(":") {
                isBefore = word == "pre:"
            } else if isBefore {
                result.append(canonical(String(word)))
            }
        }
        return result
    }

    private static func section(_ name: String, of bytes: [UInt8]) -> Range<Int>? {
        guard bytes.starts(with: [0x7F, 0x45, 0x4C, 0x46, 2, 1]),
            let table = bytes.little(UInt64.self, at: 0x28).flatMap({ Int(exactly: $0) }),
            let entrySize = bytes.little(UInt16.self, at: 0x3A), entrySize >= 64,
            let count = bytes.little(UInt16.self, at: 0x3C),
            let stringIndex = bytes.little(UInt16.self, at: 0x3E), table < bytes.count
        else { return nil }
        func range(_ index: Int) -> Range<Int>? {
            let header = table + index * Int(entrySize)
            guard let offset = bytes.little(UInt64.self, at: header + 0x18),
                let size = bytes.little(UInt64.self, at: header + 0x20),
                offset <= UInt64(bytes.count), size <= UInt64(bytes.count) - offset
            else { return nil }
            return Int(offset)..<Int(offset + size)
        }
        guard let strings = range(Int(stringIndex)) else { return nil }
        for index in 0..<Int(count) {
            let header = table + index * Int(entrySize)
            guard let place = bytes.little(UInt32.self, at: header),
                Int(place) < strings.count
            else { continue }
            let text = bytes[(strings.lowerBound + Int(place))..<strings.upperBound]
            if text.prefix(while: { $0 != 0 }).elementsEqual(name.utf8) { return range(index) }
        }
        return nil
    }
}

/// All modules of one kernel, and which the kernel has built in.
struct KernelModuleGraph {
    private var modules: [String: KernelModule] = [:]
    private var aliases: [String: String] = [:]
    private let builtin: Set<String>

    /// - Parameters:
    ///   - list: The modules, in any order.
    ///   - builtin: The text of `modules.builtin`: a path a line.
    init(_ list: [KernelModule], builtin: String) {
        self.builtin = Set(builtin.split(separator: "\n").map { KernelModule.fileName(String($0)) })
        // Generic implementations work on every CPU, so they win an alias.
        let sorted = list.sorted {
            ($0.name.hasSuffix("_generic") ? 0 : 1, $0.path)
                < ($1.name.hasSuffix("_generic") ? 0 : 1, $1.path)
        }
        for module in sorted {
            modules[module.name] = module
            for alias in module.aliases where aliases[KernelModule.canonical(alias)] == nil {
                aliases[KernelModule.canonical(alias)] = module.name
            }
        }
    }

    /// Whether the kernel needs no module for `name`.
    func isBuiltIn(_ name: String) -> Bool { builtin.contains(KernelModule.canonical(name)) }

    /// The module called `name`, if there is one.
    func module(_ name: String) -> KernelModule? { modules[KernelModule.canonical(name)] }

    /// The modules to load for `names`, each after what it depends on. What is built in or not
    /// there is left out.
    func loadOrder(_ names: [String]) -> [KernelModule] {
        var order: [KernelModule] = []
        var seen: Set<String> = []
        // Not by recursion: how long a chain of modules is, their maker decides.
        var path: [(module: KernelModule?, needed: ArraySlice<String>)] = [(nil, names[...])]
        while let last = path.indices.last {
            guard let name = path[last].needed.popFirst().map(KernelModule.canonical) else {
                if let module = path.removeLast().module { order.append(module) }
                continue
            }
            guard !builtin.contains(name),
                let module = modules[name] ?? aliases[name].flatMap({ modules[$0] }),
                seen.insert(module.name).inserted
            else { continue }
            path.append((module, (module.softDepends + module.depends)[...]))
        }
        return order
    }

    /// The text of `modules.dep`: each module with all it needs, nearest first, as depmod has it.
    ///
    /// - Throws: `kernelInvalid` when it has over `limit` bytes: by default a hundred times what
    ///   Debian's largest kernel needs.
    func dependencyText(limit: Int = 64 << 20) throws(Fault) -> String {
        var text = ""
        for module in modules.values.sorted(by: { $0.path < $1.path }) {
            let needed = loadOrder(module.depends).reversed().map(\.path)
            text += ([module.path + ":"] + needed).joined(separator: " ") + "\n"
            guard text.utf8.count <= limit else {
                throw Fault(.kernelInvalid, "the kernel's modules need too many of each other")
            }
        }
        return text
    }
}
