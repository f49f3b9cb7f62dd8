import RoostModel
import Testing

@Suite("What a node has")
struct HoldingsTests {
    private static let digest = "sha256:" + String(repeating: "0a", count: 32)
    private static let shape = "0a0a0a0a0a0a0a0a-bbbbbbbbbbbbbbbb-c2-m512-d4-user"

    @Test("each bad part is refused by its field, and what is too much before all else")
    func violations() {
        func fields(_ images: [NodeHoldings.Image], _ templates: [String] = []) -> [String] {
            NodeHoldings(images: images, templates: templates).violations().map(\.field)
        }
        #expect(fields([.init(digest: Self.digest, names: ["a", "b:c"])], [Self.shape]) == [])
        for bad in ["", "0a", "sha256:", Self.digest + "0", Self.digest.uppercased()] {
            #expect(fields([.init(digest: bad)]) == ["holdings.images[0].digest"], "\(bad)")
        }
        let twice = [NodeHoldings.Image(digest: Self.digest), .init(digest: Self.digest)]
        #expect(fields(twice) == ["holdings.images[1].digest"])
        for bad in ["", "a b", "a/../b", String(repeating: "x", count: 256)] {
            let image = NodeHoldings.Image(digest: Self.digest, names: ["fine", bad])
            #expect(fields([image]) == ["holdings.images[0].names[1]"], "\(bad)")
        }
        let names = Array(repeating: "n", count: NodeHoldings.mostNames + 1)
        #expect(
            fields([.init(digest: Self.digest, names: names)]) == ["holdings.images[0].names"]
        )
        #expect(fields([], ["what"]) == ["holdings.templates[0]"])
        let many = Array(repeating: NodeHoldings.Image(digest: ""), count: 501)
        #expect(fields(many) == ["holdings.images"])
        #expect(fields([], Array(repeating: "", count: 501)) == ["holdings.templates"])
    }

    @Test("a node that has more than may be said says as much as may be, its default for sure")
    func bounded() {
        let images = (0..<600).map { number in
            let digits = String(number, radix: 16)
            return NodeHoldings.Image(
                digest: "sha256:" + String(repeating: "0", count: 64 - digits.count) + digits,
                names: (0..<20).map { "name-\(number)-\($0)" },
                isDefault: number == 599
            )
        }
        let shapes = (0..<600).map { Self.shape.replacing("c2", with: "c\($0)") }
        let holdings = NodeHoldings(images: images, templates: shapes).bounded
        #expect(holdings.violations() == [])
        #expect(holdings.images.count == 500 && holdings.templates.count == 500)
        #expect(holdings.images.count(where: \.isDefault) == 1)
        #expect(holdings.artifacts.count <= PlacementLimits.artifacts)
    }

    @Test("the name of a template is read as it was written, and nothing else is one")
    func shapes() {
        let spec = VMSpec(
            cores: 2,
            memoryMiB: 512,
            rootDiskGiB: 4,
            image: Self.digest,
            kernel: "sha256:" + String(repeating: "b", count: 64)
        )
        #expect(TemplateShape(spec).name == Self.shape)
        #expect(TemplateShape(name: Self.shape) == TemplateShape(spec))
        for bad in [
            "", "-", Self.shape + "-", Self.shape.replacing("c2", with: "c02"),
            Self.shape.replacing("user", with: "moon"), Self.shape.replacing("c2", with: "m2"),
        ] {
            #expect(TemplateShape(name: bad) == nil, "\(bad)")
        }
    }
}
