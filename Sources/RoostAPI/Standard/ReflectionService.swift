package import GRPCCore
internal import SwiftProtobuf

/// `grpc.reflection.v1.ServerReflection`: tells tools such as grpcurl what this server has.
package struct ReflectionService: Grpc_Reflection_V1_ServerReflection.SimpleServiceProtocol {
    private let reflection: Reflection

    /// Describes proto/ and lists `services`, by full name.
    package init(services: [String]) {
        reflection = Reflection(schema: .shared, services: services.sorted())
    }

    package func serverReflectionInfo(
        request: RPCAsyncSequence<Grpc_Reflection_V1_ServerReflectionRequest, any Error>,
        response: RPCWriter<Grpc_Reflection_V1_ServerReflectionResponse>,
        context: ServerContext
    ) async throws {
        for try await question in request {
            try await response.write(answer(question))
        }
    }

    private func answer(
        _ question: Grpc_Reflection_V1_ServerReflectionRequest
    ) -> Grpc_Reflection_V1_ServerReflectionResponse {
        var answer = Grpc_Reflection_V1_ServerReflectionResponse()
        answer.validHost = question.host
        answer.originalRequest = question
        do throws(Reflection.Refusal) {
            switch question.messageRequest {
            case .fileByFilename(let name):
                answer.fileDescriptorResponse.fileDescriptorProto =
                    try reflection.file(named: name)
            case .fileContainingSymbol(let symbol):
                answer.fileDescriptorResponse.fileDescriptorProto =
                    try reflection.file(declaring: symbol)
            case .listServices:
                answer.listServicesResponse.service = reflection.services.map { name in
                    .with { $0.name = name }
                }
            case .allExtensionNumbersOfType(let name):
                // proto3 has no extensions: the list is empty for every message there is.
                _ = try reflection.file(declaring: name)
                answer.allExtensionNumbersResponse.baseTypeName = name
            case .fileContainingExtension(let wanted):
                throw .notFound("'\(wanted.containingType)' has no extensions")
            case nil:
                throw Reflection.Refusal(code: 3, message: "the request asks nothing")
            }
        } catch {
            answer.errorResponse = .with {
                $0.errorCode = error.code
                $0.errorMessage = error.message
            }
        }
        return answer
    }
}
