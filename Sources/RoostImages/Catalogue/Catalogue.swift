import Crypto
import Foundation
package import RoostModel

/// What stands in a catalogue entry's `manifest.json`.
package protocol CatalogueManifest: Codable, Sendable, Equatable {
    /// The files beside the manifest, all of them required.
    static var files: [String] { get }
    /// The word for such an entry in messages, such as `image`.
    static var noun: String { get }
    /// The reason for an entry that is not there.
    static var missing: Reason { get }
}

/// One entry of a catalogue.
package struct CatalogueEntry<Manifest: CatalogueManifest>: Sendable, Equatable {
    /// SHA-256 of the canonical manifest, 64 hexadecimal digits: the entry's id and folder name.
    package let digest: String
    /// The entry's folder, absolute if the catalogue's is.
    package let path: String
    /// What it holds.
    package let manifest: Manifest
}

/// A folder of content-addressed entries, `DIGEST/{manifest.json, …}`.
///
/// The same content has the same digest and is stored once. An entry appears by one rename,
/// whole and on stable storage, and is never changed. What cannot be read is reported, never
/// removed. Every function blocks; two processes may import at once, but ``removeLeftovers()``
/// is for the one that holds the state directory's lock.
package struct Catalogue<Manifest: CatalogueManifest>: Sendable {
    /// The catalogue's folder.
    package let directory: String

    /// Opens the catalogue in `directory`, making the folder when something is first imported.
    package init(directory: String) { self.directory = directory }

    /// The entries, by digest, and a fault for each folder that is not one.
    package func list() throws(Fault) -> (
        entries: [CatalogueEntry<Manifest>], unreadable: [Fault]
    ) {
        guard HostFolder.exists(directory) else { return ([], []) }
        var entries: [CatalogueEntry<Manifest>] = []
        var unreadable: [Fault] = []
        for name in try HostFolder.names(directory) where !name.hasPrefix(".") {
            do throws(Fault) {
                entries.append(try read(name))
            } catch {
                unreadable.append(error)
            }
        }
        return (entries, unreadable)
    }

    /// The entry with that digest.
    ///
    /// - Throws: the manifest's `missing` reason, or `stateUnreadable`.
    package func find(_ digest: String) throws(Fault) -> CatalogueEntry<Manifest> {
        guard Self.isDigest(digest), HostFolder.exists("\(directory)/\(digest)") else {
            throw Fault(Manifest.missing, "no \(Manifest.noun) \"\(printable(digest))\"")
        }
        return try read(digest)
    }

    /// Removes an entry: it is gone at once, its bytes shortly after.
    ///
    /// - Throws: the manifest's `missing` reason, or `ioFailed`.
    package func delete(_ digest: String) throws(Fault) {
        guard Self.isDigest(digest), HostFolder.exists("\(directory)/\(digest)") else {
            throw Fault(Manifest.missing, "no \(Manifest.noun) \"\(printable(digest))\"")
        }
        let away = "\(directory)/.deleted-\(Self.chance())"
        guard rename("\(directory)/\(digest)", away) == 0 else {
            throw systemFault(errno, "delete", "\(directory)/\(digest)")
        }
        try HostFolder.sync(directory)
        try HostFolder.removeAll(away)
    }

    /// Removes what interrupted imports and deletions left behind; returns how many there were.
    package func removeLeftovers() throws(Fault) -> Int {
        guard HostFolder.exists(directory) else { return 0 }
        var count = 0
        for name in try HostFolder.names(directory)
        where name.hasPrefix(".staging-") || name.hasPrefix(".deleted-") {
            try HostFolder.removeAll("\(directory)/\(name)")
            count += 1
        }
        return count
    }

    /// Makes an entry: `build` fills a private folder and says what is in it.
    ///
    /// Whatever fails, nothing is left. What is there already is not made twice.
    func make(
        _ build: (_ folder: String) throws(Fault) -> Manifest
    ) throws(Fault) -> CatalogueEntry<Manifest> {
        try HostFolder.createAll(directory)
        let staging = "\(directory)/.staging-\(Self.chance())"
        try HostFolder.create(staging)
        do throws(Fault) {
            let entry = try publish(staging, try build(staging))
            if HostFolder.exists(staging) { try HostFolder.removeAll(staging) }
            return entry
        } catch {
            try? HostFolder.removeAll(staging)
            throw error
        }
    }

    private func publish(
        _ staging: String,
        _ manifest: Manifest
    ) throws(Fault) -> CatalogueEntry<Manifest> {
        let bytes = try Self.encode(manifest)
        let digest = hexadecimal(SHA256.hash(data: bytes))
        for name in Manifest.files { try DiskFile.reading("\(staging)/\(name)").sync() }
        try HostFolder.write(bytes, to: "\(staging)/manifest.json", mode: 0o444)
        _ = try HostFolder.publish(staging, as: "\(directory)/\(digest)", in: directory)
        return try read(digest)
    }

    private func read(_ digest: String) throws(Fault) -> CatalogueEntry<Manifest> {
        let path = "\(directory)/\(digest)"
        func unreadable(_ problem: String) -> Fault {
            Fault(
                .stateUnreadable,
                "\(Manifest.noun) \(printable(digest)): \(problem)",
                metadata: ["path": path]
            )
        }
        guard Self.isDigest(digest) else { throw unreadable("the folder's name is no digest") }
        let bytes: [UInt8]
        do throws(Fault) {
            bytes = try DiskFile.reading("\(path)/manifest.json").readAll(limit: .mebibytes(1))
            for name in Manifest.files { _ = try DiskFile.reading("\(path)/\(name)") }
        } catch {
            throw unreadable(error.message)
        }
        guard hexadecimal(SHA256.hash(data: bytes)) == digest else {
            throw unreadable("manifest.json is not what it was")
        }
        guard let manifest = try? JSONDecoder().decode(Manifest.self, from: Data(bytes)) else {
            throw unreadable("manifest.json is of another version")
        }
        return CatalogueEntry(digest: digest, path: path, manifest: manifest)
    }

    /// The canonical form: sorted keys, no spaces.
    private static func encode(_ manifest: Manifest) throws(Fault) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return [UInt8](try encoder.encode(manifest))
        } catch {
            throw Fault(.bug, "a manifest that cannot be written", cause: error)
        }
    }

    private static func isDigest(_ text: String) -> Bool {
        text.utf8.count == 64
            && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    private static func chance() -> String {
        String(UInt64.random(in: .min ... .max), radix: 16)
    }
}
