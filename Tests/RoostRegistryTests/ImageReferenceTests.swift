import RoostModel
import Testing

@testable import RoostRegistry

private let digest = "sha256:" + String(repeating: "0a", count: 32)

@Suite struct ImageReferenceTests {
    @Test(arguments: [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("team/app", "docker.io/team/app:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/a/b:c", "docker.io/a/b:c"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"),
        ("registry.example.org/x__y/a-b.c:T_1.2-3", "registry.example.org/x__y/a-b.c:T_1.2-3"),
        ("HOST/app", "HOST/app:latest"),
        ("a/b@\(digest)", "docker.io/a/b@\(digest)"),
        ("a/b:t@\(digest)", "docker.io/a/b:t@\(digest)"),
        ("x---y", "docker.io/library/x---y:latest"),
    ])
    func readsWhatDockerReads(text: String, full: String) throws {
        let reference = try ImageReference(text)
        #expect(reference.description == full)
        #expect(try ImageReference(full) == reference)
    }

    @Test(arguments: [
        "", ":", "@", "a:", "/a", "a/", "a//b", "Alpine", "a b", "a:b c", "a:-t", "../a", "a/../b",
        "a..b", "a___b", "-a", "a-", ".a", "a@sha256:00", "a@sha512:" + digest.dropFirst(7),
        "a@" + digest.uppercased(), "host.:5/a", "h.x:0/a", "h.x:65536/a", "h.x:5:5/a", "ä/b",
        "h_h.x/a", String(repeating: "a", count: 260),
        "a:" + String(repeating: "t", count: 129), "user@host.org/app", "https://h.org/a",
    ])
    func refusesWhatDockerRefuses(text: String) {
        #expect(throws: Fault.self) { try ImageReference(text) }
    }

    @Test func pinsToADigestAndForgetsTheTag() throws {
        let reference = try ImageReference("localhost:5000/app:1")
        let pinned = reference.pinned(to: try #require(ContentDigest(digest)))
        #expect(pinned == "localhost:5000/app@\(digest)")
        #expect(try ImageReference(pinned).tagged == nil)
        #expect(reference.tagged == "localhost:5000/app:1")
    }
}

@Suite struct ChallengeTests {
    @Test(arguments: [
        (
            [
                #"Bearer realm="https://auth.x/token",service="reg",scope="repository:a/b:pull,push""#
            ],
            [
                Challenge(
                    "bearer",
                    [
                        "realm": "https://auth.x/token", "service": "reg",
                        "scope": "repository:a/b:pull,push",
                    ]
                )
            ]
        ),
        ([#"Basic realm="x y""#], [Challenge("basic", ["realm": "x y"])]),
        (
            [#"Basic realm=plain , Bearer realm = "b\"q" ,x=1"#],
            [
                Challenge("basic", ["realm": "plain"]),
                Challenge("bearer", ["realm": "b\"q", "x": "1"]),
            ]
        ),
        (
            [#"Negotiate"#, #"NEGOTIATE abc/def=="#, #"Basic realm="r""#],
            [
                Challenge("negotiate"), Challenge("negotiate"), Challenge("basic", ["realm": "r"]),
            ]
        ),
        (
            ["Negotiate abc==, Basic realm=r"],
            [Challenge("negotiate"), Challenge("basic", ["realm": "r"])]
        ),
        ([#"Bearer Realm="first",realm="second""#], [Challenge("bearer", ["realm": "first"])]),
        ([""], []), ([#"="x""#], []),
        ([#"Basic realm="never closed"#], [Challenge("basic")]),
        ([", ,Basic"], [Challenge("basic")]),
    ])
    func readsAndSurvives(fields: [String], wanted: [Challenge]) {
        #expect(Challenge.parse(fields) == wanted)
    }

    @Test func endsOnAnyBytes() {
        var seed: UInt64 = 7
        for _ in 0..<2000 {
            let bytes = (0..<40).map { _ -> UInt8 in
                seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Array("Basic=,\" \\/\tb1".utf8)[Int(seed >> 33) % 15 % 14]
            }
            let text = String(decoding: bytes, as: UTF8.self)
            #expect(Challenge.parse([text]).count <= 40)
        }
    }
}

@Suite struct ProxySettingsTests {
    private let variables = [
        "HTTP_PROXY": "http://p.x:3128", "https_proxy": "u%40d:hunter%3A2@q.x",
        "HTTPS_PROXY": "http://loses:1",
        "NO_PROXY": "in.example, .sub.org,10.0.0.0/8,host.y:444,*.star.z",
    ]

    @Test(arguments: [
        ("http", "a.b", 80, "p.x:3128"), ("https", "a.b", 443, "q.x:80"),
        ("https", "localhost", 443, nil), ("http", "127.9.9.9", 5000, nil),
        ("https", "in.example", 443, nil), ("https", "deep.in.example", 443, nil),
        ("https", "notin.example", 443, "q.x:80"), ("https", "sub.org", 443, nil),
        ("https", "x.sub.org", 443, nil), ("https", "10.200.0.1", 443, nil),
        ("https", "11.0.0.1", 443, "q.x:80"), ("https", "host.y", 444, nil),
        ("https", "host.y", 443, "q.x:80"), ("https", "a.star.z", 443, nil),
        ("https", "IN.EXAMPLE", 443, nil),
    ])
    func chooses(scheme: String, host: String, port: Int, wanted: String?) throws {
        let settings = try ProxySettings(environment: variables)
        let proxy = settings.proxy(scheme: scheme, host: host, port: port)
        #expect(proxy.map { "\($0.host):\($0.port)" } == wanted)
    }

    @Test func readsUserAndPasswordAndNeverShowsIt() throws {
        let settings = try ProxySettings(environment: variables)
        let proxy = try #require(settings.proxy(scheme: "https", host: "a.b", port: 443))
        #expect(proxy.user == "u@d" && proxy.password.reveal() == "hunter:2")
        #expect(!"\(settings)".contains("hunter") && "\(proxy)".contains("<redacted>"))
    }

    @Test func aStarMeansNoProxyAndAllProxyIsTheFallback() throws {
        let none = try ProxySettings(environment: ["ALL_PROXY": "http://p:1", "NO_PROXY": "*"])
        #expect(none.proxy(scheme: "https", host: "a.b", port: 443) == nil)
        let all = try ProxySettings(environment: ["ALL_PROXY": "http://p:1"])
        #expect(all.proxy(scheme: "http", host: "a.b", port: 80)?.host == "p")
    }

    @Test(arguments: ["socks5://s:1", "https://s", "http:///x", "http://h:0", "http://h:x", "h h"])
    func refusesOtherProxiesWithoutRepeatingThem(value: String) {
        let fault = #expect(throws: Fault.self) {
            try ProxySettings(environment: ["HTTPS_PROXY": value])
        }
        #expect(fault?.message.contains("HTTPS_PROXY") == true)
        #expect(fault?.message.contains(value) == false)
    }
}

@Suite struct SecretTests {
    @Test func noWayOfPrintingShowsIt() {
        let credential = Credential(user: "me", password: Secret("hunter2"))
        for text in ["\(credential)", String(reflecting: credential), "\(credential.basic)"] {
            #expect(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "\(text)")
        }
        var dumped = ""
        dump(credential, to: &dumped)
        #expect(!dumped.contains("hunter2"))
    }
}
