"""A fleet on one machine: a control plane and nodes as processes, with simulated VMs."""

import base64
import http.client
import json
import os
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

from harness import PATIENCE, Result, claim, free_port, until

# After three silent ones a node is NOT_READY, after ten LOST: seconds, in which somebody can look.
BEAT = 0.5


class Process:
    """A roostd of one role, with its log in a file."""

    def __init__(self, fleet, name, *flags, **environment):
        self.log = f"{fleet.base}/{name}.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [f"{fleet.bin}/roostd", *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=fleet.environment(**environment),
            )

    def said(self, text):
        with open(self.log, encoding="utf-8") as log:
            return text in log.read()

    def end(self, number=signal.SIGTERM, patience=PATIENCE):
        """Its exit status, after a signal if it is still there."""
        if self.process.poll() is None and number:
            self.process.send_signal(number)
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            with open(self.log, encoding="utf-8") as log:
                raise AssertionError(f"did not end: {log.read()[-2000:]}") from None


class Fleet:
    def __init__(self, programs, base):
        self.bin, self.base = programs, base
        self.home = f"{base}/home"
        os.makedirs(self.home, exist_ok=True)
        self.port = free_port()
        self.control = None
        self.nodes = {}

    def __enter__(self):
        self.start_control()
        return self

    def __exit__(self, *_):
        for process in [*self.nodes.values(), self.control]:
            if process and process.process.poll() is None:
                process.process.kill()
                process.process.wait()

    @property
    def socket(self):
        return f"{self.base}/control/roost.sock"

    def environment(self, **more):
        found = {
            "PATH": f"{self.bin}:/usr/bin:/bin", "HOME": self.home, "LANG": "C.UTF-8",
            "ROOST_SOCKET": None,
        }
        found.update(more)
        return {name: value for name, value in found.items() if value is not None}

    def start_control(self, **environment):
        self.control = Process(
            self, "control", "--role", "control", "--listen", f"127.0.0.1:{self.port}",
            "--state-dir", f"{self.base}/control", "--heartbeat", str(BEAT), **environment,
        )
        until(lambda: self.control.process.poll() is not None or self("node", "ls").code == 0
              if os.path.exists(self.socket) else False, 20, "the control plane to answer")
        claim(self.control.process.poll() is None, "the control plane ended")

    def start_node(self, name, token=None, **options):
        flags = options.pop("flags", ())
        node = Process(
            self, name, "--role", "node", "--control", f"127.0.0.1:{options.get('port', self.port)}",
            "--node-listen", "127.0.0.1:0", "--state-dir", f"{self.base}/{name}",
            "--driver", "simulated", "--name", name, *flags, ROOST_JOIN=token,
            ROOST_FAILPOINT=options.get("failpoint"),
        )
        self.nodes[name] = node
        return node

    def refused_node(self, name, token, says, **options):
        """A node that may not join ends by itself and says why."""
        node = self.start_node(name, token, **options)
        claim(node.end(None) == 1, "it did not end with 1")
        for word in says:
            claim(node.said(word), f"{word!r} is not in {node.log}",
                  open(node.log, encoding="utf-8").read())
        del self.nodes[name]

    def __call__(self, *words, socket_path=None, timeout=120):
        done = subprocess.run(
            [f"{self.bin}/roost", *words], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=timeout, check=False, cwd=self.home,
            env=self.environment(ROOST_SOCKET=socket_path or self.socket),
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def ok(self, *words, **options):
        result = self(*words, **options)
        claim(result.code == 0, "roost", " ".join(words), "->", result)
        return result.out

    def fails(self, *words, code, says):
        result = self(*words)
        claim(result.code == code, words, f"wanted {code} ->", result)
        for word in says:
            claim(word in result.err, f"no {word!r} in", result)

    def json(self, *words, **options):
        return json.loads(self.ok(*words, "-o", "json", **options))

    def token(self, *flags):
        return self.ok("token", "create", *flags).strip()

    def states(self):
        return {node["name"]: node["state"] for node in self.json("node", "ls")}

    def until_states(self, wanted, seconds=15):
        until(lambda: self.states() == wanted, seconds, f"nodes to be {wanted}, not {self.states()}")

    def vm(self, name):
        return self.json("get", name)

    def state(self, name):
        return self.vm(name)["status"]["state"]

    def place(self, name):
        names = {node["id"]: node["name"] for node in self.json("node", "ls")}
        return names[self.vm(name)["status"]["nodeId"]]


ALL_READY = {"n1": "READY", "n2": "READY", "n3": "READY"}


def checks(runner, programs, base):
    with Fleet(programs, base) as fleet:
        for body in (bad_flags, joins, tokens, bad_tokens, last_use, foreign, private, plaintext,
                     impostor, lives, unguested, holdings, node_dies, node_back, drains, drain_fails,
                     drain_survives, events, events_slow, events_gone,
                     control_dies, epochs, leaves, ends):
            runner.check(f"fleet: {body.__doc__}", body, fleet)


def bad_flags(fleet):
    """flags that contradict the role are refused, all at once"""
    for flags, says in (
        (("--role", "king"), ["--role", "king"]),
        (("--role", "node"), ["--control"]),
        (("--role", "node", "--control", "127.0.0.1:1"), ["--join", "roost token create"]),
        (("--role", "node", "--dev", "--listen", "127.0.0.1:1"), ["--dev", "--listen"]),
        (("--role", "control", "--driver", "qemu", "--join", "x"), ["--driver", "--join"]),
        (("--role", "control", "--heartbeat", "0"), ["--heartbeat"]),
        (("--role", "control", "--listen", "nowhere:1"), ["--listen", "nowhere"]),
        (("--join", "x"), ["--join"]),
    ):
        process = Process(fleet, "flags", *flags, "--state-dir", f"{fleet.base}/flags")
        claim(process.end(None) == 2, flags, "did not end with 2")
        for word in says:
            claim(process.said(word), flags, f"no {word!r}")


def joins(fleet):
    """three nodes join with one token and are READY, each with a place of its own"""
    token = fleet.token("--uses", "3", "--ttl", "1h")
    for name in ("n1", "n2", "n3"):
        fleet.start_node(name, token)
    fleet.until_states(ALL_READY)
    claim(len({node["id"] for node in fleet.json("node", "ls")}) == 3)
    listed = fleet.json("token", "ls")
    claim([(each["uses"], each.get("usesLeft", 0)) for each in listed] == [(3, 0)], listed)
    claim("READY" in fleet.ok("node", "ls"))


def tokens(fleet):
    """tokens are listed without their secret, and removed"""
    text = fleet.token("--ttl", "10m")
    secret = text.split(".")[2]
    listed = fleet.json("token", "ls")
    mine = [each for each in listed if each["id"] == text.split(".")[1]]
    claim(len(mine) == 1 and mine[0]["usable"], listed)
    claim(secret not in json.dumps(listed))
    for folder, _, names in os.walk(f"{fleet.base}/control"):
        for name in names:
            if os.path.isfile(f"{folder}/{name}"):
                with open(f"{folder}/{name}", "rb") as kept:
                    claim(secret.encode() not in kept.read(), f"the secret is in {name}")
    fleet.ok("token", "rm", mine[0]["id"])
    fleet.refused_node("late", text, ["JOIN_TOKEN_INVALID", "roost token create"])
    fleet.fails("token", "rm", mine[0]["id"], code=5, says=["no join token"])
    fleet.fails("token", "create", "--uses", "0", code=2, says=["--uses"])
    fleet.fails("token", "create", "--ttl", "1000h", code=2, says=["ttl"])


def bad_tokens(fleet):
    """used-up, expired, truncated and altered tokens are refused, each by its own reason"""
    used = fleet.token()
    fleet.start_node("user", used)
    until(lambda: fleet.states().get("user") == "READY", 15, "a fourth node")
    fleet.refused_node("more", used, ["JOIN_TOKEN_USED_UP"])
    fleet.nodes.pop("user").end()
    fleet.ok("node", "rm", "user")
    short = fleet.token("--ttl", "1s")
    time.sleep(1.1)
    fleet.refused_node("slow", short, ["JOIN_TOKEN_EXPIRED"])
    good = fleet.token()
    fleet.refused_node("cut", good[:-7], ["JOIN_TOKEN_INVALID", "part of it is missing"])
    swapped = good[:-1] + ("0" if good[-1] != "0" else "1")
    fleet.refused_node("swapped", swapped, ["JOIN_TOKEN_INVALID", "altered"])
    fleet.refused_node("none", "hello", ["JOIN_TOKEN_INVALID"])


def last_use(fleet):
    """of two that join at once with the last use, one gets in"""
    token = fleet.token()
    for name in ("race1", "race2"):
        fleet.start_node(name, token)
    racing = {name: fleet.nodes[name] for name in ("race1", "race2")}
    until(lambda: any(each.process.poll() is not None for each in racing.values()), 20, "a refusal")
    lost = [name for name, each in racing.items() if each.process.poll() is not None]
    claim(len(lost) == 1 and racing[lost[0]].said("JOIN_TOKEN_USED_UP"), lost)
    won = "race1" if lost == ["race2"] else "race2"
    until(lambda: fleet.states().get(won) == "READY", 15, "the winner")
    for name in racing:
        fleet.nodes.pop(name).end()
    fleet.ok("node", "rm", won)


def foreign(fleet):
    """a token of another fleet is not sent to this one"""
    os.makedirs(f"{fleet.base}/other", exist_ok=True)
    with Fleet(fleet.bin, f"{fleet.base}/other") as other:
        token = other.token()
        fleet.refused_node("stray", token, ["JOIN_TOKEN_INVALID", "another fleet"])
        left = [each["usesLeft"] for each in other.json("token", "ls")]
        claim(left == [1], left)


def private(fleet):
    """keys are for their owner alone, and a key that others may read is refused"""
    for path in ("control/fleet/authority.key", "n1/fleet/node.key"):
        mode = os.stat(f"{fleet.base}/{path}").st_mode & 0o777
        claim(mode == 0o600, path, oct(mode))
    key = f"{fleet.base}/n3/fleet/node.key"
    fleet.nodes["n3"].end()
    os.chmod(key, 0o644)
    node = fleet.start_node("n3")
    claim(node.end(None) == 1 and node.said("chmod 600"), "it was taken")
    os.chmod(key, 0o600)
    fleet.start_node("n3")
    fleet.until_states(ALL_READY)


def address_of(fleet, name):
    with open(fleet.nodes[name].log, encoding="utf-8") as log:
        lines = [json.loads(line) for line in log if '"serving the control plane"' in line]
    host, port = lines[-1]["address"].rsplit(":", 1)
    return host, int(port)


def plaintext(fleet):
    """plaintext, and TLS without a certificate, get nothing from either listener"""
    for host, port in (("127.0.0.1", fleet.port), address_of(fleet, "n1")):
        with socket.create_connection((host, port), PATIENCE) as plain:
            plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            plain.settimeout(PATIENCE)
            claim(b"\0\0" != plain.recv(64)[:2], "an HTTP/2 frame came back")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        try:
            with socket.create_connection((host, port), PATIENCE) as plain, \
                    context.wrap_socket(plain) as tls:
                tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
                tls.settimeout(PATIENCE)
                answer = tls.recv(64)
                claim(not answer, "answered without a certificate", answer)
        except (ssl.SSLError, ConnectionError):
            pass


def impostor(fleet):
    """a node that says another's id with its own key is refused"""
    fleet.nodes["n3"].end()
    path = f"{fleet.base}/n3/node-id"
    with open(path, encoding="utf-8") as kept:
        mine = kept.read()
    with open(f"{fleet.base}/n1/node-id", encoding="utf-8") as kept:
        theirs = kept.read()
    with open(path, "w", encoding="utf-8") as kept:
        kept.write(theirs)
    node = fleet.start_node("n3")
    until(lambda: node.said("NOT_THIS_NODE"), 10, "the refusal")
    node.end()
    with open(path, "w", encoding="utf-8") as kept:
        kept.write(mine)
    # With a token, too: the id is a member's with another key.
    os.makedirs(f"{fleet.base}/thief", mode=0o700, exist_ok=True)
    with open(f"{fleet.base}/thief/node-id", "w", encoding="utf-8") as kept:
        kept.write(theirs)
    token = fleet.token()
    fleet.refused_node("thief", token, ["NOT_THIS_NODE"])
    fleet.start_node("n3")
    fleet.until_states(ALL_READY)


def lives(fleet):
    """VMs spread over the nodes and live their lives there"""
    fleet.until_states(ALL_READY)
    for index in range(6):
        fleet.ok("run", "-d", "--name", f"v{index}", "-c", "1", "-m", "256")
    places = sorted(fleet.place(f"v{index}") for index in range(6))
    claim(places == ["n1", "n1", "n2", "n2", "n3", "n3"], places)
    fleet.ok("kill", "v0")
    claim(fleet.state("v0") == "STOPPED")
    fleet.ok("start", "v0")
    fleet.ok("pause", "v0")
    claim(fleet.state("v0") == "PAUSED")
    fleet.ok("resume", "v0")
    claim(fleet.state("v0") == "RUNNING")
    where = fleet.place("v0")
    fleet.ok("rm", "-f", "v0")
    fleet.ok("undelete", "v0")
    claim(fleet.place("v0") == where and fleet.state("v0") == "STOPPED")
    fleet.ok("rm", "-f", "--purge", "v0")
    fleet.fails("get", "v0", code=3, says=["v0"])
    fleet.ok("run", "-d", "--name", "here", "--node", "n2")
    claim(fleet.place("here") == "n2")
    fleet.ok("rm", "-f", "--purge", "here")


def unguested(fleet):
    """what a node cannot do is said in the node's words, and images are asked for on the node"""
    result = fleet("exec", "v1", "--", "true")
    claim(result.code in (125, 126, 127) and "no guest" in result.err, result)
    fleet.fails("image", "ls", code=1, says=["on its nodes"])
    claim(fleet.ok("image", "ls", socket_path=f"{fleet.base}/n1/roost.sock"))


def holdings(fleet):
    """nodes say what they have: a VM goes at once where its image is, after a new start too"""
    for attempt in ("first", "second"):
        for name in ("n1", "n2", "n3"):
            vm = f"{attempt}-{name}"
            fleet.ok("run", "-d", "--name", vm, "-m", "128", f"{name}-only")
            claim(fleet.place(vm) == name, vm, "is on", fleet.place(vm))
            decision = fleet.json("why", vm)["decision"]
            # Not by asking one node after the other.
            claim(decision["fitting"] == "3" and not decision.get("removed"), decision)
            best = {part["name"]: part["points"] for part in decision["best"][0]["parts"]}
            claim(best.get("locality") == "1000000", decision)
            fleet.ok("rm", "-f", "--purge", vm)
        if attempt == "first":
            fleet.control.end(signal.SIGKILL)
            fleet.start_control()
            fleet.until_states(ALL_READY)


def node_dies(fleet):
    """a node that is killed is NOT_READY, then LOST with its VMs; new ones go elsewhere"""
    on_two = [f"v{index}" for index in range(1, 6) if fleet.place(f"v{index}") == "n2"]
    seen = []
    def watch():
        # From before its end, and beside the commands: each state lasts for seconds.
        while not seen or seen[-1] != "LOST":
            state = fleet.states()["n2"]
            if not seen or seen[-1] != state:
                seen.append(state)
    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    until(lambda: seen, 15, "somebody to look")
    fleet.nodes["n2"].end(signal.SIGKILL)
    # Before anybody has noticed: the node does not answer, and another is tried.
    fleet.ok("run", "-d", "--name", "quick")
    claim(fleet.place("quick") != "n2")
    watching.join(PATIENCE)
    claim(seen[-2:] == ["NOT_READY", "LOST"], seen)
    for name in on_two:
        until(lambda: fleet.state(name) == "LOST", 10, f"{name} to be LOST")
        claim("n2" in fleet.vm(name)["status"]["reason"])
    for index in range(3):
        fleet.ok("run", "-d", "--name", f"w{index}")
        claim(fleet.place(f"w{index}") != "n2")
    fleet.fails("run", "-d", "--name", "no", "--node", "n2", code=125, says=["LOST"])
    fleet.fails("node", "drain", "n2", code=6, says=["n2 is LOST", "roost node cordon n2"])
    fleet.ok("rm", "-f", "--purge", "quick", "w0", "w1", "w2")
    fleet.ok("node", "cordon", "n2", "--reason", "broken")


def node_back(fleet):
    """a node that comes back is READY with the same id; its cordon and its VMs' rows are there"""
    before = fleet.json("node", "inspect", "n2")["id"]
    rows = {vm["name"]: vm["id"] for vm in fleet.json("ls", "-a")}
    fleet.start_node("n2")
    fleet.until_states({**ALL_READY, "n2": "CORDONED"})
    claim(fleet.json("node", "inspect", "n2")["id"] == before)
    claim({vm["name"]: vm["id"] for vm in fleet.json("ls", "-a")} == rows)
    # Simulated machines end with their process: that is said, and not RUNNING.
    for name in rows:
        if fleet.place(name) == "n2":
            until(lambda: fleet.state(name) == "FAILED", 10, f"{name} to be FAILED")
    fleet.ok("node", "uncordon", "n2")
    fleet.until_states(ALL_READY)


SHOP = "fleet: shop\ngroups:\n  - {name: web, memory: 256, node: n2, power: running}\n"


def operations(fleet, name):
    """What was asked of a VM, newest first."""
    return [each["method"] for each in fleet.json("ops", "ls", "--vm", name)]


def new_operation():
    """An op id that was never sent."""
    bits = int(time.time() * 1000) << 80 | random.getrandbits(80)
    digits = "0123456789abcdefghjkmnpqrstvwxyz"
    return "op-" + "".join(digits[bits >> shift & 31] for shift in range(125, -1, -5))


def drains(fleet):
    """a drain stops what runs, nobody starts it there, and uncordon brings back what it stopped"""
    for name in ("d1", "d2", "d3", "dp"):
        fleet.ok("run", "-d", "--name", name, "--node", "n2", "-m", "256")
    fleet.ok("pause", "dp")
    path = f"{fleet.base}/shop.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(SHOP)
    fleet.ok("apply", "-f", path)
    n2 = fleet.json("node", "inspect", "n2")["id"]
    running = {vm["name"] for vm in fleet.json("ls") if vm["status"]["nodeId"] == n2
               and vm["status"]["state"] in ("RUNNING", "PAUSED")}
    claim({"d1", "d2", "d3", "dp", "web"} <= running, running)
    # What would be, by the same word as whatif's.
    asked = fleet.json("node", "drain", "n2", "--dry-run")["vms"]
    steps = {step["vmName"]: step for step in fleet.json("whatif", "drain", "n2")["steps"]}
    names = {node["id"]: node["name"] for node in fleet.json("node", "ls")}
    claim({vm["vmName"] for vm in asked} == running, asked)
    for vm in asked:
        step = steps[vm["vmName"]]
        claim(names[step["toNodeId"]] == vm["roomOn"] if step["outcome"] == "GOES"
              else vm["noRoom"], vm, step)
    # Something that happened would not go back by itself.
    fleet.until_states(ALL_READY)
    fleet.fails("node", "drain", "n9", code=3, says=["n9"])
    fleet.fails("node", "drain", "n2", "-t", "48h", code=2, says=["timeout_seconds", "86400"])
    # It happens.
    text = fleet.ok("node", "drain", "n2", "--reason", "new disks")
    for name in running:
        claim(f"{name}  stopped" in text, text)
    claim("the fleet shop makes no other in its place" in text, text)
    said = text
    fleet.until_states({**ALL_READY, "n2": "DRAINED"})
    text = fleet.ok("node", "inspect", "n2")
    claim("new disks" in text and "DRAINED" in text, text)
    claim(fleet.ok("node", "drain", "n2") == said, "once more it says something else")
    fleet.fails("start", "d1", code=4, says=["n2", "roost node uncordon n2"])
    left = fleet.json("status", "shop")["changes"]
    claim([one["kind"] for one in left] == ["BLOCKED"], left)
    fleet.ok("run", "-d", "--name", "elsewhere")
    claim(fleet.place("elsewhere") != "n2")
    fleet.ok("rm", "-f", "--purge", "elsewhere")
    # What its owner sees to is not brought back.
    fleet.ok("stop", "d2")
    fleet.ok("rm", "d3")
    # A new control plane knows of it.
    fleet.control.end(signal.SIGKILL)
    fleet.start_control()
    fleet.until_states({**ALL_READY, "n2": "DRAINED"})
    claim(fleet.state("d1") == fleet.state("web") == "STOPPED", fleet.ok("ls", "-a"))
    text = fleet.ok("node", "uncordon", "n2")
    for name in ("d1", "dp"):
        claim(f"{name}  started" in text, text)
    # The fleet's keeper may have been quicker.
    claim("web  started" in text or "web  already done" in text, text)
    claim("d2" not in text and "d3" not in text, text)
    found = [fleet.state(name) for name in ("d1", "web", "dp", "d2")]
    claim(found == ["RUNNING", "RUNNING", "PAUSED", "STOPPED"], found)
    fleet.until_states(ALL_READY)
    claim(fleet.json("status", "shop")["convergencePercent"] == 100)
    with open(path, "w", encoding="utf-8") as file:
        file.write("fleet: shop\ngroups: []\n")
    fleet.ok("apply", "-f", path)
    fleet.ok("rm", "-f", "--purge", *(running - {"d3", "web"}))
    # Its host may be off meanwhile. (Simulated VMs would be lost with it.)
    fleet.ok("node", "drain", "n2")
    claim(fleet.nodes["n2"].end() == 0, "n2 did not end in order")
    fleet.until_states({**ALL_READY, "n2": "LOST"})
    fleet.start_node("n2")
    fleet.until_states({**ALL_READY, "n2": "DRAINED"})
    fleet.ok("node", "uncordon", "n2")
    fleet.until_states(ALL_READY)


def drain_fails(fleet):
    """a VM that cannot be stopped is itemised with a remedy, and the next drain sees to it"""
    fleet.nodes["n3"].end()
    # Two that start, then the first that is stopped.
    fleet.start_node("n3", failpoint="node.assign.before:error@3")
    fleet.until_states(ALL_READY)
    for name in ("f1", "f2"):
        fleet.ok("run", "-d", "--name", name, "--node", "n3", "-m", "256")
    result = fleet("node", "drain", "n3")
    claim(result.code == 6 and "hint: " in result.err and "roost doctor" in result.err, result)
    words = sorted(line.split()[1].rstrip(";") for line in result.out.splitlines()
                   if line.split()[0] in ("f1", "f2"))
    claim(words == ["failed", "stopped"], result)
    fleet.until_states({**ALL_READY, "n3": "DRAINING"})
    claim("failed" in fleet.ok("node", "inspect", "n3"))
    drain = fleet.json("node", "inspect", "n3")["drain"]["operation"]
    shown = fleet.json("ops", "get", drain)
    claim(shown["state"] == "FAILED" and shown["subjects"][0]["name"] == "n3", shown)
    listed = fleet.json("ops", "ls")
    claim([op["method"] for op in listed if op["id"] == drain] == ["DrainNode"], listed)
    claim([op["id"] for op in listed] == sorted((op["id"] for op in listed), reverse=True), listed)
    ids = [op["id"] for op in fleet.json("ops", "ls", "-n", "3")]
    claim(ids == [op["id"] for op in listed][:3], ids, listed)
    fleet.fails("stop", "f1", "--op-id", drain, code=4, says=["DrainNode"])
    claim("stopped" in fleet.ok("node", "drain", "n3"))
    fleet.until_states({**ALL_READY, "n3": "DRAINED"})
    text = fleet.ok("node", "uncordon", "n3")
    claim("f1  started" in text and "f2  started" in text, text)
    fleet.ok("rm", "-f", "--purge", "f1", "f2")
    fleet.until_states(ALL_READY)


def drain_survives(fleet):
    """kill -9 in the middle of a drain, and of its end: it goes on, and nothing is done twice"""
    names = [f"s{index}" for index in range(12)]
    for name in names:
        fleet.ok("run", "-d", "--name", name, "--node", "n1", "-m", "256", "-c", "1")
    for words, before_it, rests, done in (
            (("drain", "n1", "--suspend"), "READY", "SUSPENDED", "suspended"),
            (("uncordon", "n1"), "DRAINED", "RUNNING", "started")):
        fleet.control.end()
        fleet.start_control(ROOST_FAILPOINT="control.settle.before:kill@4")
        fleet.until_states({**ALL_READY, "n1": before_it})
        before = {name: len(operations(fleet, name)) for name in names}
        operation = new_operation()
        result = fleet("node", *words, "--op-id", operation)
        claim(result.code != 0 and fleet.control.end(None) == -signal.SIGKILL, result)
        fleet.start_control()
        until(lambda: all(fleet.state(name) == rests for name in names), 20, f"all to be {rests}")
        until(lambda: fleet.states()["n1"] == ("DRAINED" if rests == "SUSPENDED" else "READY"), 10,
              "n1 to be done")
        # Sent once more, it is answered from its record.
        text = fleet.ok("node", *words, "--op-id", operation)
        claim({f"{name}  {done}" for name in names} <= set(text.splitlines()), text)
        for name in names:
            claim(len(operations(fleet, name)) == before[name] + 1, operations(fleet, name))
            claim(fleet.json("ops", "ls", "--vm", name)[0]["parent"] == operation)
    fleet.ok("rm", "-f", "--purge", *names)


class Follower:
    """A `roost events -f` whose output is read from a file."""

    def __init__(self, fleet, *flags):
        self.path = f"{fleet.base}/events-{random.getrandbits(32)}"
        with open(self.path, "wb") as out, open(f"{self.path}.err", "wb") as err:
            self.process = subprocess.Popen(
                [f"{fleet.bin}/roost", "events", "-f", "-o", "json", *flags], stdout=out,
                stderr=err, stdin=subprocess.DEVNULL, cwd=fleet.home,
                env=fleet.environment(ROOST_SOCKET=fleet.socket),
            )

    def read(self):
        with open(self.path, encoding="utf-8") as file:
            return [json.loads(line) for line in file.read().split("\n")[:-1]]

    def said(self):
        with open(f"{self.path}.err", encoding="utf-8") as file:
            return file.read()

    def end(self):
        self.process.terminate()
        self.process.wait(10)
        return self.read()


def events(fleet):
    """events: nodes and the control plane die, and whoever follows misses none and sees none twice"""
    fleet.ok("run", "-d", "--name", "before", "--node", "n1", "-m", "256")
    start = fleet.json("events")[-1]["revision"]
    follower = Follower(fleet, "--since", start)
    fleet.ok("run", "-d", "--name", "ev", "--node", "n1", "-m", "256")
    fleet.ok("stop", "ev")
    fleet.nodes["n2"].end(signal.SIGKILL)
    fleet.until_states({**ALL_READY, "n2": "LOST"})
    until(lambda: any(each["to"] == "LOST" for each in follower.read()), 10, "the news")
    # One reader ends here, and goes on later.
    first = Follower(fleet, "--since", start)
    until(lambda: any(each["to"] == "LOST" for each in first.read()), 10, "the news again")
    half = first.end()
    fleet.ok("node", "cordon", "n3", "--reason", "quiet")
    fleet.control.end(signal.SIGKILL)
    until(lambda: "waiting" in follower.said(), 10, "the follower to wait")
    fleet.start_control()
    fleet.start_node("n2")
    fleet.until_states({**ALL_READY, "n3": "CORDONED"})
    fleet.ok("node", "uncordon", "n3")
    fleet.ok("rm", "-f", "--purge", "ev", "before")
    wanted = [each for each in fleet.json("events", "-n", "1000")
              if int(each["revision"]) > int(start)]
    ids = [each["id"] for each in wanted]
    until(lambda: [each["id"] for each in follower.read()] == ids, 10,
          f"the follower to have read {len(ids)} events, not {len(follower.read())}")
    follower.end()
    second = Follower(fleet, "--since", half[-1]["revision"])
    until(lambda: [each["id"] for each in half + second.read()] == ids, 10, "the rest")
    second.end()
    claim([int(each["revision"]) for each in wanted]
          == sorted(int(each["revision"]) for each in wanted))
    def of(name):
        return [each["to"] for each in wanted
                if each["subject"]["name"] == name and each["kind"] != "OPERATION_STATE"]
    claim(of("ev") == ["STARTING", "RUNNING", "STOPPING", "STOPPED", "DELETING", "GONE"], of("ev"))
    claim(of("n2")[:2] == ["NOT_READY", "LOST"] and of("n2")[-1] == "READY", of("n2"))
    claim("CORDONED" in of("n3") and of("n3")[-1] == "READY", of("n3"))
    # Filters.
    asked = fleet.json("events", "--vm", "ev", "--kind", "operation-state")
    claim([each["to"] for each in asked] == ["RUNNING", "SUCCEEDED"] * 3, asked)
    mine = fleet.json("events", "--op", asked[2]["operation"][-6:])
    claim([each["to"] for each in mine] == ["RUNNING", "STOPPING", "STOPPED", "SUCCEEDED"], mine)
    again = fleet.json("events", "--since", half[-1]["revision"], "-n", "1000")
    claim([each["id"] for each in half + again][:len(ids)] == ids, again)
    claim([each["to"] for each in fleet.json("events", "--node", "n3", "-n", "1")] == ["READY"])
    claim("STOPPED" in fleet.ok("events", "--vm", "ev"))


class Calls(http.client.HTTPConnection):
    """Connect calls in JSON over the control plane's socket, one after the other."""

    def __init__(self, fleet):
        super().__init__("roost", timeout=30)
        self.path = fleet.socket

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def __call__(self, method, message):
        self.request("POST", f"/roost.{method}", json.dumps(message),
                     {"Content-Type": "application/json"})
        answer = self.getresponse()
        body = answer.read()
        claim(answer.status == 200, method, answer.status, body)
        return json.loads(body)


class Stream:
    """A Connect stream of WatchEvents over the control plane's socket, read only when it is told to."""

    def __init__(self, fleet, revision):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(fleet.socket)
        body = json.dumps({"sinceRevision": revision}).encode()
        body = struct.pack(">BI", 0, len(body)) + body
        self.socket.sendall(
            b"POST /roost.ops.v1.EventService/WatchEvents HTTP/1.1\r\nHost: roost\r\n"
            b"Content-Type: application/connect+json\r\nConnect-Protocol-Version: 1\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
        )

    def messages(self):
        """What was sent until it ended: messages, and how it ended."""
        answer = http.client.HTTPResponse(self.socket)
        answer.begin()
        found = []
        while True:
            head = answer.read(5)
            flags, length = struct.unpack(">BI", head)
            message = json.loads(answer.read(length))
            if flags & 2:
                self.socket.close()
                return found, message
            found.append(message)


def events_slow(fleet):
    """events: a reader that does not read is told so and dropped, and misses none when it comes back"""
    start = fleet.json("events", "-n", "1")[-1]["revision"]
    stream = Stream(fleet, start)
    reason = "x" * 1000
    # More than what lies in sockets, and a good deal of it.
    api = Calls(fleet)
    for _ in range(500):
        api("fleet.v1.NodeService/CordonNode", {"node": "n3", "reason": reason})
        api("fleet.v1.NodeService/UncordonNode", {"node": "n3"})
    # Twice the patience of whoever sends.
    time.sleep(35)
    pages, end = stream.messages()
    told = [event for page in pages for event in page.get("events", [])]
    error = end.get("error", {})
    claim(error.get("code") == "aborted", end)
    claim(any(b"WATCH_TOO_SLOW" in base64.b64decode(each["value"] + "===")
              for each in error["details"]), end)
    claim(0 < len(told) < 1000, len(told))
    rest, revision = [], pages[-1]["revision"]
    while True:
        page = api("ops.v1.EventService/ListEvents",
                   {"sinceRevision": revision, "pageSize": 1000})
        if not page.get("events"):
            break
        rest += page["events"]
        revision = page["revision"]
    # Whether it was heard of in time on a busy host is another matter.
    mine = [event for event in told + rest if event["subject"]["name"] == "n3"
            and event["reason"].startswith(("it was cordoned", "the cordon is over"))]
    claim([event["to"] for event in mine] == ["CORDONED", "READY"] * 500, len(mine))
    claim(len({event["id"] for event in mine}) == 1000)


def events_gone(fleet):
    """events: a revision that never was, and flags that contradict each other, are refused"""
    fleet.fails("events", "-f", "--since", "99999999", code=1, says=["99999999"])
    fleet.fails("events", "--since", "99999999", code=1, says=["99999999"])
    fleet.fails("events", "--since", "-1", code=2, says=["--since"])
    fleet.fails("events", "-f", "-n", "3", code=2, says=["-n and -f"])
    fleet.fails("events", "--op", "abc", code=2, says=["filter.operation"])
    fleet.fails("events", "--kind", "weather", code=2, says=["weather"])
    fleet.fails("events", "-n", "1001", code=2, says=["page_size"])


def control_dies(fleet):
    """kill -9 of the control plane: nodes go on, and it finds everything again"""
    before = {vm["name"]: vm["status"]["state"] for vm in fleet.json("ls", "-a")}
    fleet.control.end(signal.SIGKILL)
    for role in ("standalone", "node"):
        flags = ["--control", "127.0.0.1:1", "--join", "x"] if role == "node" else []
        other = Process(fleet, f"other-{role}", "--role", role, "--driver", "simulated", *flags,
                        "--state-dir", f"{fleet.base}/control")
        claim(other.end(None) == 2 and other.said("daemon with --role control"), role)
    time.sleep(3 * BEAT)
    claim(all(node.process.poll() is None for node in fleet.nodes.values()), "a node ended")
    # Nothing else takes its place meanwhile.
    fleet.fails("node", "ls", code=6, says=["control plane", "roostd --role control --state-dir"])
    fleet.start_control()
    fleet.until_states(ALL_READY)
    after = {vm["name"]: vm["status"]["state"] for vm in fleet.json("ls", "-a")}
    claim(after == before, before, after)
    fleet.ok("run", "-d", "--name", "after")
    fleet.ok("rm", "-f", "--purge", "after")
    # While creates are on their way.
    threads = [threading.Thread(target=fleet, args=("run", "-d", "--name", f"k{index}"))
               for index in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    fleet.control.end(signal.SIGKILL)
    fleet.start_control()
    for thread in threads:
        thread.join()
    fleet.until_states(ALL_READY)
    def settled():
        return all(vm["status"]["state"] in ("RUNNING", "FAILED", "STOPPED", "DELETED")
                   for vm in fleet.json("ls", "-a"))
    until(settled, 20, "every create to end")
    for vm in fleet.json("ls", "-a"):
        if vm["name"].startswith("k"):
            claim(vm["status"]["state"] == "RUNNING", vm["name"], vm["status"])
            fleet.ok("rm", "-f", "--purge", vm["name"])


def epochs(fleet):
    """nodes refuse the orders of a control plane that another has succeeded, restored from a backup"""
    fleet.control.end()
    kept = f"{fleet.base}/control"
    shutil.copytree(kept, f"{fleet.base}/backup")
    for name in ("e1", "e2"):
        fleet.start_control()
        fleet.until_states(ALL_READY)
        fleet.ok("run", "-d", "--name", name, "--node", "n1")
        fleet.control.end()
    os.rename(kept, f"{fleet.base}/newest")
    os.rename(f"{fleet.base}/backup", kept)
    fleet.start_control()
    fleet.until_states(ALL_READY)
    result = fleet("run", "-d", "--name", "stale", "--node", "n1")
    claim(result.code != 0 and "epoch" in result.err, result)
    fleet.control.end()
    shutil.rmtree(kept)
    os.rename(f"{fleet.base}/newest", kept)
    fleet.start_control()
    fleet.until_states(ALL_READY)
    fleet.ok("rm", "-f", "--purge", "e1", "e2")


def leaves(fleet):
    """a node with VMs leaves only by force, is not heard any more, and needs a new token"""
    fleet.ok("run", "-d", "--name", "held", "--node", "n3")
    fleet.fails("node", "rm", "n3", code=4, says=["VMs", "--force"])
    gone = fleet("node", "rm", "--force", "n3")
    claim(gone.code == 0 and "held" in gone.err, gone)
    claim("n3" not in fleet.states())
    fleet.fails("get", "held", code=3, says=["held"])
    node = fleet.nodes["n3"]
    until(lambda: node.said("NODE_REMOVED"), 10, "the refusal")
    node.end()
    fleet.fails("node", "rm", "n3", code=3, says=["n3"])


def ends(fleet):
    """every daemon ends in order when it is asked to"""
    for name in ("n1", "n2"):
        claim(fleet.nodes[name].end() == 0, name)
    claim(fleet.control.end() == 0, "control")
