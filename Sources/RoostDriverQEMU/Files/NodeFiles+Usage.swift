internal import Glibc
package import RoostHost
internal import RoostLinux
package import RoostModel

/// What lies in the state directory and in the memory directory.
extension NodeFiles {
    package func stored() async throws(Fault) -> StoredFiles {
        try await onItsOwnThread { () throws(Fault) in
            var found: [StoredFile] = []
            walk(root, "", .state, except: memoryDirectory, into: &found)
            walk(memoryDirectory, "", .memory, except: root, into: &found)
            return StoredFiles(
                files: found,
                diskFree: try HostFacts.free(root),
                memoryFree: try HostFacts.free(memoryDirectory)
            )
        }
    }
}

/// Adds what is at `path`, and all below it but for `except`. What has gone meanwhile is left out.
/// Follows no link. Blocks.
private func walk(
    _ path: String,
    _ name: String,
    _ place: StoredFile.Place,
    except: String,
    into found: inout [StoredFile]
) {
    var state = stat()
    guard lstat(path, &state) == 0 else { return }
    let isFolder = state.st_mode & S_IFMT == S_IFDIR
    found.append(
        StoredFile(
            place: place,
            path: name,
            identity: StoredFile.Identity(
                device: UInt64(state.st_dev),
                inode: UInt64(state.st_ino)
            ),
            // A directory's links are those of the directories in it.
            names: isFolder ? 1 : Int(state.st_nlink),
            bytes: UInt64(clamping: state.st_blocks) * 512,
            memoryName: memoryName(path)
        )
    )
    guard isFolder else { return }
    for entry in names(in: path) where "\(path)/\(entry)" != except {
        walk(
            "\(path)/\(entry)",
            name.isEmpty ? entry : "\(name)/\(entry)",
            place,
            except: except,
            into: &found
        )
    }
}

/// The name in the memory directory that the file at `path` points to, if it is such a file.
private func memoryName(_ path: String) -> String? {
    let folder = SavedFolder(path: DurableFile.directory(of: path))
    guard path == folder.pointerPath else { return nil }
    // One that cannot be read now points nowhere: that memory is shown as nobody's.
    let bytes = (try? DurableFile.read(path, limit: 4096)) ?? nil
    return bytes.flatMap { String(decoding: $0, as: UTF8.self).split(separator: "/").last }
        .map(String.init)
}
