"""A fleet of processes with real guests: a control plane and two nodes on one host."""

import os
import signal
import subprocess

from harness import PATIENCE, claim, free_port, is_alive, until


class Fleet:
    def __init__(self, bench):
        self.control = bench.place("fleet-control", prepared=False)
        self.port = free_port()
        self.daemons = {}
        self.nodes = {}
        for name in ("fleet-a", "fleet-b"):
            place = bench.place(name)
            # What is copied is the catalogue, not who the node is.
            for file in os.listdir(place.state):
                if file == "node-id" or file.startswith(("node.db", "roost.db")):
                    os.unlink(f"{place.state}/{file}")
            self.nodes[name] = place

    def start(self, place, name, *flags, **environment):
        os.makedirs(place.state, mode=0o700, exist_ok=True)
        with open(f"{place.state}.log", "ab") as log:
            self.daemons[name] = place.popen(
                "roostd", *flags, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def start_control(self):
        self.start(self.control, "control", "--role", "control", "--listen",
                   f"127.0.0.1:{self.port}", "--heartbeat", "2")
        until(lambda: os.path.exists(self.control.socket), 20, "the control plane's socket")
        until(lambda: self.control("node", "ls").code == 0, 20, "the control plane to answer")

    def start_node(self, name, token=None):
        self.start(self.nodes[name], name, "--role", "node", "--control", f"127.0.0.1:{self.port}",
                   "--node-listen", "127.0.0.1:0", "--name", name, "--driver", "qemu",
                   ROOST_JOIN=token)

    def until_ready(self):
        def ready():
            found = {node["name"]: node["state"] for node in self.control.json("node", "ls")}
            return found == {"fleet-a": "READY", "fleet-b": "READY"}
        until(ready, 30, "both nodes to be READY")

    def kill(self, name):
        process = self.daemons[name]
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self):
        for process in self.daemons.values():
            if process.poll() is None:
                process.terminate()
                process.wait(PATIENCE)


def checks(runner, bench):
    fleet = Fleet(bench)
    try:
        if not runner.check("fleet: two nodes join with their own catalogues", joins, fleet):
            return
        runner.check("fleet: run, exec, cp and logs reach guests on both nodes", guests, fleet)
        runner.check("fleet: kill -9 of a node's daemon: the guest goes on, and is the same", node_dies,
                     fleet)
        runner.check("fleet: kill -9 of the control plane: guests go on, and are managed after it",
                     control_dies, fleet)
        runner.check("fleet: after rm and purge nothing runs", empty, fleet)
    finally:
        fleet.end()


def joins(fleet):
    fleet.start_control()
    token = fleet.control.ok("token", "create", "--uses", "2").strip()
    for name in fleet.nodes:
        fleet.start_node(name, token)
    fleet.until_ready()
    return True


def guests(fleet):
    ask = fleet.control
    out = ask.ok("run", "-m", "192", "--", "echo", "hello")
    claim(out == "hello\n", out)
    for name in ("fleet-a", "fleet-b"):
        vm = f"on-{name[-1]}"
        ask.ok("run", "--name", vm, "-m", "192", "-d", "--node", name)
        claim(ask.ok("exec", vm, "--", "cat", "/proc/sys/kernel/hostname").strip() == vm)
        result = ask("exec", vm, "--", "sh", "-c", "cat; echo bad >&2; exit 7", input=b"x" * 200_000)
        claim(result.code == 7 and len(result.raw) == 200_000 and "bad" in result.err,
              result.code, len(result.raw), result.err[-200:])
        path = f"{fleet.control.state}/file"
        with open(path, "wb") as file:
            file.write(os.urandom(700_000))
        ask.ok("cp", path, f"{vm}:/tmp/file")
        ask.ok("cp", f"{vm}:/tmp/file", f"{path}.back")
        with open(path, "rb") as one, open(f"{path}.back", "rb") as other:
            claim(one.read() == other.read(), "the file differs")
        claim(ask.ok("logs", vm, "--source", "console"), "no console")
    claim(all(len(place.vmms()) == 1 for place in fleet.nodes.values()),
          [place.vmms() for place in fleet.nodes.values()])


def node_dies(fleet):
    ask, place = fleet.control, fleet.nodes["fleet-a"]
    before = place.vmms()
    up = ask.uptime("on-a")
    fleet.kill("fleet-a")
    claim(place.vmms() == before and all(is_alive(pid) for pid in before.values()), "the guest ended")
    result = ask("exec", "on-a", "--", "true")
    claim(result.code != 0, "answered by a dead node")
    fleet.start_node("fleet-a")
    fleet.until_ready()
    until(lambda: ask("exec", "on-a", "--", "true").code == 0, 20, "the guest to answer")
    claim(place.vmms() == before, "another process")
    claim(ask.uptime("on-a") > up, "it was started anew")
    running(ask, "on-a")
    ask.ok("stop", "on-a")
    ask.ok("start", "on-a")


def control_dies(fleet):
    ask = fleet.control
    up = ask.uptime("on-b")
    fleet.kill("control")
    fleet.start_control()
    fleet.until_ready()
    for vm in ("on-a", "on-b"):
        running(ask, vm)
    claim(ask.uptime("on-b") > up)


def running(ask, vm):
    """A node that was not heard for some seconds has had its VMs LOST meanwhile."""
    until(lambda: ask.state_of(vm) == "RUNNING", 20, f"{vm} to be RUNNING")


def empty(fleet):
    fleet.control.ok("rm", "-f", "--purge", "on-a", "on-b")
    until(lambda: not any(place.vmms() for place in fleet.nodes.values()), 10, "every QEMU to end")
