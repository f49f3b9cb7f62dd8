"""A fleet on one machine: a control plane and nodes as processes, with simulated VMs."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

from desk import free_port
from harness import Result, claim, until

BEAT = 0.2


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

    def end(self, number=signal.SIGTERM, patience=15):
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

    def start_control(self):
        self.control = Process(
            self, "control", "--role", "control", "--listen", f"127.0.0.1:{self.port}",
            "--state-dir", f"{self.base}/control", "--heartbeat", str(BEAT),
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

    def __call__(self, *words, socket_path=None, timeout=30):
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
                     impostor, lives, unguested, node_dies, node_back, control_dies, epochs, leaves,
                     ends):
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
        with socket.create_connection((host, port), 5) as plain:
            plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            plain.settimeout(5)
            claim(b"\0\0" != plain.recv(64)[:2], "an HTTP/2 frame came back")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        try:
            with socket.create_connection((host, port), 5) as plain, \
                    context.wrap_socket(plain) as tls:
                tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
                tls.settimeout(5)
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


def node_dies(fleet):
    """a node that is killed is NOT_READY, then LOST with its VMs; new ones go elsewhere"""
    on_two = [f"v{index}" for index in range(1, 6) if fleet.place(f"v{index}") == "n2"]
    fleet.nodes["n2"].end(signal.SIGKILL)
    began = time.monotonic()
    # Before anybody has noticed: the node does not answer, and another is tried.
    fleet.ok("run", "-d", "--name", "quick")
    claim(fleet.place("quick") != "n2")
    seen = []
    def watch():
        state = fleet.states()["n2"]
        if not seen or seen[-1] != state:
            seen.append(state)
        return state == "LOST"
    until(watch, 15, "n2 to be LOST")
    claim(seen[-2:] == ["NOT_READY", "LOST"], seen, time.monotonic() - began)
    for name in on_two:
        until(lambda: fleet.state(name) == "LOST", 10, f"{name} to be LOST")
        claim("n2" in fleet.vm(name)["status"]["reason"])
    for index in range(3):
        fleet.ok("run", "-d", "--name", f"w{index}")
        claim(fleet.place(f"w{index}") != "n2")
    fleet.fails("run", "-d", "--name", "no", "--node", "n2", code=125, says=["LOST"])
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
        return all(vm["status"]["state"] in ("RUNNING", "FAILED", "STOPPED")
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
