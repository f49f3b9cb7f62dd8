"""O7: each error that a client can provoke here, its remedy done as it says, and the call again."""

import json
import os
import re
import shlex
import subprocess
import threading
import time

from harness import (NODE, OPS, PATIENCE, VMS, Daemon, Refusal, ask, check, clean_environment, describes,
                     equal, free_port, in_parallel, is_whole, op_id, post, raw, spec)

# Reasons whose remedy nobody can try against `roostd --dev`, and why.
NOT_AUTOMATABLE = {
    "UNAUTHENTICATED": "--dev asks nobody who they are",
    "PERMISSION_DENIED": "roles come with tokens; here only a guest's own refusal maps to it",
    "FOREIGN_ORIGIN": "only a foreign page gets it; bad_input.py calls by the right name as well",
    "SESSION_NOT_FOUND": "simulated VMs have no guest", "PATH_NOT_FOUND": "simulated VMs have no guest",
    "GUEST_UNREACHABLE": "simulated VMs have no guest", "GUEST_PROTOCOL": "needs a hostile guest",
    "HOOK_FAILED": "simulated VMs have no guest; tests/e2e has it (hooks)",
    "COMMAND_NOT_FOUND": "simulated VMs have no guest", "BOOT_TIMEOUT": "needs a guest that hangs",
    "STORE_CONFLICT": "needs two writers of one row in one moment; the store's own suite has it",
    "STORE_UNREACHABLE": "--dev has no server; RoostStorePostgresTests has it",
    "STORE_REFUSED": "--dev has no server; RoostStorePostgresTests has it",
    "STALE_EPOCH": "there is nothing to do by its own word",
    "IN_USE": "the simulated catalogue is fixed", "ARCHIVE_INVALID": "the simulated catalogue is fixed",
    "IMAGE_INVALID": "the simulated catalogue is fixed",
    "KERNEL_INVALID": "the simulated catalogue is fixed",
    "DIGEST_MISMATCH": "the simulated catalogue is fixed",
    "DISK_FULL": "simulated disks are never full", "MEMORY_FULL": "simulated memory is never full",
    "LIMIT_EXCEEDED": "no limit of --dev is reached by a client",
    "NODE_UNREACHABLE": "the one node is in the same process",
    "DAEMON_UNREACHABLE": "the command starts the daemon itself; tests/e2e has it",
    "DAEMON_BUSY": "nothing simulated takes long enough to be busy with",
    "SHUTTING_DOWN": "the moment is too short to meet", "VMM_MISSING": "needs a host without QEMU",
    "VMM_FAILED": "simulated VMMs do not die unasked", "STATE_UNREADABLE": "the store is in memory",
    "UNSUPPORTED": "its remedy shows what the host can do; nothing makes this build do it",
    "SESSION_TAKEN_OVER": "simulated VMs have no guest",
    "IDENTITY_SHARED": "needs a guest that refuses to renew itself; tests/e2e has it (forks)",
    "AMBIGUOUS_CHECKPOINT": "ids are random, and four equal digits rare; RoostControlTests has it",
    "CHECKPOINT_DAMAGED": "simulated memory is never damaged; tests/e2e has it (checkpoints)",
    "SAVED_STATE_DAMAGED": "simulated memory is never damaged; tests/e2e has it (saving)",
    "SHAPE_DIFFERS": "needs another QEMU or processor than the memory was kept with",
    "REGISTRY_UNREACHABLE": "--dev pulls nothing; tests/e2e has it (registry)",
    "REGISTRY_DENIED": "--dev pulls nothing; tests/e2e has it (registry)",
    "REGISTRY_INVALID": "--dev pulls nothing; tests/e2e has it (registry)",
    "CONTEXT_NOT_FOUND": "the command line's own; RoostCommandsTests/ContextTests has it",
    "CONTEXT_EXISTS": "the command line's own; RoostCommandsTests/ContextTests has it",
    "CONTEXT_UNREACHABLE": "the command line's own; RoostCommandsTests/ContextTests has it",
    "CONTEXTS_UNREADABLE": "the command line's own; RoostCommandsTests/ContextTests has it",
    "JOIN_TOKEN_INVALID": "--dev is no control plane for others; tests/commandline has it (fleet)",
    "JOIN_TOKEN_EXPIRED": "--dev is no control plane for others; tests/commandline has it (fleet)",
    "JOIN_TOKEN_USED_UP": "--dev is no control plane for others; tests/commandline has it (fleet)",
    "ACCESS_TOKEN_INVALID": "--dev takes no tokens; tests/commandline has it (access)",
    "ACCESS_TOKEN_EXPIRED": "--dev takes no tokens; tests/commandline has it (access)",
    "ACCESS_TOKEN_NOT_FOUND": "--dev takes no tokens; tests/commandline has it (access)",
    "NOT_THIS_NODE": "only a node's certificate gets it; tests/commandline has it (fleet)",
    "WATCH_TOO_SLOW": "takes half a minute of not reading; tests/commandline has it (fleet)",
    "NODE_REMOVED": "only a node that was removed gets it; tests/commandline has it (fleet)",
    "CONTROL_UNREACHABLE": "a node's own, which tries again by itself",
    "HOST_NOT_READY": "needs a host that lacks something", "INTERNAL": "a bug, and none is known",
}


class Bench:
    """A daemon, and the `roost` that a person would type."""

    def __init__(self, binaries, daemon):
        self.binaries, self.daemon, self.port = binaries, daemon, daemon.port
        self.tried = set()

    def type(self, command):
        """Types a remedy's command; its output."""
        words = shlex.split(command)
        words[0] = os.path.join(self.binaries, words[0])
        run = subprocess.run(words, capture_output=True, timeout=120, check=False,
                             stdin=subprocess.DEVNULL,
                             env=clean_environment({"ROOST_SOCKET": self.daemon.socket_path}))
        check(f"O7: '{command}' works", run.returncode == 0,
              f"exit {run.returncode}: {run.stderr.decode()[-300:]}")
        return run.stdout.decode()

    def provoke(self, reason, method, body, service=VMS, **more):
        """The refusal of a call that must get `reason`."""
        answer = post(self.port, method, body, service=service, **more)
        self.tried.add(reason)
        if not check(f"O7 {reason}: provoked", answer.status != 200, answer.body[:200]):
            return Refusal("", "", [])
        refusal = Refusal.of(answer)
        describes(f"O7 {reason}", refusal, refusal.code, reason)
        return refusal

    def works(self, reason, method, body, service=VMS, **more):
        """The call after its remedy."""
        answer = post(self.port, method, body, service=service, **more)
        check(f"O7 {reason}: works after the remedy", answer.status == 200, answer.body[:300])
        return answer.json if answer.status == 200 else {}


def requests(bench):
    """What is wrong with the request itself: the remedy says how to send it."""
    good = {"name": "remedy-a", "spec": spec()}
    refusal = bench.provoke("INVALID_FIELDS", "CreateVM", good | {"name": "Remedy A"})
    check("O7 INVALID_FIELDS: says to correct", "correct the named fields" in (refusal.remedy or ""))
    corrected = {field: good[field] for field in refusal.fields}
    bench.works("INVALID_FIELDS", "CreateVM", {"name": "Remedy A", "spec": spec()} | corrected)
    bench.provoke("MALFORMED_REQUEST", "GetVM", '{"id":')
    bench.works("MALFORMED_REQUEST", "GetVM", '{"id":"remedy-a"}')
    body = {"id": "remedy-a", "updateMask": "annotations"}
    bench.provoke("REQUEST_TOO_LARGE", "UpdateVM", body | {
        "vm": {"annotations": {"a": "x" * (5 << 20)}}})
    bench.works("REQUEST_TOO_LARGE", "UpdateVM", body | {"vm": {"annotations": {"a": "x"}}})
    refusal = bench.provoke("UNKNOWN_METHOD", "MakeVM", {"name": "remedy-b", "spec": spec()})
    path = re.search(r"POST (/\S+)", refusal.remedy or "")
    answer = raw(bench.port, "POST", path.group(1) if path else "/",
                 json.dumps({"name": "remedy-b", "spec": spec()}),
                 {"Content-Type": "application/json"})
    equal("O7 UNKNOWN_METHOD: the path in the remedy works", answer.status, 200)
    bench.provoke("OP_ID_INVALID", "StartVM", {"id": "remedy-a"}, op="op-1")
    bench.works("OP_ID_INVALID", "StartVM", {"id": "remedy-a"})
    op = op_id()
    bench.works("OP_ID_REUSED", "StopVM", {"id": "remedy-a", "force": True}, op=op)
    bench.provoke("OP_ID_REUSED", "StartVM", {"id": "remedy-a"}, op=op)
    bench.works("OP_ID_REUSED", "StartVM", {"id": "remedy-a"}, op=op_id())
    bench.provoke("OP_ID_EXPIRED", "StopVM", {"id": "remedy-a"}, op=op_id(40 * 86_400))
    bench.type("roost get remedy-a")
    bench.works("OP_ID_EXPIRED", "StopVM", {"id": "remedy-a"}, op=op_id())


def checkpoints(bench):
    """A moment that is not there: the remedy lists those that are."""
    service = "roost.compute.v1.CheckpointService"
    bench.works("a VM", "CreateVM", {"name": "remedy-moments", "spec": spec()})
    made = bench.works("a checkpoint", "CreateCheckpoint", {"id": "remedy-moments"}, service=service)
    body = {"id": "remedy-moments", "checkpoint": "f" * 31 + "0"}
    refusal = bench.provoke("CHECKPOINT_NOT_FOUND", "RevertVM", body, service=service)
    # The first column but for the star: what may be typed back.
    known = next(word for word in bench.type(refusal.commands[0]).split()
                 if made["id"].startswith(word))
    bench.works("CHECKPOINT_NOT_FOUND", "RevertVM", body | {"checkpoint": known}, service=service)


def templates(bench):
    """A template that is not there: the remedy lists those that are."""
    service = "roost.compute.v1.TemplateService"
    body = {"id": "remedy-moments", "name": "remedy-t"}
    bench.works("a template", "CreateTemplate", body, service=service)
    refusal = bench.provoke("TEMPLATE_NOT_FOUND", "GetTemplate", {"id": "none"}, service=service)
    known = next(word for word in bench.type(refusal.commands[0]).split() if word == "remedy-t")
    bench.works("TEMPLATE_NOT_FOUND", "GetTemplate", {"id": known}, service=service)
    bench.works("no template", "DeleteTemplate", {"id": known}, service=service)


def fleets(bench):
    """What another publication was first with: the remedy shows it, or plans again."""
    service = "roost.fleet.v1.DesiredStateService"
    state = {"name": "remedy", "groups": []}
    other = {"name": "remedy", "groups": [{"name": "remedy-f", "replicas": 0, "spec": spec()}]}
    refusal = bench.provoke("FLEET_NOT_FOUND", "GetState", {"name": "remedy"}, service=service)
    bench.works("a fleet", "PublishState", {"state": state, "generation": 5}, service=service)
    check("O7 FLEET_NOT_FOUND: the remedy lists it", "remedy" in bench.type(refusal.commands[0]))
    bench.works("FLEET_NOT_FOUND", "GetState", {"name": "remedy"}, service=service)
    body = {"state": other, "generation": 4}
    refusal = bench.provoke("STALE_GENERATION", "PublishState", body, service=service)
    present = json.loads(bench.type(refusal.commands[0]))["generation"]
    body["generation"] = present
    refusal = bench.provoke("GENERATION_REUSED", "PublishState", body, service=service)
    check("O7 GENERATION_REUSED: the remedy names the number", present in refusal.remedy,
          refusal.remedy)
    body["generation"] = str(int(present) + 1)
    bench.works("GENERATION_REUSED", "PublishState", body, service=service)
    bench.works("STALE_GENERATION", "PublishState", body, service=service)
    old = bench.works("a plan", "PlanState", {"state": state}, service=service)["token"]
    bench.works("another state", "PublishState", {"state": other, "generation": 9},
                service=service)
    body = {"state": state, "token": old}
    bench.provoke("STALE_PLAN", "PublishState", body, service=service)
    body["token"] = bench.works("a plan", "PlanState", {"state": state}, service=service)["token"]
    bench.works("STALE_PLAN", "PublishState", body, service=service)


def absences(bench):
    """What is not there: the remedy lists what is."""
    refusal = bench.provoke("VM_NOT_FOUND", "GetVM", {"id": "remedy"})
    names = [line.split()[0] for line in bench.type(refusal.commands[0]).splitlines()[1:]]
    bench.works("VM_NOT_FOUND", "GetVM", {"id": names[0]})
    for reason, field in (("IMAGE_NOT_FOUND", "image"), ("KERNEL_NOT_FOUND", "kernel")):
        body = {"name": f"remedy-{field}", "spec": spec(**{field: "no-such"})}
        refusal = bench.provoke(reason, "CreateVM", body)
        name = bench.type(refusal.commands[0]).splitlines()[1].split()[0]
        body["spec"][field] = name
        bench.works(reason, "CreateVM", body)
    body = {"name": "remedy-node", "spec": spec(), "node": "f" * 32}
    refusal = bench.provoke("NODE_NOT_FOUND", "CreateVM", body)
    node = bench.type(refusal.commands[0]).splitlines()[1].split()[0]
    bench.works("NODE_NOT_FOUND", "CreateVM", body | {"node": node})
    nodes = "roost.fleet.v1.NodeService"
    bench.works("a cordon", "CordonNode", {"node": node}, service=nodes)
    body = {"name": "remedy-fits", "spec": spec()}
    refusal = bench.provoke("NO_NODE_FITS", "CreateVM", body)
    check("O7 NO_NODE_FITS: the remedy names the change", f"uncordon {node}" in refusal.remedy,
          refusal.remedy)
    bench.works("an uncordon", "UncordonNode", {"node": node}, service=nodes)
    bench.works("NO_NODE_FITS", "CreateVM", body)
    bench.works("a drain", "DrainNode", {"node": node, "force": True}, service=nodes)
    refusal = bench.provoke("NODE_DRAINING", "StartVM", {"id": "remedy-fits"})
    bench.type(refusal.commands[0])
    bench.works("NODE_DRAINING", "StartVM", {"id": "remedy-fits"})
    bench.works("a stop", "KillVM", {"id": "remedy-fits"})
    refusal = bench.provoke("OPERATION_NOT_FOUND", "GetOperation", {"id": op_id()}, service=OPS)
    listed = bench.type(refusal.commands[0] + " -o json")
    found = re.search(r"op-[0-9a-z]{26}", listed)
    bench.works("OPERATION_NOT_FOUND", "GetOperation", {"id": found and found.group(0)}, service=OPS)
    ids, prefix = {}, None
    for index in range(3000):
        made = ask(bench.port, "CreateVM", {"name": f"amb-{index}", "project": "amb",
                                            "spec": spec()})["id"]
        prefix = made[:4]
        if prefix in ids:
            break
        ids[prefix] = made
    bench.provoke("AMBIGUOUS_NAME", "GetVM", {"id": prefix, "project": "amb"})
    whole = [vm["id"] for vm in json.loads(bench.type("roost ls -o json --project amb"))
             if vm["id"].startswith(prefix)]
    equal("O7 AMBIGUOUS_NAME: the remedy shows the ids whole", len(whole), 2)
    bench.works("AMBIGUOUS_NAME", "GetVM", {"id": whole[0], "project": "amb"})
    in_parallel(4, lambda part: [ask(bench.port, "DeleteVM", {
        "id": f"amb-{number}", "project": "amb", "purge": True})
        for number in range(part, index + 1, 4)])
    # A name that looks like the beginning of an id is a name first.
    some = next((vm for vm in ids.values() if vm[0].isalpha()), None)
    if some:
        bench.works("a name like an id", "CreateVM", {"name": "deadbeef", "spec": spec()})
        equal("a name like an id is found", ask(bench.port, "GetVM", {"id": "deadbeef"})["name"],
              "deadbeef")


def states(bench):
    """What the VM's state forbids."""
    body = {"name": "remedy-a", "spec": spec()}
    refusal = bench.provoke("NAME_TAKEN", "CreateVM", body)
    bench.type(refusal.commands[-1])
    bench.works("NAME_TAKEN", "CreateVM", body)
    ports = [{"host_port": 4242, "guest_port": 80}]
    bench.works("PORT_TAKEN", "CreateVM", {"name": "remedy-p", "spec": spec(ports=ports)})
    second = {"name": "remedy-q", "spec": spec(ports=ports)}
    refusal = bench.provoke("PORT_TAKEN", "CreateVM", second)
    host, guest = re.search(r"-p (\d+):(\d+)", refusal.remedy).groups()
    second["spec"]["ports"] = [{"host_port": int(host), "guest_port": int(guest)}]
    bench.works("PORT_TAKEN", "CreateVM", second)
    refusal = bench.provoke("WRONG_STATE", "PauseVM", {"id": "remedy-a"})
    check("O7 WRONG_STATE: names the state", "STOPPED" in refusal.message, refusal.message)
    bench.type(refusal.commands[0])
    bench.works("WRONG_STATE", "PauseVM", {"id": "remedy-a"})
    update = {"id": "remedy-a", "updateMask": "spec.cpu", "vm": {"spec": {"cpu": {"cores": 2}}}}
    refusal = bench.provoke("NEEDS_STOPPED", "UpdateVM", update)
    bench.type(refusal.commands[0])
    bench.works("NEEDS_STOPPED", "UpdateVM", update)
    bench.works("NEEDS_FORCE", "StartVM", {"id": "remedy-a"})
    refusal = bench.provoke("NEEDS_FORCE", "DeleteVM", {"id": "remedy-a"})
    bench.type(refusal.commands[0])
    bench.works("NEEDS_FORCE", "DeleteVM", {"id": "remedy-a", "purge": True})
    ask(bench.port, "CreateVM", body)
    stale = {"id": "remedy-a", "updateMask": "labels", "vm": {"labels": {"a": "b"}}, "etag": "1"}
    refusal = bench.provoke("STALE_ETAG", "UpdateVM", stale)
    shown = json.loads(bench.type(refusal.commands[0]))
    bench.works("STALE_ETAG", "UpdateVM", stale | {"etag": shown["etag"]})
    large = {"name": "remedy-large", "spec": spec(256, 1_048_576), "startOnCreate": True}
    bench.provoke("NO_CAPACITY", "CreateVM", large)
    bench.works("NO_CAPACITY", "CreateVM", large | {"spec": spec()})
    wrong = {"id": op_id()}
    check("an unknown operation is no secret", post(
        bench.port, "WaitOperation", wrong, service=OPS).status == 404)


def moments(binaries, scratch):
    """What only happens while something else does: a failpoint holds that moment still."""
    hold = {"ROOST_FAILPOINT": "control.accept.after:delay=12000@2"}
    with Daemon(binaries, scratch, environment=hold) as daemon:
        bench = Bench(binaries, daemon)
        ask(daemon.port, "CreateVM", {"name": "busy", "spec": spec()})
        slow = threading.Thread(target=post, args=(daemon.port, "StartVM", {"id": "busy"}))
        slow.start()
        until(lambda: ask(daemon.port, "GetVM", {"id": "busy"}).get("runningOp"))
        refusal = bench.provoke("OP_IN_PROGRESS", "PauseVM", {"id": "busy"})
        running = ask(daemon.port, "GetVM", {"id": "busy"}).get("runningOp")
        equal("O6: OP_IN_PROGRESS names the running op", refusal.metadata.get("op"), running)
        bench.type(refusal.commands[0])
        bench.works("OP_IN_PROGRESS", "PauseVM", {"id": "busy"})
        slow.join()
        tried = bench.tried
    with Daemon(binaries, scratch, environment=hold) as daemon:
        bench = Bench(binaries, daemon)
        ask(daemon.port, "CreateVM", {"name": "busy", "spec": spec()})
        answers = []
        slow = threading.Thread(target=lambda: answers.append(
            post(daemon.port, "StartVM", {"id": "busy"})))
        slow.start()
        until(lambda: ask(daemon.port, "GetVM", {"id": "busy"}).get("runningOp"))
        killed = post(daemon.port, "KillVM", {"id": "busy"})
        equal("O6: a kill pre-empts", killed.status, 200)
        slow.join()
        if check("O7 OP_CANCELLED: provoked", answers[0].status == 499, answers[0].body):
            refusal = Refusal.of(answers[0])
            describes("O7 OP_CANCELLED", refusal, "canceled", "OP_CANCELLED")
            check("O7 OP_CANCELLED: the remedy shows what pre-empted it",
                  "KillVM" in bench.type(refusal.commands[0]))
            bench.works("OP_CANCELLED", "StartVM", {"id": "busy"})
            tried.add("OP_CANCELLED")
    settle = {"ROOST_FAILPOINT": "control.settle.before:delay=12000@2"}
    with Daemon(binaries, scratch, environment=settle) as daemon:
        bench = Bench(binaries, daemon)
        ask(daemon.port, "CreateVM", {"name": "slow", "spec": spec()})
        refusal = bench.provoke("DEADLINE", "StartVM", {"id": "slow"}, headers={
            "Connect-Timeout-Ms": "1000"})
        for command in refusal.commands:
            bench.type(command)
        bench.works("DEADLINE", "WaitOperation", {"id": refusal.op}, service=OPS)
        equal("O6: an operation outlives its caller's patience",
              ask(daemon.port, "GetVM", {"id": "slow"})["status"]["state"], "RUNNING")
        tried |= bench.tried
    fail = {"ROOST_FAILPOINT": "control.accept.before:error@2"}
    with Daemon(binaries, scratch, environment=fail) as daemon:
        bench = Bench(binaries, daemon)
        ask(daemon.port, "CreateVM", {"name": "unlucky", "spec": spec()})
        bench.provoke("IO_FAILED", "StartVM", {"id": "unlucky"})
        bench.works("IO_FAILED", "StartVM", {"id": "unlucky"})
        tried |= bench.tried
    return tried


def until(holds):
    """Waits until `holds()`, at most a minute."""
    deadline = time.monotonic() + 60
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("it does not come to be")
        time.sleep(0.01)


def starting(binaries, scratch):
    """Reasons that the daemon says when it cannot start; the remedy, and it starts."""
    program = os.path.join(binaries, "roostd")

    def told(reason, arguments):
        run = subprocess.run([program, "--dev", *arguments], capture_output=True, timeout=PATIENCE,
                             check=False, env=clean_environment())
        lines = [json.loads(line) for line in run.stderr.decode().splitlines()
                 if line.startswith("{")]
        said = [line for line in lines if line.get("reason") == reason]
        check(f"O7 {reason}: the daemon says it", said and run.returncode != 0, lines[-2:])
        remedy = said[0].get("remedy", "") if said else ""
        check(f"O7 {reason}: the remedy is whole", is_whole(remedy), remedy)
        return remedy

    port, state = free_port(), os.path.join(scratch, "held-state")
    remedy = told("DRIVER_MISSING", ["--driver", "vmware", "--listen", f"127.0.0.1:{port}"])
    choices = re.search("choose one of: (.*)", remedy)
    check("O7 DRIVER_MISSING: offers the simulated driver", choices
          and "simulated" in choices.group(1).split(", "), remedy)
    with Daemon(binaries, scratch, arguments=["--driver", "simulated"]):
        check("O7 DRIVER_MISSING: works after the remedy", True)
    with Daemon(binaries, scratch, arguments=["--state-dir", state]) as holder:
        remedy = told("STATE_DIRECTORY_LOCKED", ["--state-dir", state, "--listen",
                                                 f"127.0.0.1:{free_port()}"])
        pid = re.search(r"pid (\d+)", remedy)
        equal("O7 STATE_DIRECTORY_LOCKED: names the pid", pid and int(pid.group(1)),
              holder.process.pid)
        told("SOCKET_IN_USE", ["--listen", f"127.0.0.1:{free_port()}", "--socket",
                               holder.socket_path])
        with Daemon(binaries, scratch):
            check("O7 SOCKET_IN_USE: another socket works", True)
    with Daemon(binaries, scratch, arguments=["--state-dir", state]):
        check("O7 STATE_DIRECTORY_LOCKED: works once the holder is stopped", True)
    remedy = told("SOCKET_PATH_TOO_LONG", ["--listen", f"127.0.0.1:{free_port()}", "--socket",
                                           "/tmp/" + "s" * 145])
    check("O7 SOCKET_PATH_TOO_LONG: says how short", "104 bytes" in remedy, remedy)
    short = os.path.join(scratch, "s.sock")
    with Daemon(binaries, scratch, arguments=["--socket", short]):
        check("O7 SOCKET_PATH_TOO_LONG: works after the remedy", os.path.exists(short))
    return {"DRIVER_MISSING", "STATE_DIRECTORY_LOCKED", "SOCKET_IN_USE", "SOCKET_PATH_TOO_LONG"}


def compacted(bench, client):
    """REVISION_COMPACTED comes from a watch; its remedy is to list and watch from there."""
    import grpc
    from clients import grpc_refusal

    try:
        next(client.watch({"fromRevision": str(10**15)}))
        check("O7 REVISION_COMPACTED: provoked", False)
    except grpc.RpcError as error:
        refusal = grpc_refusal(error)
        describes("O7 REVISION_COMPACTED", refusal, "out_of_range", "REVISION_COMPACTED")
    revision = ask(bench.port, "ListVMs", {"pageSize": 1})["revision"]
    stream = client.watch({"fromRevision": revision})
    ask(bench.port, "CreateVM", {"name": "after-list", "spec": spec()})
    check("O7 REVISION_COMPACTED: works after the remedy", next(stream).revision > int(revision))
    stream.cancel()
    bench.tried.add("REVISION_COMPACTED")


def catalogue(bench):
    """Every reason is tried here or said to be out of reach, and every command in it exists."""
    source = os.path.join("Sources", "RoostModel", "Reason.swift")
    with open(source, encoding="utf-8") as file:
        text = file.read()
    reasons = set(re.findall(r'case \w+ = "([A-Z_]+)"', text))
    check("the catalogue is read", len(reasons) > 40, reasons)
    known = bench.tried | set(NOT_AUTOMATABLE)
    equal("O7: every reason is tried or marked", sorted(reasons - known), [])
    equal("O7: no mark is out of date", sorted(known - reasons), [])
    commands = sorted(set(re.findall(r"\broost [a-z]+(?: [a-z]+)?", text)))
    for command in commands:
        words = command.split()[1:]
        run = None
        for count in range(len(words), 0, -1):
            run = subprocess.run(
                [os.path.join(bench.binaries, "roost"), "help", *words[:count]],
                capture_output=True, timeout=PATIENCE, check=False, env=clean_environment())
            if run.returncode == 0:
                break
        usage = run.stdout.decode()
        exists = run.returncode == 0 and f"USAGE: roost {words[0]}" in usage
        # `roost ops ls`: the second word must be one of the group's own.
        if exists and "SUBCOMMANDS" in usage:
            exists = len(words) == 1 or f"USAGE: roost {' '.join(words)}" in usage
        check(f"O7: the remedies' command '{command}' exists", exists, usage[:200])


def run(binaries, scratch, daemon, client):
    bench = Bench(binaries, daemon)
    requests(bench)
    absences(bench)
    checkpoints(bench)
    templates(bench)
    fleets(bench)
    states(bench)
    compacted(bench, client)
    bench.tried |= moments(binaries, scratch)
    bench.tried |= starting(binaries, scratch)
    catalogue(bench)
