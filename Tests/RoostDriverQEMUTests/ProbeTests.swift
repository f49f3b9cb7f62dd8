import Foundation
import RoostDriver
import RoostDriverQEMU
import RoostLinux
import RoostModel
import Testing

@Suite("The acceleration probe", .serialized)
struct ProbeTests {
    private let emulator = "/usr/bin/qemu-system-x86_64"

    @Test func theProbeGuestRunsUnderSoftwareEmulation() async {
        let (outcome, took) = await AccelerationProbe.boots(
            emulator,
            accelerator: "tcg",
            within: .seconds(20)
        )
        #expect(outcome == .ran, "\(outcome) after \(took)")
    }

    @Test func aGuestThatDoesNothingInTimeIsSilentAndEnded() async {
        let (outcome, took) = await AccelerationProbe.boots(
            emulator,
            accelerator: "tcg",
            within: .milliseconds(10)
        )
        #expect(outcome == .silent)
        #expect(took < .seconds(5))
    }

    @Test func anAcceleratorThatQEMUDoesNotHaveIsRefusedInItsWords() async {
        let (outcome, _) = await AccelerationProbe.boots(
            emulator,
            accelerator: "hax",
            within: .seconds(20)
        )
        guard case .refused(let words) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(words.contains("hax"))
    }

    @Test func aHostWithoutTheDeviceIsSaidToBeOne() async throws {
        let shop = try Workshop()
        defer { shop.remove() }
        let probe = AccelerationProbe(
            stateDirectory: shop.root,
            choice: .auto,
            device: "\(shop.root)/kvm"
        )
        let answer = await probe.answer(emulator: emulator)
        #expect(answer.kind == "tcg")
        #expect(answer.why.contains("No such file"))
    }

    /// A QEMU that behaves as a working or useless KVM would make it, whatever this host has.
    private func emulator(_ shop: Workshop, that guest: String) async throws -> String {
        let path = "\(shop.root)/qemu-\(EntropySource().next())"
        let version = "[ \"$1\" = --version ] && { echo 'QEMU emulator version 9.0.0'; exit 0; }"
        try await shop.script("\(version)\n\(guest)", at: path)
        return path
    }

    @Test(arguments: [
        ("printf roost; exit 67", "kvm", "ran under KVM"),
        ("exec sleep 60", "tcg", "did nothing"),
        ("echo 'failed to initialize kvm' >&2; exit 1", "tcg", "failed to initialize kvm"),
        ("exit 67", "tcg", "ended"),
    ])
    func theGuestDecidesAndNotTheDevice(_ guest: String, _ kind: String, _ why: String) async throws
    {
        let shop = try Workshop()
        defer { shop.remove() }
        let device = "\(shop.root)/kvm"
        try DurableFile.write(device, [])
        let probe = AccelerationProbe(stateDirectory: shop.root, choice: .auto, device: device)
        let answer = try await probe.answer(emulator: emulator(shop, that: guest))
        #expect(answer.kind == kind && answer.why.contains(why), "\(answer)")
    }

    @Test func aKeptAnswerIsUsedAndOneOfAnotherBootIsNot() async throws {
        let shop = try Workshop()
        defer { shop.remove() }
        let device = "\(shop.root)/kvm"
        try DurableFile.write(device, [])
        let path = try await emulator(shop, that: "printf roost; exit 67")
        func fresh() -> AccelerationProbe {
            AccelerationProbe(stateDirectory: shop.root, choice: .auto, device: device)
        }
        let first = await fresh().answer(emulator: path)
        let file = "\(shop.root)/acceleration.json"
        let text = try String(contentsOfFile: file, encoding: .utf8)
        let planted = text.replacing("\"why\":\"", with: "\"why\":\"kept: ")
        try DurableFile.write(file, Array(planted.utf8))
        #expect(await fresh().answer(emulator: path).why == "kept: \(first.why)")
        let stale = planted.replacing(HostFacts.bootID, with: "another boot")
        #expect(stale != planted)
        try DurableFile.write(file, Array(stale.utf8))
        #expect(await !fresh().answer(emulator: path).why.hasPrefix("kept: "))
        try DurableFile.write(file, Array("{".utf8))
        #expect(await !fresh().answer(emulator: path).why.hasPrefix("kept: "))
    }
}
