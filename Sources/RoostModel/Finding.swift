/// One thing that a host was checked for.
package struct Finding: Hashable, Sendable, Codable {
    package enum Verdict: String, CaseIterable, Sendable, Codable {
        case pass = "PASS"
        /// Works, with less than a person may expect.
        case warn = "WARN"
        /// Something asked of this host will not work.
        case fail = "FAIL"
    }

    /// Stable, lowercase, such as `qemu.version`.
    package var id: String
    package var title: String
    package var verdict: Verdict
    /// What was seen.
    package var detail: String
    /// The command that mends it; empty when nothing needs mending.
    package var fix: String

    package init(
        _ id: String,
        _ title: String,
        _ verdict: Verdict,
        _ detail: String,
        fix: String = ""
    ) {
        self.id = id
        self.title = title
        self.verdict = verdict
        self.detail = detail
        self.fix = fix
    }
}

/// Something on a host that belongs to a VM that is not there.
package struct Leak: Hashable, Sendable, Codable {
    /// `process`, `memory-file`, `directory`, `socket`.
    package var kind: String
    /// The pid or the path.
    package var name: String
    package var vm: VMID?
    package var detail: String
    /// The command that removes it.
    package var fix: String

    package init(kind: String, name: String, vm: VMID?, detail: String, fix: String) {
        self.kind = kind
        self.name = name
        self.vm = vm
        self.detail = detail
        self.fix = fix
    }
}
