// swift-tools-version: 6.2

import PackageDescription

// A package of its own, so that the product is never built with a fuzzer's instrumentation. The
// product's folders are its targets (`Product` is a link to `Sources`): one package, so that
// `package` names are in sight; only what decodes outside bytes is built.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]
let instrumented = settings + [.unsafeFlags(["-sanitize=fuzzer"])]

func product(_ name: String, _ package: String) -> Target.Dependency {
    .product(name: name, package: package)
}
func library(
    _ name: String,
    _ dependencies: [Target.Dependency] = [],
    only sources: [String]? = nil,
    without excluded: [String] = []
) -> Target {
    .target(
        name: name,
        dependencies: dependencies,
        path: "Product/\(name)",
        exclude: excluded,
        sources: sources,
        swiftSettings: instrumented
    )
}

let grpc = product("GRPCCore", "grpc-swift-2")
let protobuf = product("SwiftProtobuf", "swift-protobuf")

let package = Package(
    name: "roost-fuzz",
    dependencies: [
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.0"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
    ],
    targets: [
        library("RoostModel"),
        library("RoostGuestWire"),
        library("RoostTar"),
        .target(name: "CRoostLinux", path: "Product/CRoostLinux"),
        .systemLibrary(name: "CRoostZlib", path: "Product/CRoostZlib"),
        library("RoostDriver", ["RoostModel"]),
        library("RoostHost", ["RoostModel"]),
        library("RoostLinux", ["RoostModel", "CRoostLinux"]),
        library(
            "RoostAPI",
            ["RoostModel", protobuf, grpc, product("GRPCProtobuf", "grpc-swift-protobuf")]
        ),
        // The server around it is Hummingbird's and NIO's, which have fuzzers of their own.
        library(
            "RoostConnect",
            [
                grpc, protobuf, product("HummingbirdCore", "hummingbird"),
                product("NIOCore", "swift-nio"), product("HTTPTypes", "swift-http-types"),
            ],
            only: [
                "Bytes", "Generated", "Protocol", "Serving/Incoming.swift",
                "Listener/Connection.swift", "Listener/Departures.swift",
            ]
        ),
        library(
            "RoostImages",
            [
                "RoostModel", "RoostHost", "RoostLinux", "RoostTar", "CRoostZlib",
                product("Crypto", "swift-crypto"),
            ]
        ),
        library("RoostAgent", ["RoostGuestWire", "RoostTar", "CRoostLinux"]),
        library("RoostRegistry", ["RoostModel"], only: ["Naming", "Wire"]),
        library(
            "RoostDriverQEMU",
            [
                "RoostModel", "RoostDriver", "RoostGuestWire", "RoostHost", "RoostLinux",
                product("Crypto", "swift-crypto"),
            ]
        ),
        library(
            "RoostCommands",
            ["RoostModel", "RoostAPI", "RoostLinux", "RoostTar", protobuf],
            only: ["Parsing", "Copying"],
            // Flags, which the argument parser reads.
            without: ["Parsing/PlacementOptions.swift"]
        ),
        .target(name: "CFuzzer", path: "CFuzzer"),
        .target(
            name: "FuzzTargets",
            dependencies: [
                "RoostModel", "RoostGuestWire", "RoostTar", "RoostAPI", "RoostConnect",
                "RoostImages",
                "RoostAgent", "RoostDriverQEMU", "RoostCommands", "RoostLinux", "RoostRegistry",
                grpc, protobuf,
                product("NIOCore", "swift-nio"), product("HTTPTypes", "swift-http-types"),
            ],
            path: "Targets",
            swiftSettings: instrumented
        ),
        .executableTarget(
            name: "roost-fuzz",
            dependencies: ["FuzzTargets", "CFuzzer"],
            path: "Driver",
            swiftSettings: settings
        ),
    ]
)
