import RoostGuestWire

/// Who a command runs as. Read from /etc/passwd and /etc/group directly: glibc's own look-up
/// loads shared libraries, which a static program in a foreign image must not.
struct Account: Equatable {
    var name: String
    var uid: UInt32
    var gid: UInt32
    var groups: [UInt32]
    var home: String
    var shell: String

    /// Finds `user`, written `name`, `uid`, `name:group`, `uid:gid`, or empty for root.
    ///
    /// A number needs no entry; a name does.
    static func resolve(
        _ user: String,
        passwd: String,
        group: String
    ) throws(GuestFailure) -> Account {
        let parts = user.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let wanted = parts.first.map(String.init).flatMap { $0.isEmpty ? nil : $0 } ?? "0"
        var account = try find(wanted, passwd: passwd)
        account.groups = memberships(of: account.name, group: group)
        if parts.count == 2 {
            account.gid = try findGroup(String(parts[1]), group: group)
            account.groups = []
        }
        if !account.groups.contains(account.gid) { account.groups.insert(account.gid, at: 0) }
        return account
    }

    private static func find(_ wanted: String, passwd: String) throws(GuestFailure) -> Account {
        let number = UInt32(wanted)
        for line in passwd.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count >= 7, let uid = UInt32(fields[2]), let gid = UInt32(fields[3]),
                fields[0] == wanted || uid == number
            else { continue }
            return Account(
                name: String(fields[0]),
                uid: uid,
                gid: gid,
                groups: [],
                home: fields[5].isEmpty ? "/" : String(fields[5]),
                shell: fields[6].isEmpty ? "/bin/sh" : String(fields[6])
            )
        }
        guard let number else {
            throw GuestFailure(.userNotFound, "no user \(wanted) in /etc/passwd")
        }
        return Account(
            name: number == 0 ? "root" : wanted,
            uid: number,
            gid: number == 0 ? 0 : number,
            groups: [],
            home: number == 0 ? "/root" : "/",
            shell: "/bin/sh"
        )
    }

    private static func findGroup(_ wanted: String, group: String) throws(GuestFailure) -> UInt32 {
        if let number = UInt32(wanted) { return number }
        for line in group.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count >= 3, fields[0] == wanted, let gid = UInt32(fields[2]) { return gid }
        }
        throw GuestFailure(.userNotFound, "no group \(wanted) in /etc/group")
    }

    private static func memberships(of name: String, group: String) -> [UInt32] {
        var groups: [UInt32] = []
        for line in group.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count >= 4, let gid = UInt32(fields[2]), groups.count < 256,
                fields[3].split(separator: ",").contains(where: { $0 == name })
            else { continue }
            groups.append(gid)
        }
        return groups
    }
}
