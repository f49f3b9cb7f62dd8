/// The variables that this program reads, in one place.
enum Variable {
    static let context = "ROOST_CONTEXT"
    static let socket = "ROOST_SOCKET"
    static let stateDirectory = "ROOST_STATE_DIR"
    static let readyDescriptor = "ROOST_READY_FD"
    static let noColor = "NO_COLOR"
}
