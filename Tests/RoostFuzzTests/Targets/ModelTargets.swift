import RoostModel

let modelTargets = [FuzzTarget(name: "names", check: names)]

/// Ids, selectors, names, labels and what error messages show of them.
private func names(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let kind = steering.byte()
    let text = steering.text
    switch kind % 6 {
    case 0:
        guard let id = OperationID(text) else { return }
        try promise(id.description == text.lowercased(), "\(text) became \(id)")
        _ = (id.time.adding(seconds: 90 * 86_400), id.short, id.child(text))
    case 1:
        guard let id = VMID(text) else { return }
        try promise(id.description == text, "\(text) became \(id)")
    case 2:
        guard let selector = try? Selector(text) else { return }
        try promise(selector.terms.count <= 32, "\(selector.terms.count) terms")
        _ = selector.matches(["app": "web"])
    case 3:
        if nameProblem(text) == nil {
            try promise((1...63).contains(text.utf8.count), "name \(text)")
        }
        if referenceProblem(text) == nil { try promise(!text.contains(".."), "reference \(text)") }
    case 4:
        let safe = shown(text)
        try promise(safe.unicodeScalars.count <= 81, "\(safe.unicodeScalars.count) scalars")
        try promise(!safe.unicodeScalars.contains { $0.value < 0x20 }, "a control character")
    default:
        let lines = text.split(separator: "\n").map(String.init)
        let labels = Dictionary(lines.map { ($0, $0) }) { $1 }
        _ = labelViolations(labels, field: "labels")
        if isIPv4(text) { try promise(text.utf8.count <= 15, "address \(text)") }
    }
}
