internal import FoundationEssentials
internal import SwiftProtobuf

/// What proto/ declares, looked up by full name, such as `roost.compute.v1.VM`.
struct Schema: Sendable {
    /// The schema of the committed descriptors. Read once, on first use.
    static let shared = Schema(base64: fileDescriptorSetBase64)

    /// Every file, imports before their importers.
    let files: [Google_Protobuf_FileDescriptorProto]
    private(set) var messages: [String: Google_Protobuf_DescriptorProto] = [:]
    private(set) var enums: [String: Google_Protobuf_EnumDescriptorProto] = [:]
    /// The index in ``files`` of each symbol's file.
    private(set) var fileOfSymbol: [String: Int] = [:]
    /// Full names of all services, in the files' order.
    private(set) var services: [String] = []

    init(base64: String) {
        let bytes = Data(base64Encoded: base64) ?? Data()
        let set = try? Google_Protobuf_FileDescriptorSet(serializedBytes: bytes)
        files = set?.file ?? []
        for (index, file) in files.enumerated() {
            for message in file.messageType { add(message, in: file.package, file: index) }
            for type in file.enumType { add(type, in: file.package, file: index) }
            for service in file.service {
                let name = Self.join(file.package, service.name)
                services.append(name)
                fileOfSymbol[name] = index
                for method in service.method {
                    fileOfSymbol["\(name).\(method.name)"] = index
                }
            }
        }
    }

    private mutating func add(
        _ message: Google_Protobuf_DescriptorProto,
        in scope: String,
        file: Int
    ) {
        let name = Self.join(scope, message.name)
        messages[name] = message
        fileOfSymbol[name] = file
        for field in message.field { fileOfSymbol["\(name).\(field.name)"] = file }
        for nested in message.nestedType { add(nested, in: name, file: file) }
        for type in message.enumType { add(type, in: name, file: file) }
    }

    private mutating func add(
        _ type: Google_Protobuf_EnumDescriptorProto,
        in scope: String,
        file: Int
    ) {
        let name = Self.join(scope, type.name)
        enums[name] = type
        fileOfSymbol[name] = file
    }

    private static func join(_ scope: String, _ name: String) -> String {
        scope.isEmpty ? name : "\(scope).\(name)"
    }
}

/// Every method that proto/ declares, as `service/method`, in the files' order.
package let declaredMethods: [String] = Schema.shared.files.flatMap { file in
    file.service.flatMap { service in
        service.method.map { "\(file.package).\(service.name)/\($0.name)" }
    }
}
