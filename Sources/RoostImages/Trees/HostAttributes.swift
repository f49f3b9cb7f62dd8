import Glibc

/// The extended attributes of the host's files.
///
/// Swift's Glibc module leaves `sys/xattr.h` out, so the two functions are looked up by name.
enum HostAttributes {
    private typealias List =
        @convention(c) (UnsafePointer<CChar>, UnsafeMutablePointer<CChar>?, Int) -> Int
    private typealias Get =
        @convention(c) (
            UnsafePointer<CChar>, UnsafePointer<CChar>, UnsafeMutableRawPointer?, Int
        ) -> Int

    private static let list = dlsym(nil, "llistxattr").map { unsafeBitCast($0, to: List.self) }
    private static let get = dlsym(nil, "lgetxattr").map { unsafeBitCast($0, to: Get.self) }

    /// The attributes of the file at `path` (NUL at the end), sorted by name; a symbolic link's
    /// own. A file system without attributes has none, and what may not be read is left out.
    static func read(_ path: [CChar]) -> [ExtendedAttribute] {
        guard let list, let get, list(path, nil, 0) > 0 else { return [] }
        var buffer = [CChar](repeating: 0, count: 65_536)
        let length = list(path, &buffer, buffer.count)
        guard length > 0 else { return [] }
        let names = buffer[..<length].split(separator: 0).map { part in
            String(decoding: part.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        return names.sorted().compactMap { name in
            var value = [UInt8](repeating: 0, count: 65_536)
            let count = get(path, name, &value, value.count)
            return count < 0 ? nil : ExtendedAttribute(name: name, value: Array(value[..<count]))
        }
    }
}
