import Foundation
import RoostAPI
import SwiftProtobuf
import Testing

@Suite("The committed descriptors")
struct SchemaTests {
    private func files() throws -> [Google_Protobuf_FileDescriptorProto] {
        let bytes = try #require(Data(base64Encoded: fileDescriptorSetBase64))
        return try Google_Protobuf_FileDescriptorSet(serializedBytes: bytes).file
    }

    /// Without `protoc`, which a maintainer has: names of messages and fields are compared.
    @Test func theyDescribeTheProtoFilesOfTheTree() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "proto").resolvingSymlinksInPath()
        let own = try files().filter { !$0.name.hasPrefix("google/protobuf/") }
        let walker = FileManager.default.enumerator(at: root, includingPropertiesForKeys: nil)
        var names: Set<String> = []
        while let url = walker?.nextObject() as? URL {
            guard url.pathExtension == "proto" else { continue }
            let name = String(url.path().dropFirst(root.path().count)).trimmingPrefix("/")
            names.insert(String(name))
            let file = try #require(own.first { $0.name == name }, "\(name) is not generated")
            let text = try String(contentsOf: url, encoding: .utf8)
            for message in file.messageType {
                #expect(text.contains("message \(message.name) {"), "\(name): \(message.name)")
            }
            let count = text.split(separator: "\n").count { $0.hasPrefix("message ") }
            #expect(file.messageType.count == count, "\(name) was changed: run generate-proto")
            let methods = text.split(separator: "\n").count { $0.hasPrefix("  rpc ") }
            #expect(file.service.reduce(0) { $0 + $1.method.count } == methods, "\(name)")
        }
        #expect(names == Set(own.map(\.name)))
    }

    @Test func enumsNestSoThatJSONSaysPlainNames() throws {
        for file in try files() where file.name.hasPrefix("roost/") {
            #expect(file.enumType.isEmpty, "\(file.name) has an enum outside a message")
        }
    }

    @Test func everyEnumBeginsWithUnspecified() throws {
        func check(_ message: Google_Protobuf_DescriptorProto) {
            for type in message.enumType {
                #expect(type.value.first?.name.hasSuffix("_UNSPECIFIED") == true, "\(type.name)")
            }
            for nested in message.nestedType { check(nested) }
        }
        for file in try files() where file.name.hasPrefix("roost/") {
            for message in file.messageType { check(message) }
        }
    }
}
