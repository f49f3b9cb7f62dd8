import GRPCCore
import Testing

@testable import RoostAPI

@Suite("What Prometheus is told of calls")
struct CallTallyTests {
    private let get = MethodDescriptor(
        fullyQualifiedService: "roost.compute.v1.VMService",
        method: "GetVM"
    )

    @Test("calls are counted by how they ended, and by how long they took, in buckets that add up")
    func counts() {
        let tally = CallTally(.server)
        tally.add(get, nil, after: .milliseconds(5))
        tally.add(get, nil, after: .milliseconds(6))
        tally.add(get, .notFound, after: .seconds(2))
        tally.add(get, .cancelled, after: .seconds(61))
        let text = tally.exposition(isOpenMetrics: false)
        let labels = "grpc_service=\"roost.compute.v1.VMService\",grpc_method=\"GetVM\""
        let wanted = [
            "grpc_server_handled_total{\(labels),grpc_code=\"OK\"} 2",
            "grpc_server_handled_total{\(labels),grpc_code=\"Canceled\"} 1",
            "grpc_server_handled_total{\(labels),grpc_code=\"NotFound\"} 1",
            "grpc_server_handling_seconds_bucket{\(labels),le=\"0.005\"} 1",
            "grpc_server_handling_seconds_bucket{\(labels),le=\"0.025\"} 2",
            "grpc_server_handling_seconds_bucket{\(labels),le=\"0.5\"} 2",
            "grpc_server_handling_seconds_bucket{\(labels),le=\"2.5\"} 3",
            "grpc_server_handling_seconds_bucket{\(labels),le=\"60.0\"} 3",
            "grpc_server_handling_seconds_bucket{\(labels),le=\"+Inf\"} 4",
            "grpc_server_handling_seconds_count{\(labels)} 4",
        ]
        let lines = Set(text.split(separator: "\n").map(String.init))
        for line in wanted { #expect(lines.contains(line), "\(line)\n\(text)") }
        #expect(
            lines.contains { $0.hasPrefix("grpc_server_handling_seconds_sum{\(labels)} 63.01") }
        )
    }

    @Test("a counter's family has its ending in the text format alone")
    func formats() {
        let tally = CallTally(.client)
        let (text, open) = (
            tally.exposition(isOpenMetrics: false), tally.exposition(isOpenMetrics: true)
        )
        #expect(text.contains("# TYPE grpc_client_handled_total counter\n"))
        #expect(open.contains("# TYPE grpc_client_handled counter\n"))
        #expect(open.contains("# TYPE grpc_client_handling_seconds histogram\n"))
    }
}
