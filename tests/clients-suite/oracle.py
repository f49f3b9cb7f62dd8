"""protobuf's own json_format as the judge of our JSON, and of JSON and binary being one thing."""

import json
import random

from google.protobuf import json_format
from roost.compute.v1 import vm_pb2, vm_service_pb2

from harness import VMS, ask, check, equal, post, raw

MESSAGES = 500
TEXTS = ["", "x", "ü€😀", "line\nbreak", 'quote"s', "back\\slash", "tab\t", "\u2028", "</script>",
         "\x7f", "\x01", "null", "0", " spaces "]


def label(chance):
    letters = "abcXYZ019"
    middle = "".join(chance.choice(letters + "-_.") for _ in range(chance.randint(0, 20)))
    return chance.choice(letters) + middle + chance.choice(letters)


def request(chance, index):
    """A random request that is in order."""
    wanted = vm_service_pb2.CreateVMRequest(name=f"r{index}", project=chance.choice(["", "oracle"]))
    for _ in range(chance.randint(0, 4)):
        wanted.labels[label(chance)] = chance.choice(["", label(chance)])
        wanted.annotations[chance.choice(TEXTS)] = chance.choice(TEXTS)
    wanted.spec.cpu.cores = chance.randint(1, 4)
    wanted.spec.memory.size_mib = chance.randint(128, 1024)
    if chance.random() < 0.5:
        wanted.spec.disk.size_gib = chance.randint(2, 65536)
    wanted.spec.image = chance.choice(["", "debian-12"])
    wanted.spec.kernel = chance.choice(["", "linux-6.1"])
    ports = chance.sample(range(1, 65536), chance.randint(0, 3))
    for port in ports:
        wanted.spec.ports.add(host_port=port, guest_port=chance.randint(1, 65535),
                              host_address=chance.choice(["", "127.0.0.1", "0.0.0.0"]),
                              protocol=chance.randint(0, 2))
    wanted.spec.network.mode = chance.randint(0, 2)
    wanted.spec.restart.mode = chance.randint(0, 3)
    wanted.spec.restart.max_restarts = chance.choice([0, 1, 1_000_000])
    wanted.spec.disposable = chance.random() < 0.2
    wanted.validate_only = True
    return wanted


def canonical(document, kind, name):
    """Our JSON, read by the judge and written again, is the same JSON."""
    message = kind()
    try:
        json_format.ParseDict(document, message)
    except json_format.ParseError as error:
        check(f"{name}: the judge reads it", False, f"{error}: {document}")
        return None
    equal(f"{name}: the judge writes the same", json_format.MessageToDict(message), document)
    return message


def run(port):
    seed = random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    name = f"oracle (seed {seed})"
    good = 0
    for index in range(MESSAGES):
        wanted = request(chance, index)
        casing = chance.random() < 0.5
        text = json_format.MessageToJson(wanted, preserving_proto_field_name=casing,
                                         always_print_fields_with_no_presence=chance.random() < 0.3)
        answer = post(port, "CreateVM", text)
        if not equal(f"{name} {index}: accepted", answer.status, 200):
            print(answer.body, text)
            continue
        told = canonical(answer.json, vm_pb2.VM, f"{name} {index}")
        if told is None:
            continue
        good += 1
        equal(f"{name} {index}: labels", dict(told.labels), dict(wanted.labels))
        equal(f"{name} {index}: annotations", dict(told.annotations), dict(wanted.annotations))
        equal(f"{name} {index}: cores and memory",
              (told.spec.cpu.cores, told.spec.memory.size_mib),
              (wanted.spec.cpu.cores, wanted.spec.memory.size_mib))
        asked = sorted((p.host_address or "127.0.0.1", p.host_port, p.guest_port, p.protocol or 1)
                       for p in wanted.spec.ports)
        equal(f"{name} {index}: ports", sorted(
            (p.host_address, p.host_port, p.guest_port, p.protocol) for p in told.spec.ports), asked)
    check(f"{name}: all {MESSAGES} were judged", good == MESSAGES, good)
    stored(port, chance, name)


def stored(port, chance, name):
    """VMs that are really there: JSON against binary, and every kind of answer."""
    made = []
    for index in range(30):
        wanted = request(chance, f"s{index}")
        wanted.validate_only = False
        wanted.spec.disposable = False
        wanted.project = "oracle"
        wanted.start_on_create = index % 10 == 0
        del wanted.spec.ports[:]
        wanted.spec.ports.add(host_port=0, guest_port=80)
        made.append(json_format.ParseDict(
            ask(port, "CreateVM", json_format.MessageToJson(wanted)), vm_pb2.VM()))
    for vm in made:
        document = ask(port, "GetVM", {"id": vm.id})
        told = canonical(document, vm_pb2.VM, f"{name} GetVM")
        binary = raw(port, "POST", f"/{VMS}/GetVM",
                     vm_service_pb2.GetVMRequest(id=vm.id).SerializeToString(),
                     {"Content-Type": "application/proto"})
        equal(f"{name}: binary answers as binary", binary.header("content-type"),
              "application/proto")
        equal(f"{name}: JSON and binary agree", vm_pb2.VM.FromString(binary.body), told)
    canonical(ask(port, "ListVMs", {"project": "oracle"}), vm_service_pb2.ListVMsResponse,
              f"{name} ListVMs")
    for vm in made:
        change = ask(port, "DeleteVM", {"id": vm.id, "force": True})
        canonical(change, vm_service_pb2.VMChange, f"{name} DeleteVM")
        ask(port, "PurgeVM", {"id": vm.id})
    unknown = {"name": "unknown-fields", "spec": {"cpu": {"cores": 1, "sockets": 4},
               "memory": {"sizeMib": "256"}, "later": [1, {"a": None}]}, "validateOnly": True,
               "zzz": {"deep": [[[]]]}}
    answer = post(port, "CreateVM", unknown)
    equal("V2: unknown fields are ignored", answer.status, 200)
    both = json.loads(answer.body)["spec"]["memory"]["sizeMib"]
    equal("V2: sizeMib is taken", both, "256")
