"""The clients under one face: call(service, method, fields) -> message, or a Refusal."""

import json
import subprocess

import grpc
from connectrpc.client import ResponseMetadata
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.errors import ConnectError
from google.protobuf import json_format
from grpc_status import rpc_status
from roost.compute.v1 import vm_service_connect, vm_service_pb2, vm_service_pb2_grpc, vm_pb2
from roost.node.v1 import (node_daemon_service_connect, node_daemon_service_pb2,
                           node_daemon_service_pb2_grpc)
from roost.ops.v1 import operation_service_connect, operation_service_pb2, operation_service_pb2_grpc

from harness import NODE, OPS, PATIENCE, VMS, Answer, Refusal

MODULES = {
    VMS: (vm_service_pb2, vm_service_pb2_grpc, vm_service_connect, "VMService"),
    OPS: (operation_service_pb2, operation_service_pb2_grpc, operation_service_connect,
          "OperationService"),
    NODE: (node_daemon_service_pb2, node_daemon_service_pb2_grpc, node_daemon_service_connect,
           "NodeDaemonService"),
}


def request_of(service, method, fields):
    """The request message of a call."""
    kind = getattr(MODULES[service][0], f"{method}Request")
    return json_format.ParseDict(fields, kind())


def answer_kind(service, method):
    """The class of a call's answer."""
    descriptor = MODULES[service][0].DESCRIPTOR.services_by_name[MODULES[service][3]]
    return descriptor.methods_by_name[method].output_type._concrete_class


class Curl:
    """curl, as people type it."""

    name = "curl"

    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"

    def call(self, service, method, fields, op=None):
        command = ["curl", "-s", "-i", "-X", "POST", f"{self.base}/{service}/{method}",
                   "-H", "Content-Type: application/json", "-d", json.dumps(fields)]
        if op:
            command += ["-H", f"roost-op-id: {op}"]
        answer = parse(subprocess.run(command, capture_output=True, timeout=30, check=True).stdout)
        if answer.status != 200:
            raise Refusal.of(answer)
        message = json_format.ParseDict(answer.json, answer_kind(service, method)())
        return message, answer.header("roost-op-id")


def parse(output):
    """What `curl -i` printed."""
    head, _, body = output.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Answer(int(lines[0].split()[1]), headers, body)


class Connect:
    """The official Python client, with gzip as it comes."""

    def __init__(self, port, codec):
        self.name = f"connectrpc {codec}"
        codecs = {"json": google_protobuf_json_codec, "proto": google_protobuf_binary_codec}
        self.clients = {
            service: getattr(modules[2], f"{modules[3]}ClientSync")(
                f"http://127.0.0.1:{port}", codec=codecs[codec]())
            for service, modules in MODULES.items()
        }

    def call(self, service, method, fields, op=None, timeout_ms=20_000):
        function = named(self.clients[service], method)
        headers = {"roost-op-id": op} if op else {}
        with ResponseMetadata() as seen:
            try:
                message = function(request_of(service, method, fields), headers=headers,
                                   timeout_ms=timeout_ms)
            except ConnectError as error:
                raise connect_refusal(error, seen.headers.get("roost-op-id")) from error
            return message, seen.headers.get("roost-op-id")

    def watch(self, fields):
        """The stream of WatchVMs."""
        request = request_of(VMS, "WatchVMs", fields)
        return named(self.clients[VMS], "WatchVMs")(request, timeout_ms=60_000)


def connect_refusal(error, header):
    """A Refusal of what connectrpc raised."""
    details = [(detail.type_name, detail.message_bytes) for detail in error.details]
    return Refusal(error.code.value, error.message, details, header)


def named(client, method):
    """The client's function for `CreateVM`: create_vm. Its generator writes WatchVMs watch_v_ms."""
    for name in dir(client):
        if name.replace("_", "") == method.lower():
            return getattr(client, name)
    raise AttributeError(f"the generated client has no {method}")


class GRPC:
    """grpcio over HTTP/2 without TLS."""

    name = "grpcio"

    def __init__(self, port):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.stubs = {service: getattr(modules[1], f"{modules[3]}Stub")(self.channel)
                      for service, modules in MODULES.items()}

    def call(self, service, method, fields, op=None, timeout=PATIENCE):
        metadata = [("roost-op-id", op)] if op else []
        function = getattr(self.stubs[service], method)
        try:
            message, call = function.with_call(request_of(service, method, fields),
                                               metadata=metadata, timeout=timeout)
        except grpc.RpcError as error:
            raise grpc_refusal(error) from error
        return message, dict(call.initial_metadata()).get("roost-op-id")

    def watch(self, fields):
        """The stream of WatchVMs."""
        return self.stubs[VMS].WatchVMs(request_of(VMS, "WatchVMs", fields), timeout=60)


def grpc_refusal(error):
    """A Refusal of what grpcio raised."""
    status = rpc_status.from_call(error)
    details = [(any_.type_url.rsplit("/", 1)[-1], any_.value)
               for any_ in (status.details if status else [])]
    names = {"cancelled": "canceled"}
    code = error.code().name.lower()
    header = dict(error.trailing_metadata() or ()).get("roost-op-id")
    return Refusal(names.get(code, code), error.details(), details, header)


STATES = vm_pb2.VMStatus.State
POWER = vm_pb2.VM.Power
