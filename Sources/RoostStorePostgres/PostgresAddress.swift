import CLibPQ
import Glibc
package import RoostModel

/// Where a PostgreSQL database is, and as whom to go there: a `postgres://` URL, read once.
///
/// ``name`` has no password and may be logged. The password goes to libpq and nowhere else; without
/// one in the URL libpq looks into `PGPASSWORD` and the password file, as `psql` does.
package struct PostgresAddress: Sendable, CustomStringConvertible {
    /// The URL without its password and options: `postgres://ann@db.example:5432/roost`.
    package let name: String
    /// Whether the URL had a password in it.
    package let hasPassword: Bool
    /// The database and the user, for remedies; empty where libpq's defaults count.
    let database: String
    let user: String
    /// libpq's keywords and values, but the password.
    let keywords: [Keyword]
    let password: Secret?

    struct Keyword: Sendable {
        let name: String
        let value: String
    }

    package var description: String { name }

    /// Whether `text` is meant to be one of these.
    package static func isMeant(_ text: String) -> Bool {
        schemes.contains { text.hasPrefix($0) }
    }

    private static let schemes = ["postgres://", "postgresql://"]
    private static let mostBytes = 4_096

    /// Reads a URL as libpq does: `postgres://USER@HOST:PORT/DATABASE?sslmode=require`; several
    /// hosts with commas, a Unix socket with `?host=/run/postgresql`.
    ///
    /// - Throws: ``Reason/invalidFields`` for `field`. Nothing of the text stands in it: whatever is
    ///   wrong may be the password.
    package init(_ text: String, field: String) throws(Fault) {
        let shape = "write postgres://USER@HOST:5432/DATABASE"
        guard Self.isMeant(text) else {
            throw .invalid(field, "is no postgres:// URL: \(shape)")
        }
        guard text.utf8.count <= Self.mostBytes else {
            throw .invalid(field, "is a URL of more than \(Self.mostBytes) bytes")
        }
        guard !text.utf8.contains(0) else { throw .invalid(field, "has a NUL byte in it") }
        guard let parsed = Self.parse(text) else {
            throw .invalid(
                field,
                "libpq cannot read this URL: \(shape), with %40 for @ and %2F for / in names "
                    + "and passwords, and only libpq's own options after ?"
            )
        }
        func value(_ name: String) -> String { parsed.first { $0.name == name }?.value ?? "" }
        for port in value("port").split(separator: ",", omittingEmptySubsequences: false) {
            guard port.isEmpty || Int(port).map({ (1...65_535).contains($0) }) == true else {
                throw .invalid(field, "its port is not 1 to 65535")
            }
        }
        keywords = parsed.filter { $0.name != "password" }
        let secret = value("password")
        password = secret.isEmpty ? nil : Secret(secret)
        hasPassword = password != nil
        database = value("dbname")
        user = value("user")
        name = Self.shown(
            user: user,
            hosts: value("host").isEmpty ? value("hostaddr") : value("host"),
            ports: value("port"),
            database: database
        )
    }

    private static func parse(_ text: String) -> [Keyword]? {
        // The message may quote the password, so nobody asks for it.
        guard let options = PQconninfoParse(text, nil) else { return nil }
        defer { PQconninfoFree(options) }
        var found: [Keyword] = []
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val {
                found.append(
                    Keyword(name: String(cString: keyword), value: String(cString: value))
                )
            }
            option += 1
        }
        return found
    }

    private static func shown(
        user: String,
        hosts: String,
        ports: String,
        database: String
    ) -> String {
        let hostList = hosts.split(separator: ",", omittingEmptySubsequences: false)
        let portList = ports.split(separator: ",", omittingEmptySubsequences: false)
        let who = user.isEmpty ? "" : "\(escaped(user))@"
        if hosts.contains("/") {
            let port = ports.isEmpty ? "" : "&port=\(escaped(ports))"
            return "postgres://\(who)/\(escaped(database))?host=\(escaped(hosts))\(port)"
        }
        let places = hostList.enumerated().map { offset, host in
            let port = portList.count == 1 ? portList[0] : portList.dropFirst(offset).first ?? ""
            let place = host.contains(":") ? "[\(host)]" : escaped(String(host))
            return port.isEmpty ? place : "\(place):\(port)"
        }
        return "postgres://\(who)\(places.joined(separator: ","))/\(escaped(database))"
    }

    private static func escaped(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "/"), UInt8(ascii: ","):
                bytes.append(byte)
            default:
                bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
