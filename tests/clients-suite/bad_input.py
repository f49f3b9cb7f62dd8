"""Input that is wrong: refused by name, with everything an error has, and nothing changed."""

import copy
import gzip
import json
import os
import select
import socket
import subprocess
import tempfile

import grpc
from roost.compute.v1 import vm_service_pb2, vm_service_pb2_grpc

from harness import (OPS, PATIENCE, VMS, Daemon, Refusal, ask, check, clean_environment, describes, equal,
                     everything, free_port, in_parallel, op_id, post, raw, refused, spec, unchanged)
from clients import grpc_refusal

NAMES = ["", "A", "1a", "-a", "a-", "a_b", 'a"b', "a'b", "a\nb", "a,b", "..", "a..b", "a/b", "x" * 64,
         "a\0b", "ä", "a b", "$(id)", "a\u202eb", "x" * 100_000]
PORT = {"guest_port": 80}

# path of the field, value, the fields that the error names
OUT_OF_RANGE = (
    [("name", name, ["name"]) for name in NAMES]
    + [("project", name, ["project"]) for name in NAMES[1:]]
    + [
        ("labels", {"": "x"}, ["labels[]"]),
        ("labels", {"a b": "x"}, ["labels[a b]"]),
        ("labels", {"a/b/c": "x"}, ["labels[a/b/c]"]),
        ("labels", {"k" * 64: "x"}, [f"labels[{'k' * 64}]"]),
        ("labels", {"a": "v" * 64}, ["labels[a]"]),
        ("labels", {"a": "line\n"}, ["labels[a]"]),
        ("labels", {f"k{index}": "" for index in range(65)}, ["labels"]),
        ("annotations", {"a": "x" * 65_536}, ["annotations"]),
        ("spec", None, ["spec.cpu", "spec.memory"]),
        ("spec", {}, ["spec.cpu", "spec.memory"]),
        ("spec.cpu", None, ["spec.cpu"]),
        ("spec.cpu", {}, ["spec.cpu.cores"]),
        ("spec.cpu.cores", 0, ["spec.cpu.cores"]),
        ("spec.cpu.cores", -1, ["spec.cpu.cores"]),
        ("spec.cpu.cores", 257, ["spec.cpu.cores"]),
        ("spec.cpu.cores", 2**31 - 1, ["spec.cpu.cores"]),
        ("spec.cpu.cores", -(2**31), ["spec.cpu.cores"]),
        ("spec.memory", None, ["spec.memory"]),
        ("spec.memory", {}, ["spec.memory.size_mib"]),
        ("spec.memory.size_mib", 127, ["spec.memory.size_mib"]),
        ("spec.memory.size_mib", -1, ["spec.memory.size_mib"]),
        ("spec.memory.size_mib", 1_048_577, ["spec.memory.size_mib"]),
        ("spec.memory.size_mib", str(2**63 - 1), ["spec.memory.size_mib"]),
        ("spec.memory.size_mib", str(-(2**63)), ["spec.memory.size_mib"]),
        ("spec.disk", {}, ["spec.disk.size_gib"]),
        ("spec.disk", {"size_gib": -1}, ["spec.disk.size_gib"]),
        ("spec.disk", {"size_gib": 65_537}, ["spec.disk.size_gib"]),
        ("spec.disk", {"size_gib": 1}, ["spec.disk.size_gib"]),
        ("spec.image", "a b", ["spec.image"]),
        ("spec.image", "../../etc/passwd", ["spec.image"]),
        ("spec.image", "x" * 256, ["spec.image"]),
        ("spec.kernel", "a\nb", ["spec.kernel"]),
        ("spec.kernel", "a,b", ["spec.kernel"]),
        ("node", 'n"', ["node"]),
        ("node", "..", ["node"]),
        ("spec.ports", [{}], ["spec.ports[0].guest_port"]),
        ("spec.ports", [PORT | {"guest_port": 65_536}], ["spec.ports[0].guest_port"]),
        ("spec.ports", [PORT, PORT | {"host_port": -1}], ["spec.ports[1].host_port"]),
        ("spec.ports", [PORT | {"host_port": 65_536}], ["spec.ports[0].host_port"]),
        ("spec.ports", [PORT | {"host_address": "300.0.0.1"}], ["spec.ports[0].host_address"]),
        ("spec.ports", [PORT | {"host_address": "1.2.3.4,x=y"}], ["spec.ports[0].host_address"]),
        ("spec.ports", [PORT | {"host_address": "::1"}], ["spec.ports[0].host_address"]),
        ("spec.ports", [PORT | {"protocol": 7}], ["spec.ports[0].protocol"]),
        ("spec.ports", [PORT] * 65, ["spec.ports"]),
        ("spec.ports", [PORT | {"host_port": 99}] * 2, ["spec.ports[1].host_port"]),
        ("spec.network", {"mode": 9}, ["spec.network.mode"]),
        ("spec.restart", {"mode": 9}, ["spec.restart.mode"]),
        ("spec.restart", {"max_restarts": -1}, ["spec.restart.max_restarts"]),
        ("spec.restart", {"max_restarts": 1_000_001}, ["spec.restart.max_restarts"]),
        ("wait", 9, ["wait"]),
    ]
)

WRONG_TYPE = (
    [(field, value) for field in ("name", "project", "node", "spec.image", "spec.kernel")
     for value in (5, True, [], {}, ["x"])]
    + [(field, value) for field in ("start_on_create", "validate_only", "spec.disposable")
       for value in ("yes", 1, [], {})]
    + [(field, value) for field in ("spec", "spec.cpu", "spec.memory", "spec.disk", "spec.network",
                                    "spec.restart", "labels", "annotations")
       for value in ("x", 5, True, [1])]
    + [(field, value) for field in ("spec.cpu.cores", "spec.memory.size_mib")
       for value in ("two", 1.5, "1.5", True, [], {}, 1e30, "")]
    + [("spec.cpu.cores", 2**31), ("spec.memory.size_mib", str(2**64)),
       ("spec.ports", {}), ("spec.ports", 5)]
)

WRONG_INSIDE = [
    ("labels", {"a": 1}, "labels[a]"),
    ("annotations", {"a": ["b"]}, "annotations[a]"),
    ("spec.ports", [5], "spec.ports[0]"),
    ("spec.ports", [PORT, {"host_address": 5}], "spec.ports[1].host_address"),
    ("spec.ports", [{"guest_port": "x"}], "spec.ports[0].guest_port"),
    ("spec.ports", [{"hostPort": {}}], "spec.ports[0].host_port"),
    ("spec.ports", [PORT | {"protocol": "SCTP"}], "spec.ports[0].protocol"),
    ("spec.network", {"mode": "BRIDGE"}, "spec.network.mode"),
    ("spec.restart", {"mode": "SOMETIMES"}, "spec.restart.mode"),
    ("spec.restart", {"mode": "never"}, "spec.restart.mode"),
    ("spec.restart", {"maxRestarts": "many"}, "spec.restart.max_restarts"),
    ("spec.disk", {"sizeGib": "big"}, "spec.disk.size_gib"),
    ("wait", "NEVER", "wait"),
    ("wait", [], "wait"),
]


def patched(path, value):
    """A good request with one field replaced."""
    request = {"name": "bad", "spec": spec()}
    place = request
    *folders, last = path.split(".")
    for folder in folders:
        place = place.setdefault(folder, {})
    place[last] = copy.deepcopy(value)
    return request


def shown(value):
    text = json.dumps(value)
    return text if len(text) < 50 else text[:47] + "…"


def fields(port):
    """Every field of CreateVM, out of range and of the wrong type."""
    with unchanged(port, "a field out of range"):
        for path, value, names in OUT_OF_RANGE:
            refused(f"{path}={shown(value)}", post(port, "CreateVM", patched(path, value)),
                    "invalid_argument", "INVALID_FIELDS", names)
    with unchanged(port, "a field of the wrong type"):
        for path, value in WRONG_TYPE:
            refused(f"{path}={shown(value)}", post(port, "CreateVM", patched(path, value)),
                    "invalid_argument", "MALFORMED_REQUEST", [path])
        for path, value, name in WRONG_INSIDE:
            refused(f"{path}={shown(value)}", post(port, "CreateVM", patched(path, value)),
                    "invalid_argument", "MALFORMED_REQUEST", [name])
    with unchanged(port, "many wrong fields"):
        whole = {"name": "..", "labels": {"-": "-"}, "spec": {
            "cpu": {"cores": 0}, "memory": {"size_mib": 1}, "disk": {"size_gib": 0},
            "image": " ", "kernel": " ", "ports": [{}], "restart": {"max_restarts": -1}}}
        refused("V4: all violations at once", post(port, "CreateVM", whole), "invalid_argument",
                "INVALID_FIELDS",
                ["name", "labels[-]", "spec.cpu.cores", "spec.memory.size_mib", "spec.disk.size_gib",
                 "spec.image", "spec.kernel", "spec.ports[0].guest_port",
                 "spec.restart.max_restarts"])
        refused("V3: missing cpu", post(port, "CreateVM", {
            "name": "x", "spec": {"memory": {"size_mib": 256}}}), "invalid_argument",
            "INVALID_FIELDS", ["spec.cpu"], status=400)


def envelopes(port):
    """What is wrong before any field is looked at."""
    op = op_id()
    with unchanged(port, "a malformed call"):
        for path in (f"{VMS}/NoSuchVM", "no.such.Service/Create", f"{VMS}/createVM"):
            service, method = path.split("/")
            refused(f"unknown method {path}", post(port, method, {}, service=service, op=op),
                    "unimplemented", "UNKNOWN_METHOD", op=op)
        answer = raw(port, "GET", f"/{VMS}/CreateVM")
        equal("GET on a method: status", answer.status, 405)
        equal("GET on a method: allow", answer.header("allow"), "POST")
        for verb in ("PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
            equal(f"{verb} on a method", raw(port, verb, f"/{VMS}/CreateVM").status, 405)
        good = json.dumps({"name": "bad", "spec": spec()})
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
                     "application/jsonx", ""):
            refused(f"content type '{kind}'", post(port, "CreateVM", good, kind=kind, op=op),
                    "invalid_argument", "MALFORMED_REQUEST", status=415, op=op)
        refused("a unary call as a stream",
                post(port, "WatchVMs", "{}"), "invalid_argument", "MALFORMED_REQUEST", status=415)
        deep = '{"x":' + "[" * 100_000 + "]" * 100_000 + "}"
        for name, body in {
            "not JSON": "{", "a comma too many": '{"name":"a",}', "two objects": "{}{}",
            "single quotes": "{'name':'a'}", "an array": "[]", "a number": "5", "a text": '"x"',
            "null": "null", "invalid UTF-8": b'{"name":"\xff\xfe"}', "a lone surrogate":
            '{"name":"\\ud800"}', "NaN": '{"spec":{"cpu":{"cores":NaN}}}', "deep nesting": deep,
            "deep objects": '{"spec":' * 50_000, "NUL bytes": b"\0" * 100,
        }.items():
            refused(f"body: {name}", post(port, "CreateVM", body, op=op), "invalid_argument",
                    "MALFORMED_REQUEST", op=op)
        refused("an empty body", post(port, "CreateVM", b"", op=op), "invalid_argument",
                "INVALID_FIELDS", ["name", "spec.cpu", "spec.memory"], op=op)
        whole = vm_service_pb2.CreateVMRequest(name="bad")
        whole.spec.cpu.cores = 1
        encoded = whole.SerializeToString()
        for name, body in {"truncated": encoded[:-2], "noise": os.urandom(64) + b"\xff",
                           "an endless varint": b"\x08" + b"\xff" * 20,
                           "invalid UTF-8": b"\x0a\x02\xff\xfe"}.items():
            refused(f"proto: {name}", post(port, "CreateVM", body, kind="application/proto"),
                    "invalid_argument", "MALFORMED_REQUEST")
        refused("an empty proto", post(port, "CreateVM", b"", kind="application/proto"),
                "invalid_argument", "INVALID_FIELDS", ["name", "spec.cpu", "spec.memory"])
        refused("protocol version 2", post(port, "CreateVM", good,
                headers={"Connect-Protocol-Version": "2"}), "invalid_argument", "MALFORMED_REQUEST")
        for text in ("x", "-1", "12345678901", "1.5"):
            refused(f"timeout '{text}'", post(port, "CreateVM", good,
                    headers={"Connect-Timeout-Ms": text}), "invalid_argument", "MALFORMED_REQUEST")
        refused("an unknown compression", post(port, "CreateVM", good, headers={
            "Content-Encoding": "br"}), "unimplemented", "UNSUPPORTED")
        refused("damaged gzip", post(port, "CreateVM", gzip.compress(good.encode())[:-9], headers={
            "Content-Encoding": "gzip"}), "invalid_argument", "MALFORMED_REQUEST")


def sizes(daemon):
    """Bodies that are too large: refused without being kept."""
    port = daemon.port
    with unchanged(port, "a large body"):
        peak_from_now(daemon)
        before = memory(daemon, "VmRSS")
        with tempfile.NamedTemporaryFile() as file:
            file.write(b'{"name":"bad","annotations":{"a":"' + b"x" * 10_000_000 + b'"}}')
            file.flush()
            run = subprocess.run(
                ["curl", "-s", "-w", "\n%{http_code}", "-H", "Content-Type: application/json",
                 "--data-binary", f"@{file.name}", f"http://127.0.0.1:{port}/{VMS}/CreateVM"],
                capture_output=True, timeout=30, check=False)
        check("10 MB by curl: refused", run.stdout.endswith(b"\n429")
              and b"resource_exhausted" in run.stdout, run.stdout[-300:])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as peer:
            peer.sendall(b"POST /%s/CreateVM HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                         b"application/json\r\nContent-Length: 10000000\r\n\r\n{" % VMS.encode())
            answer = peer.recv(65_536)
            check("10 MB announced: refused before they come",
                  b" 429 " in answer.split(b"\r\n")[0], answer[:200])
        sent, answer = endless(port)
        check("an endless body: refused while it comes", b" 429 " in answer.split(b"\r\n")[0]
              and sent < 40_000_000, f"{sent} bytes were taken: {answer[:200]}")
        bomb = gzip.compress(b'{"name":"' + b" " * 200_000_000 + b'"}')
        refused("a gzip bomb", post(port, "CreateVM", bomb, headers={"Content-Encoding": "gzip"}),
                "resource_exhausted", "REQUEST_TOO_LARGE")
        grown = (memory(daemon, "VmHWM") - before) // 1024
        check("large bodies are not kept in memory", grown < 64, f"peak grew by {grown} MiB")
    op = op_id()
    answer = post(port, "CreateVM", b'{"name":"' + b"x" * (4 << 20) + b'"}', op=op)
    refused("4 MiB and a little", answer, "resource_exhausted", "REQUEST_TOO_LARGE", op=op)


def endless(port):
    """Sends chunks until there is an answer; how many bytes went, and the answer."""
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as peer:
        peer.sendall(b"POST /%s/CreateVM HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                     b"application/json\r\nTransfer-Encoding: chunked\r\n\r\n" % VMS.encode())
        chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        while sent < 200_000_000:
            peer.sendall(chunk)
            sent += 65_536
            if select.select([peer], [], [], 0)[0]:
                return sent, peer.recv(65_536)
    return sent, b""


def memory(daemon, name):
    """A figure of /proc/PID/status, in KiB."""
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith(name)).split()[1])


def peak_from_now(daemon):
    with open(f"/proc/{daemon.process.pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def op_ids(port):
    """Op ids: unreadable, used twice, used for something else, too old."""
    good = {"name": "once", "spec": spec()}
    with unchanged(port, "a bad op id"):
        for text in ("x", "op-", "op-" + "u" * 26, "op-8" + "z" * 25, "op-" + "0" * 25,
                     "op-" + "0" * 27, "OP-" + "0" * 26, "op-" + "0" * 10_000, "'; drop --"):
            answer = post(port, "CreateVM", good, op=text)
            refused(f"op id '{text[:40]}'", answer, "invalid_argument", "OP_ID_INVALID")
        old = op_id(age_seconds=31 * 24 * 3600)
        refused("an op id of 31 days ago", post(port, "CreateVM", good, op=old),
                "failed_precondition", "OP_ID_EXPIRED", op=old)
    op = op_id()
    first = ask(port, "CreateVM", good, op=op)
    equal("the same op id and body again: the first answer", ask(port, "CreateVM", good, op=op),
          first)
    with unchanged(port, "a reused op id"):
        refused("the same op id, another body",
                post(port, "CreateVM", good | {"labels": {"a": "b"}}, op=op),
                "already_exists", "OP_ID_REUSED", op=op)
        refused("the same op id, another method", post(port, "StartVM", {"id": "once"}, op=op),
                "already_exists", "OP_ID_REUSED", op=op)
    for name, method, body in (
        ("create", "CreateVM", {"name": "at-once", "spec": spec()}),
        ("start", "StartVM", {"id": "at-once"}),
        ("update", "UpdateVM", {"id": "at-once", "updateMask": "labels",
                                "vm": {"labels": {"a": "b"}}}),
        ("delete", "DeleteVM", {"id": "at-once", "force": True}),
    ):
        op = op_id()
        before = len(everything(port))
        answers = in_parallel(8, lambda _: post(port, method, body, op=op))  # noqa: B023
        bodies = {getattr(answer, "body", repr(answer)) for answer in answers}
        check(f"8 at once with one op id: {name}: one answer", len(bodies) == 1
              and all(answer.status == 200 for answer in answers), list(bodies)[:3])
        equal(f"8 at once with one op id: {name}: one effect", len(everything(port)) - before,
              1 if name == "create" else 0)
        later = post(port, method, body, op=op)
        check(f"8 at once with one op id: {name}: the same later", later.body in bodies, later.body)
    different = in_parallel(8, lambda index: post(
        port, "CreateVM", {"name": f"race-{index}", "spec": spec()}, op=op))
    check("an op id that is taken: none of 8 others", all(a.status == 409 for a in different),
          [a.status for a in different])
    op = op_id()
    different = in_parallel(8, lambda index: post(
        port, "CreateVM", {"name": f"race-{index}", "spec": spec()}, op=op))
    equal("8 requests race for one new op id: one wins", sorted(a.status for a in different),
          [200] + [409] * 7)
    failed = op_id()
    refused("a create that fails", post(port, "CreateVM", {"name": "later", "spec": spec(
        image="none")}, op=failed), "not_found", "IMAGE_NOT_FOUND", op=failed)
    equal("O5: an attempt that changed nothing may be repeated under its id",
          post(port, "CreateVM", {"name": "later", "spec": spec()}, op=failed).status, 200)


def references(port):
    """Things that are not there, and requests other than CreateVM."""
    ask(port, "CreateVM", {"name": "there", "spec": spec()})
    table = [
        ("CreateVM", {"name": "x", "spec": spec(image="no-such")}, "not_found", "IMAGE_NOT_FOUND", []),
        ("CreateVM", {"name": "x", "spec": spec(kernel="no-such")}, "not_found",
         "KERNEL_NOT_FOUND", []),
        ("CreateVM", {"name": "x", "spec": spec(), "node": "f" * 32}, "not_found",
         "NODE_NOT_FOUND", []),
        ("CreateVM", {"name": "there", "spec": spec()}, "already_exists", "NAME_TAKEN", []),
        ("ListVMs", {"node": "no-such"}, "not_found", "NODE_NOT_FOUND", []),
        ("ListVMs", {"pageSize": -1}, "invalid_argument", "INVALID_FIELDS", ["page_size"]),
        ("ListVMs", {"pageSize": 1001}, "invalid_argument", "INVALID_FIELDS", ["page_size"]),
        ("ListVMs", {"states": ["ASLEEP"]}, "invalid_argument", "MALFORMED_REQUEST", ["states[0]"]),
        ("ListVMs", {"states": ["RUNNING", 99]}, "invalid_argument", "INVALID_FIELDS", ["states"]),
    ]
    table += [("ListVMs", {"pageToken": token}, "invalid_argument", "INVALID_FIELDS", ["page_token"])
              for token in ("x", "5.zz", "-1." + "0" * 32, "1", "1." + "0" * 33, "a" * 10_000)]
    table += [("ListVMs", {"selector": text}, "invalid_argument", "INVALID_FIELDS", ["selector"])
              for text in ("=", "a=b=c", "a,,b", "a b", "!", "a=", "=b", "a" * 2049,
                           ",".join(["a"] * 33), "a=b;c") if text != "a="]
    table += [(method, {"id": "no-such"}, "not_found", "VM_NOT_FOUND", []) for method in (
        "GetVM", "StartVM", "StopVM", "RestartVM", "RebootVM", "KillVM", "PauseVM", "ResumeVM",
        "DeleteVM", "UndeleteVM", "PurgeVM", "ResetVMState")]
    table += [(method, {"id": "../../etc"}, "not_found", "VM_NOT_FOUND", []) for method in (
        "GetVM", "DeleteVM")]
    table += [(method, {}, "invalid_argument", "INVALID_FIELDS", ["id"])
              for method in ("GetVM", "DeleteVM")]
    table += [(method, {"id": "there", "etag": "abc"}, "invalid_argument", "INVALID_FIELDS",
               ["etag"]) for method in ("StartVM", "StopVM", "DeleteVM", "PauseVM")]
    table += [(method, {"id": "there", "etag": "999999"}, "aborted", "STALE_ETAG", [])
              for method in ("StartVM", "DeleteVM", "KillVM")]
    table += [(method, {"id": "there", "wait": 9}, "invalid_argument", "INVALID_FIELDS", ["wait"])
              for method in ("StartVM", "StopVM", "DeleteVM", "PauseVM", "KillVM")]
    table += [(method, {"id": "there", "timeoutSeconds": seconds}, "invalid_argument",
               "INVALID_FIELDS", ["timeout_seconds"]) for seconds in (-1, 86_401)
              for method in ("StopVM", "RestartVM")]
    update = [
        ({}, ["update_mask"]), ({"updateMask": ""}, ["update_mask"]),
        ({"updateMask": "spec.image"}, ["update_mask"]),
        ({"updateMask": "id,name,status"}, ["update_mask"]),
        ({"updateMask": "spec.cpu", "vm": {"spec": {"cpu": {"cores": 257}}}}, ["spec.cpu.cores"]),
        ({"updateMask": "spec.cpu"}, ["spec.cpu"]),
        ({"updateMask": "spec.memory", "vm": {"spec": {"memory": {"sizeMib": 1}}}},
         ["spec.memory.size_mib"]),
        ({"updateMask": "spec.disk", "vm": {"spec": {"disk": {"sizeGib": 1}}}},
         ["spec.disk.size_gib"]),
        ({"updateMask": "labels", "vm": {"labels": {"-": "x"}}}, ["labels[-]"]),
        ({"updateMask": "spec.ports", "vm": {"spec": {"ports": [{}]}}},
         ["spec.ports[0].guest_port"]),
    ]
    table += [("UpdateVM", {"id": "there"} | more, "invalid_argument", "INVALID_FIELDS", names)
              for more, names in update]
    table += [("UpdateVM", {"id": "there", "updateMask": 5}, "invalid_argument",
               "MALFORMED_REQUEST", ["update_mask"]),
              ("UpdateVM", {"id": "there", "updateMask": "labels", "etag": "1"}, "aborted",
               "STALE_ETAG", []),
              ("UndeleteVM", {"id": "there", "newName": "A,B"}, "invalid_argument",
               "INVALID_FIELDS", ["new_name"])]
    with unchanged(port, "a request for what is not there"):
        for method, body, code, reason, names in table:
            op = op_id()
            refused(f"{method} {shown(body)}", post(port, method, body, op=op), code, reason, names,
                    op=op)
        for method, body, reason, code, names in (
            ("GetOperation", {"id": op_id()}, "OPERATION_NOT_FOUND", "not_found", []),
            ("GetOperation", {"id": "x"}, "INVALID_FIELDS", "invalid_argument", ["id"]),
            ("ListOperations", {"pageSize": 1001}, "INVALID_FIELDS", "invalid_argument",
             ["page_size"]),
            ("WaitOperation", {"id": op_id(), "timeoutSeconds": -1}, "INVALID_FIELDS",
             "invalid_argument", ["timeout_seconds"]),
            ("CancelOperation", {"id": op_id()}, "OPERATION_NOT_FOUND", "not_found", []),
        ):
            refused(f"{method} {shown(body)}", post(port, method, body, service=OPS), code, reason,
                    names)


def races(port):
    """20 creates of one name: one wins."""
    for attempt in range(3):
        name = f"only-one-{attempt}"
        answers = in_parallel(20, lambda _: post(  # noqa: B023
            port, "CreateVM", {"name": name, "spec": spec()}))
        equal("V5: 20 creates of one name: one wins", sorted(a.status for a in answers),
              [200] + [409] * 19)
        for answer in answers:
            if answer.status == 409:
                refusal = Refusal.of(answer)
                describes("V5: a loser", refusal, "already_exists", "NAME_TAKEN")
        listed = [vm for vm in everything(port) if vm["name"] == name]
        equal("V5: one is there", len(listed), 1)
    made = in_parallel(20, lambda index: post(port, "CreateVM", {
        "name": f"port-race-{index}", "spec": spec(ports=[{"host_port": 4711, "guest_port": 80}])}))
    equal("20 creates with one port: one wins", sorted(a.status for a in made), [200] + [409] * 19)


FOREIGN_HOSTS = ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil",
                 "127.0.0.1@evil.example", "evil.example:127.0.0.1", "10.0.2.2:{port}", "127.1:x",
                 "0.0.0.0:{port}", "[::2]:{port}", "127.0.0.256", "localhost:"]
OWN_HOSTS = ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "127.0.0.1", "[::1]:{port}",
             "127.9.9.9:1"]
FOREIGN_ORIGINS = ["http://evil.example", "https://127.0.0.1:{port}", "null", "http://localhost:1",
                   "http://127.0.0.1:{port}.evil.example", "file://", "http://127.0.0.1"]


def rebinding(port):
    """Pages of others: refused by Host and Origin, calls and plain pages alike."""
    def filled(text):
        return text.replace("{port}", str(port))

    with unchanged(port, "a foreign page"):
        for kind, headers in [("Host", {"Host": filled(text)}) for text in FOREIGN_HOSTS] + [
                ("Origin", {"Origin": filled(text)}) for text in FOREIGN_ORIGINS]:
            name = f"foreign {kind} {headers[kind]}"
            refused(name, post(port, "CreateVM", {"name": "bad", "spec": spec()}, headers=headers),
                    "permission_denied", "FOREIGN_ORIGIN")
            for page in ("/healthz", "/metrics", "/nothing"):
                equal(f"{name} on {page}", raw(port, "GET", page, headers=headers).status, 403)
        channel = grpc.insecure_channel(f"127.0.0.1:{port}",
                                        options=[("grpc.default_authority", "evil.example")])
        try:
            vm_service_pb2_grpc.VMServiceStub(channel).ListVMs(
                vm_service_pb2.ListVMsRequest(), timeout=PATIENCE)
            check("a foreign :authority over gRPC is refused", False)
        except grpc.RpcError as error:
            equal("a foreign :authority over gRPC", grpc_refusal(error).reason, "FOREIGN_ORIGIN")
        channel.close()
    for text in OWN_HOSTS:
        answer = post(port, "ListVMs", {}, headers={"Host": filled(text)})
        equal(f"own Host {text}", answer.status, 200)
    answer = post(port, "ListVMs", {}, headers={"Origin": f"http://127.0.0.1:{port}"})
    equal("our own page's Origin", answer.status, 200)


def starts(binaries, scratch):
    """Command lines that the daemon refuses: exit code 2, a clear error, nothing served."""
    table = [
        (["--dev", "--driver", "qemu"], "guests of qemu would reach"),
        (["--dev", "--listen", "0.0.0.0:1"], "loopback only, not 0.0.0.0"),
        (["--dev", "--listen", "192.0.2.1:80"], "loopback only"),
        (["--listen", "127.0.0.1:1"], "without --dev"),
        (["--dev", "--driver", "firecracker"], "no driver 'firecracker'"),
        (["--dev", "--listen", "nonsense"], "is not address:port"),
        (["--dev", "--listen", "127.0.0.1:99999"], "is not address:port"),
        (["--dev", "--log-level", "loud"], "--log-level loud"),
        (["--dev", "--no-such-flag"], "no-such-flag"),
        (["--dev", "--listen", "127.0.0.1:0", "--socket", "/tmp/" + "s" * 150], "bytes"),
    ]
    for arguments, text in table:
        state = os.path.join(scratch, "refused-state")
        name = f"roostd {' '.join(arguments)[:60]}"
        run = subprocess.run([os.path.join(binaries, "roostd"), *arguments], capture_output=True,
                             timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL,
                             env=clean_environment({"ROOST_STATE_DIR": state}))
        output = (run.stderr + run.stdout).decode()
        equal(f"{name}: exit code", run.returncode, 2)
        check(f"{name}: says why", text in output, output[-300:])
        check(f"{name}: makes nothing", not os.path.exists(state))
    port = free_port()
    with Daemon(binaries, scratch, port=port) as first:
        run = subprocess.run([os.path.join(binaries, "roostd"), "--dev", "--listen",
                              f"127.0.0.1:{port}"], capture_output=True, timeout=PATIENCE, check=False)
        equal("a port that is taken: exit code", run.returncode, 4)
        run = subprocess.run([os.path.join(binaries, "roostd"), "--dev", "--listen",
                              f"127.0.0.1:{free_port()}", "--socket", first.socket_path],
                             capture_output=True, timeout=PATIENCE, check=False)
        equal("a socket that is served: exit code", run.returncode, 4)
        equal("the first one serves on", raw(port, "GET", "/healthz").status, 200)


def log(daemon):
    """O1, M1: each finished call is a line with its op id."""
    op = op_id()
    post(daemon.port, "GetVM", {"id": "no-such"}, op=op)
    lines = [line for line in daemon.lines() if line.get("op_id") == op]
    check("O1: a finished call is logged with its op id", any(
        line["level"] == "debug" and line.get("reason") == "VM_NOT_FOUND"
        and line["method"].endswith("/GetVM") for line in lines), lines)
    check("M1: every line is JSON with time, level and message", all(
        {"time", "level", "message"} <= line.keys() for line in daemon.lines()))
    errors = [line for line in daemon.lines() if line["level"] == "error"]
    check("nothing here was an internal error", not errors, errors[:3])
