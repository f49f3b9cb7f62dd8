"""What only gRPC has: health, reflection, deadlines, trailing metadata."""

import threading
import time

import grpc
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase)
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from roost.compute.v1 import vm_service_pb2

from harness import NODE, PATIENCE, VMS, ask, check, equal, op_id, spec
from clients import grpc_refusal


def health(client):
    """grpc.health.v1, Check and Watch."""
    stub = health_pb2_grpc.HealthStub(client.channel)
    for service in ("", VMS, NODE):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
        equal(f"health of '{service}'", answer.status, health_pb2.HealthCheckResponse.SERVING)
    try:
        stub.Check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=PATIENCE)
        check("health of an unknown service is refused", False)
    except grpc.RpcError as error:
        equal("health of an unknown service", error.code(), grpc.StatusCode.NOT_FOUND)
        check("its error carries an op id", "(op-" in error.details(), error.details())
    stream = stub.Watch(health_pb2.HealthCheckRequest(service=VMS), timeout=PATIENCE)
    first = next(stream)
    equal("health watch: first", first.status, health_pb2.HealthCheckResponse.SERVING)
    ended = threading.Event()

    def read():
        try:
            next(stream)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.CANCELLED:
                ended.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(0.3)
    check("health watch: nothing more until it changes", reader.is_alive())
    stream.cancel()
    check("health watch: ends when cancelled", ended.wait(5))
    unknown = stub.Watch(health_pb2.HealthCheckRequest(service="no.such"), timeout=PATIENCE)
    equal("health watch of an unknown service", next(unknown).status,
          health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
    unknown.cancel()


def reflection(client):
    """Listing services and resolving files as grpcurl does."""
    database = ProtoReflectionDescriptorDatabase(client.channel)
    services = set(database.get_services())
    for wanted in (VMS, NODE, "roost.ops.v1.OperationService", "grpc.health.v1.Health"):
        check(f"reflection lists {wanted}", wanted in services, services)
    file = database.FindFileContainingSymbol(VMS)
    equal("reflection resolves a symbol", file.name, "roost/compute/v1/vm_service.proto")
    methods = {method.name for service in file.service for method in service.method}
    ours = {m.name for m in vm_service_pb2.DESCRIPTOR.services_by_name["VMService"].methods}
    equal("reflection knows every method", methods, ours)
    file = database.FindFileByName("roost/compute/v1/vm.proto")
    check("reflection resolves a file", "VM" in [m.name for m in file.message_type])
    local = descriptor_pb2.FileDescriptorProto()
    vm_service_pb2.DESCRIPTOR.CopyToProto(local)
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    request = reflection_pb2.ServerReflectionRequest(file_by_filename="no/such.proto")
    answer = next(stub.ServerReflectionInfo(iter([request]), timeout=PATIENCE))
    equal("reflection of an unknown file", answer.error_response.error_code, 5)


def busy_watch(client, port):
    """A watch with many messages: gRPC's core measures the bandwidth with pings meanwhile, and a
    server that took them for abuse closed the connection under every call on it."""
    ask(port, "CreateVM", {"name": "busy-watch", "spec": spec(), "labels": {"n": "first"}})
    stream = client.watch({"id": "busy-watch"})
    seen = []

    def read():
        for event in stream:
            if event.HasField("vm"):
                seen.append(event.vm.labels["n"])
                if seen[-1] == "last":
                    return

    failure = []

    def reading():
        try:
            read()
        except grpc.RpcError as error:
            failure.append(f"{error.code()}: {error.details()}")

    reader = threading.Thread(target=reading, daemon=True)
    reader.start()
    for count in [*range(30), "last"]:
        ask(port, "UpdateVM", {"id": "busy-watch", "updateMask": "labels",
                               "vm": {"labels": {"n": str(count)}}})
        time.sleep(0.05)  # Each burst of data lets the client ping once more.
    reader.join(10)
    check("a busy watch lives", not failure and seen[-1:] == ["last"], failure or seen[-3:])
    stream.cancel()


def errors(client):
    """The details where gRPC clients look for them, and deadlines."""
    stub = client.stubs[VMS]
    op = op_id()
    try:
        stub.CreateVM(vm_service_pb2.CreateVMRequest(name="Bad"), metadata=[("roost-op-id", op)],
                      timeout=PATIENCE)
        check("a bad create over gRPC is refused", False)
    except grpc.RpcError as error:
        equal("gRPC error: code", error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        trailing = dict(error.trailing_metadata())
        equal("gRPC error: op id in the trailing metadata", trailing.get("roost-op-id"), op)
        status = rpc_status.from_call(error)
        equal("gRPC error: the status repeats the code", status.code, 3)
        kinds = [detail.type_url.rsplit("/", 1)[-1] for detail in status.details]
        for wanted in ("google.rpc.ErrorInfo", "google.rpc.BadRequest",
                       "roost.ops.v1.Remediation", "roost.ops.v1.OpInfo"):
            check(f"gRPC error: has {wanted}", wanted in kinds, kinds)
        bad = error_details_pb2.BadRequest()
        for detail in status.details:
            if detail.Is(bad.DESCRIPTOR):
                detail.Unpack(bad)
        equal("gRPC error: all violations at once",
              sorted(violation.field for violation in bad.field_violations),
              ["name", "spec.cpu", "spec.memory"])
    for milliseconds in range(60, 260, 10):
        watch = stub.WatchVMs(vm_service_pb2.WatchVMsRequest(), timeout=milliseconds / 1000)
        try:
            for _ in watch:
                pass
            check("a deadline ends a watch", False, "it ended without an error")
        except grpc.RpcError as error:
            check("a deadline ends a watch", error.code() == grpc.StatusCode.DEADLINE_EXCEEDED,
                  f"{error.code()}: {error.details()}")
    unknown = client.channel.unary_unary(f"/{VMS}/NoSuch")
    try:
        unknown(b"", timeout=PATIENCE, metadata=[("roost-op-id", op)])
        check("an unknown method over gRPC is refused", False)
    except grpc.RpcError as error:
        refusal = grpc_refusal(error)
        equal("unknown method over gRPC", (refusal.code, refusal.reason, refusal.op),
              ("unimplemented", "UNKNOWN_METHOD", op))
    garbage = client.channel.unary_unary(f"/{VMS}/GetVM")
    try:
        garbage(b"\xff\xff\xff\xff", timeout=PATIENCE)
        check("bytes that are no message are refused", False)
    except grpc.RpcError as error:
        refusal = grpc_refusal(error)
        equal("bytes that are no message over gRPC", (refusal.code, refusal.reason),
              ("invalid_argument", "MALFORMED_REQUEST"))
    large = vm_service_pb2.CreateVMRequest(name="a", annotations={"a": "x" * (10 << 20)})
    try:
        stub.CreateVM(large, timeout=PATIENCE)
        check("10 MB over gRPC are refused", False)
    except grpc.RpcError as error:
        equal("10 MB over gRPC", error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
