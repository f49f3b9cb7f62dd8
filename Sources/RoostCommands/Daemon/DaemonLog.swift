internal import Glibc
internal import RoostLinux

/// The size of a file in bytes; 0 when there is none.
func fileSize(_ path: String) -> Int {
    let number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard number >= 0 else { return 0 }
    return max(0, lseek(Descriptor(number).number, 0, SEEK_END))
}

/// The last message that a daemon has logged behind `offset`; `nil` when there is none.
func lastWords(of path: String, after offset: Int) -> String? {
    let number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard number >= 0 else { return nil }
    let file = Descriptor(number)
    var bytes = [UInt8](repeating: 0, count: 16 << 10)
    let start = max(offset, lseek(file.number, 0, SEEK_END) - bytes.count)
    let got = pread(file.number, &bytes, bytes.count, start)
    let text = String(decoding: bytes[..<max(0, got)], as: UTF8.self)
    return text.split(separator: "\n").last.map { loggedMessage(String($0)) }
}
