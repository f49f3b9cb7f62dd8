// swift-tools-version: 6.2

import Foundation
import PackageDescription

// Every target gets the same settings. A weaker setting for one target is a
// reviewed exception written beside that target, never a changed default.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

// A module's README stands in its folder, where a reader looks for it.
func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(
        name: name,
        dependencies: dependencies,
        exclude: Context.readmes(of: name),
        swiftSettings: settings
    )
}
func tool(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}
func product(_ name: String, _ package: String) -> Target.Dependency {
    .product(name: name, package: package)
}

extension Context {
    /// The READMEs in a target's folder, which SwiftPM must be told to leave alone.
    static func readmes(of target: String) -> [String] {
        let folder = packageDirectory + "/Sources/" + target
        let names =
            FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
        return names.filter { $0.hasSuffix("README.md") }
    }
}

let log = product("Logging", "swift-log")
let grpc = product("GRPCCore", "grpc-swift-2")
let http2 = product("GRPCNIOTransportHTTP2", "grpc-swift-nio-transport")
let protobuf = product("SwiftProtobuf", "swift-protobuf")
let crypto = product("Crypto", "swift-crypto")
let certificates = product("X509", "swift-certificates")

let package = Package(
    name: "roost",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-async-algorithms", from: "1.1.0"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.0"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.0"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    ],
    targets: [
        // Layer 0: values, wire formats and C shims. No internal dependency.
        library("RoostModel"),
        // The guest links this: standard library and Glibc only.
        library("RoostGuestWire"),
        // The guest links this too.
        library("RoostTar"),
        library(
            "RoostConnect",
            [
                grpc, protobuf, log, product("HummingbirdCore", "hummingbird"),
                product("HummingbirdHTTP2", "hummingbird"), product("NIOCore", "swift-nio"),
                product("NIOPosix", "swift-nio"), product("NIOHTTP2", "swift-nio-http2"),
                product("NIOSSL", "swift-nio-ssl"), product("HTTPTypes", "swift-http-types"),
            ]
        ),
        .target(name: "CRoostLinux"),
        .systemLibrary(
            name: "CRoostZlib",
            pkgConfig: "zlib",
            providers: [.apt(["zlib1g-dev"])]
        ),
        .systemLibrary(
            name: "CLibPQ",
            pkgConfig: "libpq",
            providers: [.apt(["libpq-dev"])]
        ),

        // Layer 1: pure decisions and contracts. What the simulator replaces is a contract here.
        library("RoostScheduler", ["RoostModel"]),
        library("RoostReconciler", ["RoostModel"]),
        library("RoostStore", ["RoostModel"]),
        library("RoostDriver", ["RoostModel"]),
        library("RoostHost", ["RoostModel"]),
        library("RoostLink", ["RoostModel"]),
        library(
            "RoostAPI",
            ["RoostModel", protobuf, grpc, product("GRPCProtobuf", "grpc-swift-protobuf")]
        ),
        library("RoostLinux", ["RoostModel", "CRoostLinux"]),
        // Who is who in a fleet: its certificate authority, join tokens.
        library(
            "RoostTrust",
            ["RoostModel", crypto, certificates, product("SwiftASN1", "swift-asn1")]
        ),

        // Layer 2: the operation engine, and adapters. Siblings never see each other.
        library("RoostOperations", ["RoostModel", "RoostStore"]),
        // What the stores in databases have in common.
        library("RoostStoreRows", ["RoostModel", "RoostStore"]),
        library(
            "RoostStoreSQL",
            [
                "RoostModel", "RoostStore", "RoostStoreRows", product("GRDB", "GRDB.swift"),
                product("GRDBSQLite", "GRDB.swift"),
            ]
        ),
        library("RoostStorePostgres", ["RoostModel", "RoostStore", "RoostStoreRows", "CLibPQ"]),
        library(
            "RoostDriverQEMU",
            ["RoostModel", "RoostDriver", "RoostGuestWire", "RoostHost", "RoostLinux", crypto]
        ),
        // The way to a node in another process.
        library(
            "RoostLinkGRPC",
            [
                "RoostModel", "RoostLink", "RoostAPI", "RoostTrust", grpc, http2, protobuf, log,
                certificates, product("SwiftASN1", "swift-asn1"),
                product("NIOSSL", "swift-nio-ssl"), product("NIOCore", "swift-nio"),
                product("AsyncAlgorithms", "swift-async-algorithms"),
            ]
        ),
        library(
            "RoostImages",
            ["RoostModel", "RoostHost", "RoostLinux", "RoostTar", "CRoostZlib", crypto]
        ),
        library(
            "RoostRegistry",
            [
                "RoostModel", "RoostLinux", crypto, product("NIOCore", "swift-nio"),
                product("NIOHTTP1", "swift-nio"),
                product("AsyncHTTPClient", "async-http-client"),
            ]
        ),
        library("RoostAgent", ["RoostGuestWire", "RoostTar", "CRoostLinux"]),

        // Layer 3: services. They see contracts, never adapters, transports or the real clock.
        library(
            "RoostNode",
            [
                "RoostModel", "RoostReconciler", "RoostOperations", "RoostStore", "RoostDriver",
                "RoostHost", "RoostLink", "RoostGuestWire", log,
            ]
        ),
        library(
            "RoostControl",
            [
                "RoostModel", "RoostScheduler", "RoostReconciler", "RoostOperations", "RoostStore",
                "RoostLink", log,
            ]
        ),

        // Layer 4: the skins over the services, the command line, and the whole system simulated.
        library(
            "RoostServices",
            [
                "RoostModel", "RoostScheduler", "RoostReconciler", "RoostAPI", "RoostControl",
                "RoostNode", "RoostLink", "RoostHost", "RoostOperations", "RoostStore",
                "RoostTrust",
                grpc, protobuf, log, crypto,
            ]
        ),
        library(
            "RoostCommands",
            [
                "RoostModel", "RoostAPI", "RoostLinux", "RoostTar", "RoostTrust",
                product("ArgumentParser", "swift-argument-parser"), grpc, http2, protobuf,
                product("NIOCore", "swift-nio"), product("NIOSSL", "swift-nio-ssl"),
                product("Yams", "Yams"),
            ]
        ),
        library(
            "RoostSimulation",
            [
                "RoostModel", "RoostScheduler", "RoostReconciler", "RoostStore", "RoostOperations",
                "RoostDriver", "RoostHost", "RoostLink", "RoostNode", "RoostControl", log,
            ]
        ),

        // Composition roots: the only places where an adapter meets a service.
        tool("roost", ["RoostCommands"]),
        tool(
            "roostd",
            [
                "RoostModel", "RoostAPI", "RoostServices", "RoostControl", "RoostNode",
                "RoostConnect", "RoostStore", "RoostStoreSQL", "RoostStorePostgres", "RoostDriver",
                "RoostDriverQEMU", "RoostGuestWire", "RoostHost", "RoostImages", "RoostLinux",
                "RoostLink", "RoostLinkGRPC", "RoostTrust",
                "RoostOperations", "RoostRegistry", "RoostScheduler", grpc, log, crypto,
                product("ArgumentParser", "swift-argument-parser"),
            ]
        ),
        // Fully static, so that it runs in any guest: no getaddrinfo, getpw*, getgr*, dlopen in it.
        .executableTarget(
            name: "roost-agent",
            dependencies: ["RoostAgent"],
            swiftSettings: settings + [.unsafeFlags(["-static-executable"])],
            linkerSettings: [
                .unsafeFlags(["-static-executable", "-Xlinker", "-s", "-Xlinker", "--gc-sections"])
            ]
        ),
        tool("roost-sim", ["RoostSimulation"]),

        // Power cuts for the SQLite store's tests: a VFS that loses what was not synced.
        .target(name: "CRoostSQLiteVFS", linkerSettings: [.linkedLibrary("sqlite3")]),
        .executableTarget(
            name: "roost-storebench",
            dependencies: ["RoostModel", "RoostStore", "RoostStoreSQL", "RoostStorePostgres"],
            path: "Benchmarks/StoreBench",
            exclude: ["compare.sh"],
            swiftSettings: settings
        ),

        // How many placements a second, and answers to compare with Ganeti's.
        .executableTarget(
            name: "roost-schedbench",
            dependencies: ["RoostModel", "RoostScheduler"],
            path: "Benchmarks/SchedBench",
            exclude: ["compare.py"],
            swiftSettings: settings
        ),

        library(
            "RoostTestKit",
            [
                "RoostModel", "RoostStore", "RoostDriver", "RoostLink", "RoostNode", "RoostHost",
                "RoostOperations", log,
            ]
        ),
        tests("TidyTests", []),
        tests("RoostModelTests", ["RoostModel", "RoostTestKit"]),
        tests(
            "RoostOperationsTests",
            ["RoostOperations", "RoostReconciler", "RoostModel", "RoostStore", "RoostTestKit"]
        ),
        tests("RoostTrustTests", ["RoostTrust", "RoostModel", crypto, certificates]),
        tests(
            "RoostLinkGRPCTests",
            [
                "RoostLinkGRPC", "RoostLink", "RoostTrust", "RoostModel", "RoostNode", "RoostStore",
                "RoostDriver", "RoostHost", "RoostOperations", "RoostAPI", "RoostTestKit",
                "RoostServices", "RoostControl", "RoostScheduler", grpc, http2, log,
            ]
        ),
        tests("RoostSchedulerTests", ["RoostScheduler", "RoostModel", "RoostTestKit"]),
        tests("RoostReconcilerTests", ["RoostReconciler", "RoostModel", "RoostTestKit"]),
        tests("RoostSimulationTests", ["roost-sim", "RoostOperations"]),
        tests("RoostStoreTests", ["RoostModel", "RoostStore", "RoostTestKit"]),
        tests(
            "RoostStoreSQLTests",
            [
                "RoostModel", "RoostStore", "RoostStoreSQL", "RoostTestKit", "CRoostSQLiteVFS",
                product("GRDB", "GRDB.swift"),
            ]
        ),
        tests(
            "RoostStorePostgresTests",
            ["RoostModel", "RoostStore", "RoostStoreRows", "RoostStorePostgres", "RoostTestKit"]
        ),
        tests("RoostImagesTests", ["RoostImages", "RoostModel", "RoostHost"]),
        tests("RoostRegistryTests", ["RoostRegistry", "RoostModel", "RoostLinux"]),
        tests("RoostGuestWireTests", ["RoostGuestWire"]),
        tests(
            "RoostAgentTests",
            ["RoostAgent", "CRoostLinux", "RoostGuestWire", "RoostNode", "RoostModel"]
        ),
        .executableTarget(
            name: "RoostDriverQEMUHost",
            dependencies: ["RoostModel", "RoostDriver", "RoostDriverQEMU"],
            path: "Tests/RoostDriverQEMUHost",
            swiftSettings: settings
        ),
        tests("RoostLinuxTests", ["RoostLinux", "RoostModel"]),
        tests(
            "RoostDriverQEMUTests",
            [
                "RoostDriverQEMU", "RoostDriver", "RoostHost", "RoostLinux", "RoostModel",
                "RoostNode", "RoostTestKit", "RoostDriverQEMUHost",
            ]
        ),
        tests(
            "RoostAPITests",
            [
                "RoostAPI", "RoostModel", "RoostTestKit", grpc, protobuf,
                product("GRPCProtobuf", "grpc-swift-protobuf"),
            ]
        ),
        tests(
            "RoostServicesTests",
            [
                "RoostServices", "RoostAPI", "RoostControl", "RoostModel", "RoostOperations",
                "RoostScheduler", "RoostStore", "RoostTrust", grpc, log,
            ]
        ),
        tests(
            "RoostConnectTests",
            [
                "RoostConnect", "RoostAPI", "RoostModel", grpc, http2, protobuf,
                product("GRPCProtobuf", "grpc-swift-protobuf"), product("NIOCore", "swift-nio"),
                product("NIOPosix", "swift-nio"), product("NIOHTTP1", "swift-nio"),
            ]
        ),
        tests(
            "RoostCommandsTests",
            [
                "RoostCommands", "RoostModel", "RoostAPI", "RoostTestKit", "RoostLinux", "RoostTar",
                "RoostTrust", grpc,
                http2,
                protobuf, product("ArgumentParser", "swift-argument-parser"),
            ]
        ),
        tests("RoostTarTests", ["RoostTar"]),
        // The fuzzer's targets over its committed corpus; `make fuzz` runs them with a fuzzer.
        tests(
            "RoostFuzzTests",
            [
                "RoostModel", "RoostGuestWire", "RoostTar", "RoostAPI", "RoostConnect",
                "RoostImages", "RoostAgent", "RoostDriverQEMU", "RoostCommands", "RoostLinux",
                "RoostRegistry", grpc, protobuf, product("NIOCore", "swift-nio"),
                product("HTTPTypes", "swift-http-types"),
            ]
        ),
        tests(
            "RoostNodeGuestTests",
            [
                "RoostNode", "RoostHost", "RoostLink", "RoostGuestWire", "RoostModel",
                "RoostDriver", "RoostOperations",
            ]
        ),
        tests(
            "RoostControlTests",
            [
                "RoostControl", "RoostNode", "RoostModel", "RoostScheduler", "RoostOperations",
                "RoostStore", "RoostDriver", "RoostHost", "RoostLink", log,
            ]
        ),
        tests(
            "RoostNodeTests",
            [
                "RoostNode", "RoostModel", "RoostReconciler", "RoostOperations", "RoostStore",
                "RoostDriver", "RoostHost", "RoostLink", "RoostGuestWire", "RoostTestKit", log,
            ]
        ),
    ]
)
