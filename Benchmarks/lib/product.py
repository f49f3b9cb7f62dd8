"""Roost as the benchmark uses it: a daemon of its own, Connect JSON, gRPC, the command."""

import http.client
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import time

VMS = "roost.compute.v1.VMService"
OPS = "roost.ops.v1.OperationService"
PROGRAMS = ("roost", "roostd", "roost-agent")


class Refused(Exception):
    """An answer that is no success."""


def fingerprint(text):
    """As roostd names its directory of guest memory (FNV-1a, 32 bits)."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return f"{value:08x}"


class Place:
    """Copies of the programs and a directory that goes at the end."""

    def __init__(self, programs):
        self.programs = os.path.abspath(programs)
        # On a real disk: /tmp may be memory, and then an fsync costs nothing.
        self.base = tempfile.mkdtemp(prefix="roost-bench-", dir="/var/tmp")
        self.bin = f"{self.base}/bin"
        os.mkdir(self.bin)
        for name in PROGRAMS:
            # Copies: a build beside this run must not change what is measured.
            shutil.copy2(f"{programs}/{name}", f"{self.bin}/{name}")
        self.daemons = []

    def daemon(self, name, *arguments, template=None):
        state = f"{self.base}/{name}"
        if template:
            shutil.copytree(template, state, symlinks=True)
        else:
            os.mkdir(state, 0o700)
        daemon = Daemon(self, state, arguments)
        self.daemons.append(daemon)
        return daemon

    def sweep(self):
        for daemon in self.daemons:
            daemon.sweep()
        for name in os.listdir("/dev/shm"):
            if name.startswith(f"roost-bench-{os.getpid()}-"):
                os.unlink(f"/dev/shm/{name}")
        shutil.rmtree(self.base, ignore_errors=True)


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    """A roostd that is our child."""

    def __init__(self, place, state, arguments):
        self.place, self.state = place, state
        self.socket = f"{state}/roost.sock"
        self.command = [f"{place.bin}/roostd", "--state-dir", state, *arguments]
        self.log = open(f"{state}/roostd.log", "ab")
        self.process = None
        self.connection = None
        self.start()

    @property
    def pid(self):
        return self.process.pid

    def environment(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ROOST_")}
        kept.update(ROOST_STATE_DIR=self.state, ROOST_ACCEL=os.environ.get("ROOST_ACCEL", "tcg"))
        return kept

    def start(self):
        self.process = subprocess.Popen(
            self.command, env=self.environment(), stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log)
        end = time.monotonic() + 30
        while True:
            try:
                self.connection = UnixHTTP(self.socket, 120)
                self.call(f"{VMS}/ListVMs", {})
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    with open(f"{self.state}/roostd.log", encoding="utf-8") as log:
                        raise Refused(f"roostd does not serve: {log.read()[-600:]}") from None
                time.sleep(0.02)

    def stop(self):
        """Ends it in order; guests live on."""
        self.connection.close()
        self.process.terminate()
        self.process.wait(30)

    def call(self, method, body, connection=None):
        """A Connect call on one connection that stays; its answer."""
        connection = connection or self.connection
        connection.request("POST", f"/{method}", json.dumps(body).encode(),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise Refused(f"{method} {body}: {answer.status} {text.decode(errors='replace')[:500]}")
        return json.loads(text)

    def create(self, name, start=False, memory=128, connection=None):
        spec = {"cpu": {"cores": 1}, "memory": {"sizeMib": memory}}
        return self.call(f"{VMS}/CreateVM", {"name": name, "spec": spec, "startOnCreate": start},
                         connection)

    def delete(self, vm, connection=None):
        return self.call(f"{VMS}/DeleteVM", {"id": vm, "force": True, "purge": True}, connection)

    def get(self, vm):
        return self.call(f"{VMS}/GetVM", {"id": vm})

    def watch(self, vm):
        """Yields the messages of WatchVMs of one VM, from now on."""
        connection = UnixHTTP(self.socket, 60)
        body = json.dumps({"id": vm}).encode()
        connection.request("POST", f"/{VMS}/WatchVMs", struct.pack(">BI", 0, len(body)) + body,
                           {"Content-Type": "application/connect+json"})
        answer = connection.getresponse()
        try:
            while True:
                flags, size = struct.unpack(">BI", answer.read(5))
                message = json.loads(answer.read(size) or b"{}")
                if flags & 2:
                    raise Refused(f"the watch ended: {message}")
                yield message
        finally:
            connection.close()

    def commits(self):
        connection = UnixHTTP(self.socket, 10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return {line.split()[0]: float(line.split()[1]) for line in text.splitlines()
                if line and line[0] != "#"}

    def roost(self, *arguments, timeout=120):
        """Runs the command; returns (seconds, its output)."""
        begun = time.perf_counter()
        done = subprocess.run([f"{self.place.bin}/roost", *arguments], env=self.environment(),
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout,
                              check=False)
        took = time.perf_counter() - begun
        if done.returncode != 0:
            raise Refused(f"roost {' '.join(arguments)}: {done.returncode} {done.stderr[-500:]!r}")
        return took, done.stdout.decode()

    def vmm(self, vm):
        """The pid of a VM's QEMU, by looking at the host."""
        folder = f"{self.state}/vms/{vm}"
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    if os.readlink(f"/proc/{entry}/cwd") == folder:
                        return int(entry)
                except OSError:
                    pass
        raise Refused(f"no process of VM {vm}")

    def sweep(self):
        """Ends the daemon and every VMM of it, whatever the rows left."""
        if self.process.poll() is None:
            try:
                for vm in self.call(f"{VMS}/ListVMs", {"project": "-", "pageSize": 1000})["vms"]:
                    if vm["status"]["state"] not in ("STOPPED", "DELETED"):
                        self.delete(vm["id"])
            except (Refused, OSError, KeyError, http.client.HTTPException):
                pass
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        try:
            os.rmdir(f"/dev/shm/roost-{os.getuid()}-{fingerprint(self.state)}")
        except OSError:
            pass


def field(number, kind, payload):
    return bytes([number << 3 | kind]) + payload


def delimited(number, payload):
    size, head = len(payload), b""
    while size >= 0x80:
        head += bytes([size & 0x7F | 0x80])
        size >>= 7
    return field(number, 2, head + bytes([size]) + payload)


class GRPC:
    """gRPC on one HTTP/2 connection by hand: the least that a client can cost.

    Calls go one after the other. Flow control is granted once, far beyond what they use.
    """

    def __init__(self, path):
        self.path = path
        self.connect()

    def connect(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(self.path)
        self.buffer, self.stream = b"", -1
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(4, 0, 0, b"")
                            + self.frame(8, 0, 0, struct.pack(">I", 1 << 30)))

    def close(self):
        self.socket.close()

    @staticmethod
    def frame(kind, flags, stream, payload):
        head = struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream)
        return head + payload

    @staticmethod
    def headers(method):
        def literal(name, value):
            return bytes([0, len(name)]) + name + bytes([len(value)]) + value
        pairs = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", method.encode()),
                 (b":authority", b"localhost"), (b"te", b"trailers"),
                 (b"content-type", b"application/grpc")]
        return b"".join(literal(name, value) for name, value in pairs)

    def call(self, method, message):
        """Sends one message; returns the messages that come back until the stream ends."""
        if self.is_over():
            self.close()
            self.connect()
        self.stream += 2
        data = struct.pack(">BI", 0, len(message)) + message
        self.socket.sendall(self.frame(1, 4, self.stream, self.headers(method))
                            + self.frame(0, 1, self.stream, data))
        body = b""
        while True:
            while len(self.buffer) < 9:
                self.more()
            size = int.from_bytes(self.buffer[:3], "big")
            kind, flags, stream = struct.unpack_from(">BBI", self.buffer, 3)
            while len(self.buffer) < 9 + size:
                self.more()
            payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
            if kind == 4 and not flags & 1:
                self.socket.sendall(self.frame(4, 1, 0, b""))
            elif kind == 6 and not flags & 1:
                self.socket.sendall(self.frame(6, 1, 0, payload))
            elif kind in (3, 7):
                raise Refused(f"{method}: the server broke off: frame {kind} {payload!r}")
            elif stream == self.stream:
                body += payload if kind == 0 else b""
                if flags & 1 and kind in (0, 1):
                    return list(self.messages(body))

    def more(self):
        data = self.socket.recv(65_536)
        if not data:
            raise Refused("the server closed the connection")
        self.buffer += data

    def is_over(self):
        """Whether the server has ended the connection since the last call: it was idle for too long."""
        while select.select([self.socket], [], [], 0)[0]:
            data = self.socket.recv(65_536)
            if not data:
                return True
            self.buffer += data
        at = 0
        while at + 9 <= len(self.buffer):
            if self.buffer[at + 3] == 7:
                return True
            at += 9 + int.from_bytes(self.buffer[at:at + 3], "big")
        return False

    @staticmethod
    def messages(body):
        while body:
            size = struct.unpack_from(">I", body, 1)[0]
            yield body[5:5 + size]
            body = body[5 + size:]

    def execute(self, vm, *arguments):
        """Runs a command in a VM over GuestService.Exec; its exit code."""
        start = delimited(1, vm.encode())
        start += b"".join(delimited(4, one.encode()) for one in arguments)
        answers = self.call("/roost.compute.v1.GuestService/Exec", delimited(1, start))
        # ExecResponse.exit is field 4, and in it `code` is field 1, a varint.
        if not answers or answers[-1][:1] != b"\x22":
            raise Refused(f"exec in {vm} gave no exit: {answers!r}")
        return answers[-1][3] if len(answers[-1]) > 3 and answers[-1][2] == 8 else None

    def empty(self):
        """A call that does nothing: what the transport and this client cost."""
        self.call("/grpc.health.v1.Health/Check", b"")
