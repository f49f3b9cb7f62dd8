/// A name that nobody had to think of, such as `calm-swift-42`. The tail grows with each attempt,
/// so that a crowded project still finds a free one.
func generatedName(
    attempt: Int = 0,
    using generator: inout some RandomNumberGenerator
) -> String {
    let manner = manners[Int.random(in: 0..<manners.count, using: &generator)]
    let bird = birds[Int.random(in: 0..<birds.count, using: &generator)]
    let bound = attempt == 0 ? 100 : 100_000
    return "\(manner)-\(bird)-\(Int.random(in: 0..<bound, using: &generator))"
}

private let manners = [
    "able", "airy", "bold", "brave", "brisk", "bright", "calm", "clear", "deft", "eager", "early",
    "fair", "fleet", "fresh", "gentle", "glad", "keen", "kind", "light", "lively", "lucky", "merry",
    "neat", "noble", "quick", "quiet", "ready", "spry", "steady", "sunny", "warm",
]

private let birds = [
    "crane", "curlew", "dipper", "dove", "eider", "falcon", "finch", "grebe", "gull", "heron",
    "hobby", "ibis", "jay", "kestrel", "kite", "lark", "linnet", "martin", "merlin", "owl", "pipit",
    "plover", "raven", "robin", "rook", "siskin", "snipe", "starling", "stork", "swallow", "swift",
    "tern", "thrush", "wren",
]
