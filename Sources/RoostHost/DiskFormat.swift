/// How the bytes of a disk file are to be read. Always said, never guessed: a guest that writes a
/// qcow2 header into a raw disk could otherwise make the host open any file.
package enum DiskFormat: String, CaseIterable, Sendable {
    case raw
    case qcow2
}
