import Foundation
import RoostLinux
import RoostModel

@testable import RoostDriverQEMU

let machineTargets = [
    FuzzTarget(name: "qmp", check: monitor),
    FuzzTarget(name: "handles", check: handles),
]

/// What a VMM says on its monitor: pieces change nothing, and a command is one line.
private func monitor(_ input: [UInt8]) throws {
    var steering = Steering(input)
    let size = steering.byte()
    let whole = messages(pieces(steering.rest, of: 0))
    let cut = messages(pieces(steering.rest, of: max(size, 1)))
    try promise(whole == cut, "pieces of \(size) bytes gave \(cut), not \(whole)")
    let command = try qmpCommand(steering.text, ["text": .string(steering.text)], id: 1)
    try promise(command.count { $0 == 10 } == 1, "a command of more than one line")
    let value = try JSONDecoder().decode(QMPValue.self, from: Data(command))
    try promise(value["execute"]?.text == steering.text, "a command became another")
    _ = versionNumbers(steering.text)
}

private struct Heard: Equatable {
    var messages: [QMPMessage] = []
    var problem = ""
}

private func messages(_ pieces: [[UInt8]]) -> Heard {
    var decoder = LineDecoder()
    var heard = Heard()
    do throws(Fault) {
        for piece in pieces {
            for line in try decoder.feed(piece) {
                heard.messages.append(try QMPMessage(line: line))
            }
        }
    } catch {
        heard.problem = error.message
    }
    return heard
}

/// `handles.json`: what can be read is written and read the same.
private func handles(_ input: [UInt8]) throws {
    guard let handles = try? JSONDecoder().decode(Handles.self, from: Data(input)) else { return }
    let again = try JSONDecoder().decode(Handles.self, from: JSONEncoder().encode(handles))
    try promise(again == handles, "\(handles) became \(again)")
    _ = handles.process.isAlive
}
