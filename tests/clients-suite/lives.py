"""A VM's whole life, the same for every client; curl as row V1 says it; watches; pages."""

import re
import secrets
import subprocess
import threading
import time

from harness import (NODE, OPS, PATIENCE, VMS, Daemon, Refusal, ask, check, describes, equal, in_parallel,
                     op_id, spec)
from clients import POWER, STATES, parse

V1 = """curl -X POST http://127.0.0.1:8080/roost.compute.v1.VMService/CreateVM \
-H 'Content-Type: application/json' \
-d '{"name":"test-vm","spec":{"cpu":{"cores":2},"memory":{"size_mib":2048}}}'"""


def row_v1(binaries, scratch):
    """The published line, typed into a shell, against `roostd --dev` as the README starts it."""
    with Daemon(binaries, scratch, port=8080, named=False) as daemon:
        run = subprocess.run(["bash", "-c", V1.replace("curl ", "curl -s -i ", 1)],
                             capture_output=True, timeout=30, check=False)
        answer = parse(run.stdout)
        equal("V1: status", answer.status, 200)
        check("V1: id", re.fullmatch("[0-9a-f]{32}", answer.json.get("id", "")), answer.body)
        equal("V1: name", answer.json.get("name"), "test-vm")
        equal("V1: status.state", answer.json.get("status", {}).get("state"), "STOPPED")
        equal("V2: a 64-bit integer is a string", answer.json["spec"]["memory"]["sizeMib"], "2048")
        check("V2: a time is RFC 3339",
              re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", answer.json["createTime"]))
        check("the answer has an op id",
              re.fullmatch("op-[0-9a-z]{26}", answer.header("roost-op-id") or ""))
        alias = V1.replace("roost.compute", "limiquantix.compute").replace("test-vm", "alias-vm")
        alias = alias.replace("size_mib", "sizeMib").replace("curl ", "curl -s -i ", 1)
        answer = parse(subprocess.run(["bash", "-c", alias], capture_output=True, timeout=30,
                                      check=False).stdout)
        equal("V1: the alias reaches the same service", answer.status, 200)
        names = [vm["name"] for vm in ask(8080, "ListVMs", {})["vms"]]
        equal("V1: both VMs are in one place", sorted(names), ["alias-vm", "test-vm"])
        warnings = [line for line in daemon.lines() if line["level"] == "warning"]
        check("H2: --dev says loudly what it does",
              any("WITHOUT AUTHENTICATION" in line["message"] for line in warnings), warnings)
    equal("M7: SIGTERM ends it in order", daemon.process.returncode, 0)


class Life:
    """One VM through one client."""

    def __init__(self, client, vm_name):
        self.client, self.vm_name = client, vm_name

    def name(self, text):
        return f"{self.client.name}: {text}"

    def call(self, method, fields=None, service=VMS, op=None):
        wanted = op or op_id()
        fields = {"id": self.vm_name} | (fields or {}) if service == VMS else fields or {}
        message, seen = self.client.call(service, method, fields, op=wanted)
        equal(self.name(f"{method}: the op id comes back"), seen, wanted)
        return message

    def change(self, method, state, changed=True, **fields):
        """A call that ends in `state`."""
        op = op_id()
        answer = self.call(method, fields, op=op)
        equal(self.name(f"{method}: changed"), answer.changed, changed)
        equal(self.name(f"{method}: state"), STATES.Name(answer.vm.status.state), state)
        check(self.name(f"{method}: reason"), answer.vm.status.reason)
        equal(self.name(f"{method}: nothing runs on it afterwards"), answer.vm.running_op, "")
        if changed and method != "PurgeVM":
            equal(self.name(f"{method}: last_op"), answer.vm.last_op, op)
        return answer.vm

    def refused(self, method, code, reason, fields=(), service=VMS, **request):
        op = op_id()
        name = self.name(f"{method} → {reason}")
        whole = {"id": self.vm_name} | request if service == VMS else request
        try:
            answer = self.client.call(service, method, whole, op=op)
            check(name, False, f"answered {answer}")
            return None
        except Refusal as refusal:
            describes(name, refusal, code, reason, fields, op)
            return refusal

    def create(self):
        op = op_id()
        request = {"name": self.vm_name, "labels": {"app": "web", "tier": "front"},
                   "annotations": {"note": 'quoted "ü" €\n'}, "spec": spec(2, 512)}
        fields, seen = self.client.call(VMS, "CreateVM", request, op=op)
        equal(self.name("CreateVM: op id"), seen, op)
        equal(self.name("CreateVM: name"), fields.name, self.vm_name)
        check(self.name("CreateVM: id"), re.fullmatch("[0-9a-f]{32}", fields.id), fields.id)
        equal(self.name("CreateVM: state"), STATES.Name(fields.status.state), "STOPPED")
        equal(self.name("CreateVM: desired power"), POWER.Name(fields.desired_power), "STOPPED")
        equal(self.name("CreateVM: generation"), fields.generation, 1)
        equal(self.name("O4: create_op is the op id"), fields.create_op, op)
        equal(self.name("CreateVM: labels"), dict(fields.labels), request["labels"])
        equal(self.name("CreateVM: annotations"), dict(fields.annotations), request["annotations"])
        check(self.name("CreateVM: the image is a digest"), fields.spec.image.startswith("sha256:"))
        again, _ = self.client.call(VMS, "CreateVM", request, op=op)
        equal(self.name("O5: the same id and request gives the first VM"), again.id, fields.id)
        for reference in (self.vm_name, fields.id, fields.id[:12]):
            found = self.call("GetVM", {"id": reference})
            equal(self.name("GetVM: the same"), found, fields)
        operation = self.call("GetOperation", {"id": op}, service=OPS)
        equal(self.name("GetOperation: done"), (operation.done, operation.state), (True, 3))
        check(self.name("GetOperation: method"), operation.method.endswith("CreateVM"),
              operation.method)
        equal(self.name("GetOperation: subject"), operation.subjects[0].id, fields.id)
        return fields

    def power(self):
        self.refused("PauseVM", "failed_precondition", "WRONG_STATE")
        self.refused("RebootVM", "failed_precondition", "WRONG_STATE")
        vm = self.change("StartVM", "RUNNING")
        equal(self.name("StartVM: desired power"), POWER.Name(vm.desired_power), "RUNNING")
        self.change("StartVM", "RUNNING", changed=False)
        refusal = self.refused("UpdateVM", "failed_precondition", "NEEDS_STOPPED",
                               vm={"spec": {"cpu": {"cores": 3}}}, updateMask="spec.cpu")
        check(self.name("V7: says what to do"), refusal and "roost stop" in refusal.remedy)
        self.refused("DeleteVM", "failed_precondition", "NEEDS_FORCE")
        self.change("PauseVM", "PAUSED")
        self.change("PauseVM", "PAUSED", changed=False)
        self.refused("RebootVM", "failed_precondition", "WRONG_STATE")
        self.change("ResumeVM", "RUNNING")
        self.change("ResumeVM", "RUNNING", changed=False)
        self.change("RebootVM", "RUNNING")
        self.change("RestartVM", "RUNNING", timeoutSeconds=1)
        self.change("PauseVM", "PAUSED")
        self.change("StartVM", "RUNNING")
        vm = self.change("StopVM", "STOPPED", timeoutSeconds=1)
        equal(self.name("StopVM: desired power"), POWER.Name(vm.desired_power), "STOPPED")
        self.change("StopVM", "STOPPED", changed=False)
        self.change("StartVM", "RUNNING")
        self.change("StopVM", "STOPPED", force=True)
        self.change("StartVM", "RUNNING")
        self.change("KillVM", "STOPPED")
        self.call("ResetVMState")

    def update(self):
        before = self.call("GetVM")
        etag = {"etag": before.etag}
        asked = self.call("UpdateVM", etag | {
            "validateOnly": True, "updateMask": "labels", "vm": {"labels": {"new": "1"}}})
        equal(self.name("validate_only changes nothing"), self.call("GetVM"), before)
        equal(self.name("validate_only: the same VM"), asked.id, before.id)
        after = self.call("UpdateVM", etag | {
            "updateMask": "labels,spec.cpu",
            "vm": {"labels": {"app": "db"}, "spec": spec(4, 1024)}})
        equal(self.name("UpdateVM: cores"), after.spec.cpu.cores, 4)
        equal(self.name("UpdateVM: what the mask leaves out"), after.spec.memory.size_mib, 512)
        equal(self.name("UpdateVM: labels"), dict(after.labels), {"app": "db"})
        check(self.name("UpdateVM: another etag"), after.etag != before.etag)
        check(self.name("UpdateVM: generation rises"), after.generation > before.generation)
        equal(self.name("UpdateVM: stored"), self.call("GetVM"), after)
        self.refused("UpdateVM", "aborted", "STALE_ETAG", etag=before.etag, updateMask="labels",
                     vm={"labels": {}})
        self.refused("StartVM", "aborted", "STALE_ETAG", etag=before.etag)
        self.refused("UpdateVM", "invalid_argument", "INVALID_FIELDS", ["update_mask"],
                     updateMask="name,spec.cpu", vm={"name": "other"})
        for selector, matches in (("app=db", True), ("app!=db", False), ("app", True),
                                  ("!app", False), ("app=db,tier", False)):
            found, _ = self.client.call(VMS, "ListVMs", {"selector": selector})
            equal(self.name(f"V6: selector {selector}"),
                  self.vm_name in [vm.name for vm in found.vms], matches)
        for states, matches in ((["STOPPED"], True), (["RUNNING"], False),
                                (["RUNNING", "STOPPED"], True)):
            found, _ = self.client.call(VMS, "ListVMs", {"states": states})
            equal(self.name(f"V6: states {states}"),
                  self.vm_name in [vm.name for vm in found.vms], matches)

    def end(self):
        vm = self.change("DeleteVM", "DELETED")
        check(self.name("DeleteVM: times"), vm.HasField("delete_time") and vm.HasField("purge_time"))
        for trash, matches in ((False, False), (True, True)):
            found, _ = self.client.call(VMS, "ListVMs", {"showDeleted": trash})
            equal(self.name(f"V15: listed with show_deleted={trash}"),
                  vm.id in [other.id for other in found.vms], matches)
        self.refused("StartVM", "not_found", "VM_NOT_FOUND")
        vm = self.change("UndeleteVM", "STOPPED", newName=f"{self.vm_name}-back")
        equal(self.name("UndeleteVM: the new name"), vm.name, f"{self.vm_name}-back")
        check(self.name("UndeleteVM: no delete time"), not vm.HasField("delete_time"))
        self.vm_name = vm.name
        self.refused("PurgeVM", "failed_precondition", "WRONG_STATE")
        self.change("StartVM", "RUNNING")
        self.change("DeleteVM", "DELETED", force=True)
        self.call("PurgeVM")
        refusal = self.refused("GetVM", "not_found", "VM_NOT_FOUND")
        check(self.name("V6: the message names it"), refusal and self.vm_name in refusal.message)
        self.refused("GetVM", "not_found", "VM_NOT_FOUND", id=vm.id)
        for method in ("PurgeVM", "UndeleteVM"):
            name = f"{self.vm_name}-etag"
            self.client.call(VMS, "CreateVM", {"name": name, "spec": spec()})
            self.call("DeleteVM", {"id": name})
            self.refused(method, "aborted", "STALE_ETAG", id=name, etag="1")
        made, _ = self.client.call(VMS, "CreateVM", {
            "name": self.vm_name, "spec": spec(), "startOnCreate": True})
        equal(self.name("V16: start_on_create"), STATES.Name(made.status.state), "RUNNING")
        self.call("DeleteVM", {"force": True, "purge": True})
        self.refused("GetVM", "not_found", "VM_NOT_FOUND")

    def run(self):
        self.create()
        self.power()
        self.update()
        self.end()


def watch(client, port, vm_name):
    """WatchVMs from the beginning to a deletion, and again from the middle."""
    name = f"{client.name} watch"
    ask(port, "CreateVM", {"name": vm_name, "spec": spec(), "labels": {"watch": vm_name}})
    events = []

    def read(fields, stop):
        for event in client.watch(fields):
            events.append(event)
            if stop(event):
                return

    kinds = ["", "ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    fields = {"selector": f"watch={vm_name}"}
    seen_first = threading.Event()

    def stop(event):
        if kinds[event.type] == "BOOKMARK":
            seen_first.set()
        return kinds[event.type] == "DELETED"

    reader = threading.Thread(target=read, args=(fields, stop), daemon=True)
    reader.start()
    check(f"{name}: a bookmark follows what there is", seen_first.wait(PATIENCE))
    middle = int(ask(port, "ListVMs", {"selector": f"watch={vm_name}"})["revision"])
    ask(port, "StartVM", {"id": vm_name})
    # Changes that come together may be told as one.
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and "MODIFIED" not in [kinds[one.type] for one in list(events)]:
        time.sleep(0.02)
    ask(port, "StopVM", {"id": vm_name, "force": True})
    ask(port, "DeleteVM", {"id": vm_name, "purge": True})
    reader.join(PATIENCE)
    check(f"{name}: ends with DELETED", not reader.is_alive(), events[-1:])
    told = [kinds[event.type] for event in events if kinds[event.type] != "BOOKMARK"]
    equal(f"{name}: first what there is", [told[0], events[0].vm.name], ["ADDED", vm_name])
    equal(f"{name}: last the deletion", told[-1], "DELETED")
    check(f"{name}: changes between", "MODIFIED" in told, told)
    revisions = [event.revision for event in events]
    equal(f"{name}: revisions rise", revisions, sorted(revisions))
    vm_id = events[0].vm.id
    events.clear()
    again = threading.Thread(target=read, args=(
        {"fromRevision": str(middle), "id": ""}, lambda e: kinds[e.type] == "DELETED"
        and e.vm.id == vm_id), daemon=True)
    again.start()
    again.join(PATIENCE)
    check(f"{name}: from a revision it misses nothing", not again.is_alive(), events[-1:])
    check(f"{name}: from a revision it tells nothing older",
          all(event.revision > middle for event in events), [e.revision for e in events])
    try:
        next(iter(client.watch({"fromRevision": str(10**15)})))
        check(f"{name}: a revision that is not kept is refused", False, "it answered")
    except Exception as error:  # noqa: BLE001 - connectrpc and grpcio raise what they like
        check(f"{name}: a revision that is not kept is refused", "op-" in str(error), str(error))


def pages(client, port):
    """250 VMs in pages while others come and go: each exactly once."""
    name = f"{client.name} pages"
    project = client.name.replace(" ", "-")

    def make(index):
        return ask(port, "CreateVM", {"name": f"p{index:03}", "project": project,
                                      "spec": spec()})["id"]

    wanted = [make(index) for index in range(250)]
    victims = [ask(port, "CreateVM", {"name": f"v{index:02}", "project": project, "spec": spec()})
               ["id"] for index in range(20)]
    stop = threading.Event()

    def churn():
        index = 0
        while not stop.is_set():
            ask(port, "CreateVM", {"name": f"c{index}", "project": project, "spec": spec()})
            ask(port, "DeleteVM", {"id": f"c{index}", "project": project, "purge": True})
            if index < len(victims):
                ask(port, "DeleteVM", {"id": victims[index], "project": project, "purge": True})
            index += 1

    worker = threading.Thread(target=churn)
    worker.start()
    seen, token, sizes, revisions = [], "", [], set()
    try:
        while True:
            page, _ = client.call(VMS, "ListVMs", {"project": project, "pageSize": 17,
                                                   "pageToken": token})
            seen += [vm.id for vm in page.vms]
            sizes.append(len(page.vms))
            revisions.add(page.revision)
            token = page.next_page_token
            if not token:
                break
            time.sleep(0.02)
    finally:
        stop.set()
        worker.join()
    equal(f"{name}: no VM twice", len(seen), len(set(seen)))
    missing = set(wanted) - set(seen)
    check(f"{name}: none of 250 is missing", not missing, missing)
    equal(f"{name}: every page tells the first page's revision", len(revisions), 1)
    check(f"{name}: no page is over its size", max(sizes) == 17, sizes)
    elsewhere, _ = client.call(VMS, "ListVMs", {"pageSize": 1000})
    check(f"{name}: another project's list has none of them",
          not set(wanted) & {vm.id for vm in elsewhere.vms})
    everywhere, _ = client.call(VMS, "ListVMs", {"pageSize": 1000, "project": "-"})
    check(f"{name}: '-' lists every project", set(wanted) <= {vm.id for vm in everywhere.vms})
    in_parallel(4, lambda part: [
        ask(port, "DeleteVM", {"id": vm, "project": project, "purge": True})
        for vm in wanted[part::4]])


def node_life(client):
    """NodeDaemonService on the same port: a VM's whole life by explicit calls."""
    vm_id = secrets.token_hex(16)
    name = f"{client.name} node"
    generation = 0

    def step(method, state, **fields):
        nonlocal generation
        generation += 1
        op = op_id()
        # The control plane of the same process holds epoch 1.
        request = {"assignment": {"vmId": vm_id, "epoch": "1",
                                  "generation": str(generation)}} | fields
        report, seen = client.call(NODE, method, request, op=op)
        equal(f"{name} {method}: op id", seen, op)
        equal(f"{name} {method}: state", STATES.Name(report.state), state)
        equal(f"{name} {method}: id", report.vm_id, vm_id)
        check(f"{name} {method}: reason", report.reason)
        again, _ = client.call(NODE, method, request, op=op)
        equal(f"{name} {method}: twice is once", again.state, report.state)

    health, _ = client.call(NODE, "HealthCheck", {})
    check(f"{name}: healthy", health.healthy and health.version)
    step("CreateVM", "STOPPED", name="node-vm", spec=spec(1, 256, disk={"size_gib": 4}))
    info, _ = client.call(NODE, "GetNodeInfo", {})
    check(f"{name}: its VM is listed", vm_id in [vm.vm_id for vm in info.vms])
    equal(f"{name}: driver", info.driver, "simulated")
    check(f"{name}: cores and memory", info.cores > 0 and info.memory_mib > 0)
    step("StartVM", "RUNNING")
    step("PauseVM", "PAUSED")
    step("ResumeVM", "RUNNING")
    step("RebootVM", "RUNNING")
    step("StopVM", "STOPPED", timeoutSeconds=1)
    step("StartVM", "RUNNING")
    step("ForceStopVM", "STOPPED")
    step("StartVM", "RUNNING")
    step("DeleteVM", "DELETED")
    life = Life(client, "")
    life.refused("StartVM", "not_found", "VM_NOT_FOUND", service=NODE,
                 assignment={"vmId": "0" * 31 + "1"})
    life.refused("DeleteVM", "aborted", "STALE_EPOCH", service=NODE, assignment={"vmId": vm_id})
    # A later epoch than the holder's must not shut the holder out.
    life.refused("DeleteVM", "aborted", "STALE_EPOCH", service=NODE,
                 assignment={"vmId": vm_id, "epoch": 99})
    life.refused("StartVM", "invalid_argument", "INVALID_FIELDS", ["assignment.vm_id"],
                 service=NODE, assignment={"vmId": "../x"})
    life.refused("CreateVM", "invalid_argument", "INVALID_FIELDS",
                 ["name", "spec.cpu.cores", "spec.memory"], service=NODE,
                 assignment={"vmId": vm_id}, name="Bad,name", spec={"cpu": {"cores": 257}})
