/// What a VMM shows of itself in its configuration device (QEMU's fw_cfg): one item of ``size`` bytes, the
/// first a letter, the others drawn for each process.
///
/// A guest that was told to stand still reads it again and again. When it is another one, another process
/// has the guest's memory: ``goesOn`` says that it is the machine that it was, which a live fork carried
/// over, and may go on at once. Anything else waits to be told.
package enum GuestLife {
    /// The item's name.
    package static let item = "opt/org.roost.life"
    package static let size = 16
    package static let goesOn = UInt8(ascii: "G")
    package static let waits = UInt8(ascii: "W")

    /// Whether a machine whose VMM showed `former` when it came to stand may go on now that it shows
    /// `present`; bytes of another size never say so.
    package static func mayGoOn(from former: [UInt8], to present: [UInt8]) -> Bool {
        former.count == size && present.count == size && present != former
            && present.first == goesOn
    }
}
