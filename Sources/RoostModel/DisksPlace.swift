/// Where a VM's directory is.
package enum DisksPlace: String, CaseIterable, Sendable {
    case missing
    case live
    case trashed
}
