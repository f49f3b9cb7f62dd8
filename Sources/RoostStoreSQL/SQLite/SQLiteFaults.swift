import GRDB
import RoostModel
import RoostStore

/// What SQLite's result codes mean to whoever asked.
enum SQLiteFaults {
    /// The fault for `error`, which happened while `doing` something to the file at `path`.
    static func fault(_ error: any Error, doing: String, path: String) -> Fault {
        if let fault = error as? Fault { return fault }
        guard let error = error as? DatabaseError else {
            return Fault(.ioFailed, "\(doing) failed", metadata: ["path": path], cause: error)
        }
        let what = "\(doing) failed: \(error.message ?? "result \(error.resultCode.rawValue)")"
        return Fault(reason(error), what, metadata: ["path": path], cause: error)
    }

    private static func reason(_ error: DatabaseError) -> Reason {
        switch error.resultCode {
        case .SQLITE_FULL: .diskFull
        case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_FORMAT: .stateUnreadable
        case .SQLITE_NOMEM: .memoryFull
        case .SQLITE_TOOBIG: .limitExceeded
        case .SQLITE_IOERR, .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_BUSY, .SQLITE_LOCKED,
            .SQLITE_PERM, .SQLITE_AUTH, .SQLITE_PROTOCOL, .SQLITE_NOLFS, .SQLITE_INTERRUPT:
            .ioFailed
        default: .bug
        }
    }

    /// Whether only the batch that met `error` has to go, and the transaction around it can stay.
    static func concernsOneBatch(_ error: any Error) -> Bool {
        guard let error = error as? DatabaseError else { return error is Fault }
        switch error.resultCode {
        case .SQLITE_TOOBIG, .SQLITE_CONSTRAINT, .SQLITE_MISMATCH, .SQLITE_RANGE: return true
        default: return false
        }
    }
}
