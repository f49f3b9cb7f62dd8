/// The smallest guests: 16-bit code, written by hand, in the shape of a Linux kernel (boot protocol
/// 2.02), which QEMU loads with `-kernel`. They need no disk and run within 100 ms.
package enum BootCode {
    /// A kernel file around `code`, which is entered in real mode at its first byte.
    package static func kernel(_ code: [UInt8]) -> [UInt8] {
        var image = [UInt8](repeating: 0, count: 4096)
        let start = 0x268
        precondition(code.count <= 2560 - start, "the setup sectors hold 1944 bytes of code")
        image[0x1f1] = 4  // setup sectors after the first
        image.replaceSubrange(0x1fe...0x1ff, with: [0x55, 0xaa])
        image.replaceSubrange(0x200...0x201, with: [0xeb, 0x66])  // jmp to 0x268
        image.replaceSubrange(0x202...0x205, with: Array("HdrS".utf8))
        image.replaceSubrange(0x206...0x207, with: [0x02, 0x02])
        image[0x211] = 1  // the protected-mode part goes to 1 MiB
        image.replaceSubrange(start..<(start + code.count), with: code)
        return image
    }

    /// Writes `word` to the serial port, then ends the VMM through isa-debug-exit at port 0xf4.
    static func speakAndExit(_ word: String) -> [UInt8] {
        word.utf8.flatMap { [0xb3, $0] + say }  // mov bl, byte
            + [0xb0, 0x21, 0xe6, 0xf4]  // out 0xf4, 0x21
            + halt
    }

    /// Waits for the transmitter (line status register, bit 5), then sends BL.
    package static let say: [UInt8] = [
        0xba, 0xfd, 0x03,  // mov dx, 0x3fd
        0xec,  // in al, dx
        0xa8, 0x20,  // test al, 0x20
        0x74, 0xfb,  // jz to in
        0xba, 0xf8, 0x03,  // mov dx, 0x3f8
        0x88, 0xd8,  // mov al, bl
        0xee,  // out dx, al
    ]

    /// Stands still for ever.
    package static let halt: [UInt8] = [0xf4, 0xeb, 0xfd]  // hlt; jmp to hlt
}
