internal import RoostAPI
internal import SwiftProtobuf

extension Roost_Fleet_V1_Access.Role {
    /// As people type it.
    fileprivate var word: String {
        switch self {
        case .viewer: "viewer"
        case .operator: "operator"
        case .admin: "admin"
        case .unspecified, .UNRECOGNIZED: "unknown"
        }
    }
}

extension Roost_Fleet_V1_AccessToken: Printable {
    static func columns(wide: Bool) -> [String] {
        ["ID", "NAME", "ROLE", "PROJECT", "EXPIRES", "USABLE"] + (wide ? ["CREATED", "BY"] : [])
    }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        [
            .init(text: id), .init(text: name), .init(text: role.word),
            .init(text: project.isEmpty ? "all" : project), .init(text: timeText(expireTime)),
            .init(text: usable ? "yes" : "no", color: usable ? .green : .yellow),
        ] + (wide ? [.init(text: timeText(createTime)), .init(text: createdBy)] : [])
    }

    var plainName: String { id }

    func details(now: Int64) -> [(String, String)] {
        [
            ("id", id), ("name", name), ("role", role.word),
            ("project", project.isEmpty ? "all" : project), ("made", timeText(createTime)),
            ("by", createdBy), ("expires", timeText(expireTime)), ("usable", usable ? "yes" : "no"),
        ]
    }
}

extension Roost_Fleet_V1_CreateAccessTokenResponse: Printable {
    static func columns(wide: Bool) -> [String] { ["ACCESS"] }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] { [.init(text: plainName)] }

    var plainName: String { url.isEmpty ? token : url }

    func details(now: Int64) -> [(String, String)] {
        [("access", plainName)] + accessToken.details(now: now)
    }
}

extension Roost_Fleet_V1_Caller: Printable {
    static func columns(wide: Bool) -> [String] { ["PRINCIPAL", "ROLE", "PROJECT"] }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        [
            .init(text: principal), .init(text: role.word),
            .init(text: project.isEmpty ? "all" : project),
        ]
    }

    var plainName: String { principal }

    func details(now: Int64) -> [(String, String)] {
        [
            ("principal", principal), ("role", role.word),
            ("project", project.isEmpty ? "all" : project),
        ]
    }
}

extension Roost_Fleet_V1_GetAuthorityResponse: Printable {
    static func columns(wide: Bool) -> [String] { ["FINGERPRINT", "ADDRESS"] }

    func cells(wide: Bool, now: Int64) -> [Table.Cell] {
        [.init(text: fingerprint), .init(text: address)]
    }

    var plainName: String {
        certificate.hasSuffix("\n") ? String(certificate.dropLast()) : certificate
    }

    func details(now: Int64) -> [(String, String)] {
        [("fingerprint", fingerprint), ("address", address), ("certificate", plainName)]
    }
}
