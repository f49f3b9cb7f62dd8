import RoostModel
import Testing

@testable import RoostRegistry

private func name(_ digit: Character) -> String { "sha256:" + String(repeating: digit, count: 64) }

private let ociLayer = "application/vnd.oci.image.layer.v1.tar+gzip"
private let ociConfig = "application/vnd.oci.image.config.v1+json"
private let ociManifest = "application/vnd.oci.image.manifest.v1+json"

private func descriptor(_ type: String, _ digit: Character, _ size: Int64 = 7) -> String {
    #"{"mediaType":"\#(type)","digest":"\#(name(digit))","size":\#(size)}"#
}

private func image(
    config: String = descriptor(ociConfig, "c"),
    layers: [String] = [descriptor(ociLayer, "1")]
) -> String {
    #"{"schemaVersion":2,"mediaType":"\#(ociManifest)","config":\#(config),"#
        + #""layers":[\#(layers.joined(separator: ","))]}"#
}

private func entry(_ digit: Character, _ platform: String?) -> String {
    let tail = platform.map { #","platform":\#($0)"# } ?? ""
    return #"{"mediaType":"\#(ociManifest)","digest":"\#(name(digit))","size":5\#(tail)}"#
}

private func index(_ entries: [String]) -> String {
    #"{"schemaVersion":2,"manifests":[\#(entries.joined(separator: ","))]}"#
}

private func platform(_ system: String, _ machine: String, _ variant: String = "") -> String {
    let tail = variant.isEmpty ? "" : #","variant":"\#(variant)""#
    return #"{"os":"\#(system)","architecture":"\#(machine)"\#(tail)}"#
}

private func read(_ text: String, _ type: String = ociManifest) throws(Fault) -> ManifestDocument {
    try ManifestDocument(Array(text.utf8), contentType: type)
}

@Suite struct ManifestTests {
    private let indexType = "application/vnd.oci.image.index.v1+json; charset=utf-8"

    @Test func readsAnImage() throws {
        let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        let text = image(layers: [descriptor(ociLayer, "1"), descriptor(docker, "2", 9)])
        guard case .image(let manifest) = try read(text) else {
            Issue.record("no image")
            return
        }
        #expect(manifest.configuration.digest.description == name("c"))
        #expect(manifest.layers.map(\.size) == [7, 9])
        #expect(manifest.layers.map(\.digest.description) == [name("1"), name("2")])
    }

    @Test(arguments: [
        ([entry("a", platform("linux", "arm64")), entry("b", platform("linux", "amd64"))], "b"),
        (
            [entry("a", platform("unknown", "unknown")), entry("b", platform("linux", "amd64"))],
            "b"
        ),
        (
            [
                entry("a", platform("linux", "amd64", "v3")),
                entry("b", platform("linux", "amd64")),
            ], "b"
        ),
        ([entry("a", platform("linux", "amd64", "v2"))], "a"),
        ([entry("a", nil), entry("b", platform("linux", "amd64"))], "b"),
        (
            [entry("a", platform("windows", "amd64")), entry("b", platform("linux", "amd64"))],
            "b"
        ),
    ])
    func choosesLinuxOnAMD64(entries: [String], wanted: String) throws {
        guard case .index(let chosen) = try read(index(entries), indexType) else {
            Issue.record("no index")
            return
        }
        #expect(chosen.digest.description == "sha256:" + String(repeating: wanted, count: 64))
    }

    @Test func saysWhatThereIsWhenOursIsMissing() {
        let text = index([
            entry("a", platform("linux", "arm64")), entry("b", platform("windows", "amd64")),
        ])
        let fault = #expect(throws: Fault.self) { try read(text, indexType) }
        #expect(fault?.reason == .unsupported)
        #expect(fault?.message.contains("linux/arm64, windows/amd64") == true)
    }

    @Test(arguments: [
        ("", Reason.imageInvalid), ("[]", .imageInvalid), ("{}", .imageInvalid),
        (#"{"schemaVersion":1}"#, .unsupported), (#"{"schemaVersion":2}"#, .imageInvalid),
        (image(config: descriptor("application/vnd.x", "c")), .unsupported),
        (image(config: descriptor(ociConfig, "c", 9 << 20)), .limitExceeded),
        (image(layers: [descriptor(ociLayer, "1", 0)]), .imageInvalid),
        (image(layers: [descriptor(ociLayer, "1", -1)]), .imageInvalid),
        (image(layers: [descriptor(ociLayer, "1", 65 << 30)]), .limitExceeded),
        (image(layers: [descriptor(ociLayer, "g")]), .imageInvalid),
        (
            image(layers: [descriptor("application/vnd.oci.image.layer.v1.tar+zstd", "1")]),
            .unsupported
        ),
        (image(layers: [descriptor("application/json", "1")]), .unsupported),
        (
            image(layers: Array(repeating: descriptor(ociLayer, "1"), count: 257)), .limitExceeded
        ),
        (String(image().dropLast()) + #","manifests":[]}"#, .imageInvalid),
        (index([entry("a", platform("linux", "amd64"))]), .imageInvalid),
        (String(repeating: "[", count: 100_000), .imageInvalid),
    ])
    func refuses(text: String, reason: Reason) {
        let fault = #expect(throws: Fault.self) { try read(text) }
        #expect(fault?.reason == reason, "\(fault?.description ?? "")")
    }

    @Test func twoHundredFiftySixLayersAreTaken() throws {
        _ = try read(image(layers: Array(repeating: descriptor(ociLayer, "1"), count: 256)))
    }
}

@Suite struct ConfigurationTests {
    private func text(
        _ config: String,
        platform: String = #""os":"linux","architecture":"amd64""#
    )
        -> [UInt8]
    {
        Array(#"{\#(platform),"config":\#(config),"rootfs":{"diff_ids":["\#(name("d"))"]}}"#.utf8)
    }

    @Test func readsHowTheImageRuns() throws {
        let configuration = try PulledConfiguration(
            text(
                #"{"Entrypoint":["/e"],"Cmd":["a","b"],"Env":["A=1","B=x=y","A=2"],"#
                    + #""WorkingDir":"/w","User":"nobody"}"#
            ),
            layers: 1
        )
        #expect(configuration.entrypoint == ["/e"] && configuration.command == ["a", "b"])
        #expect(configuration.environment == ["A=2", "B=x=y"])
        #expect(configuration.workingDirectory == "/w" && configuration.user == "nobody")
        #expect(configuration.layerContents.map(\.description) == [name("d")])
    }

    @Test(arguments: ["null", "{}", #"{"Entrypoint":null,"Cmd":null,"Env":null}"#])
    func nothingIsFine(config: String) throws {
        let configuration = try PulledConfiguration(text(config), layers: 1)
        #expect(configuration.entrypoint.isEmpty && configuration.environment.isEmpty)
    }

    @Test func refusesWhatDoesNotFit() {
        let huge = String(repeating: "x", count: 200_000)
        let cases: [([UInt8], Int, Reason)] = [
            (Array("x".utf8), 1, .imageInvalid),
            (text("{}"), 2, .imageInvalid),
            (text("{}", platform: #""os":"linux","architecture":"arm64""#), 1, .unsupported),
            (text("{}", platform: #""os":"windows","architecture":"amd64""#), 1, .unsupported),
            (text(#"{"Env":["=x"]}"#), 1, .imageInvalid),
            (text(#"{"Env":["x"]}"#), 1, .imageInvalid),
            (text(#"{"Cmd":["a\u0000b"]}"#), 1, .imageInvalid),
            (text(#"{"WorkingDir":"w"}"#), 1, .imageInvalid),
            (text(#"{"Cmd":["\#(huge)"]}"#), 1, .limitExceeded),
        ]
        for (bytes, layers, reason) in cases {
            let fault = #expect(throws: Fault.self) {
                try PulledConfiguration(bytes, layers: layers)
            }
            #expect(
                fault?.reason == reason,
                "\(String(decoding: bytes.prefix(200), as: UTF8.self))"
            )
        }
    }
}
