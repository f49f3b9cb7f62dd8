"""What the checks of tests/e2e and tests/crash stand on: a runner, and Roost in a place of its own.

Only Python's standard library. Every process that is started here is ended here, by its pid.
"""

import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import http.client

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROGRAMS = ("roost", "roostd", "roost-agent")
# Nothing that is waited for is a claim about time: what never comes fails a little later, and a host
# that is slow or busy fails nothing.
PATIENCE = 60
# The same for a whole command, which may boot a guest. A boot that is given up ends before it, so that
# the failure says so.
COMMAND_SECONDS, BOOT_SECONDS = 180, 150


class Failed(Exception):
    """A claim that does not hold."""


def claim(holds, *what):
    """Fails the running check unless `holds`."""
    if not holds:
        raise Failed(" ".join(str(part) for part in what) or "the claim does not hold")


def until(condition, seconds, what, pause=0.1):
    """Waits for a true answer and returns it; fails when the time is up, `PATIENCE` at the least."""
    seconds = max(seconds, PATIENCE)
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(pause)


class Runner:
    """Runs checks one after the other; a check's name is what it claims."""

    def __init__(self, only=None):
        self.only = only
        self.passed = 0
        self.failed = []

    def check(self, name, body, *arguments):
        if self.only and self.only not in name:
            return None
        begun = time.monotonic()
        try:
            result = body(*arguments)
        except Exception as error:  # pylint: disable=broad-except
            self.failed.append(name)
            took = time.monotonic() - begun
            print(f"FAIL {name}  ({took:.1f} s)", flush=True)
            text = str(error) if isinstance(error, Failed) else traceback.format_exc()
            for line in text.strip().splitlines()[-25:]:
                print(f"     {line[:600]}", flush=True)
            return None
        self.passed += 1
        print(f"ok   {name}  ({time.monotonic() - begun:.1f} s)", flush=True)
        return result

    def end(self):
        """The exit status; prints the last line."""
        print(f"{self.passed} passed, {len(self.failed)} failed", flush=True)
        return 1 if self.failed else 0


class Result:
    """How a program ended."""

    def __init__(self, code, out, err):
        self.code, self.raw, self.err = code, out, err.decode(errors="replace")

    @property
    def out(self):
        return self.raw.decode(errors="replace")

    def __str__(self):
        return f"status {self.code}, stdout {self.out[-600:]!r}, stderr {self.err[-900:]!r}"


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def processes():
    """(pid, arguments) of every process of this host."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            arguments = read(f"/proc/{entry}/cmdline").split(b"\0")
            if arguments != [b""]:
                yield int(entry), [part.decode(errors="replace") for part in arguments]


def is_alive(pid):
    state = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return bool(state) and state[0] not in (b"Z", b"X")


def resident_mib(pid):
    for line in read(f"/proc/{pid}/status").decode().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Bench:
    """The temporary directory of one run: copies of the programs, one prepared state directory."""

    def __init__(self, programs):
        self.base = tempfile.mkdtemp(prefix="roost-e2e-")
        os.chmod(self.base, 0o755)
        self.bin = f"{self.base}/bin"
        os.mkdir(self.bin)
        for name in PROGRAMS:
            # Copies: a build that goes on beside this run must not change what is tested.
            shutil.copy2(f"{programs}/{name}", f"{self.bin}/{name}")
        self.places = []
        self.template = None
        self.user = None

    def prepare(self):
        """A state directory with kernel and image, which others are copied from."""
        place = self.place("template", prepared=False)
        place.ok("kernel", "import", kernel_package(), "--default")
        place.ok("image", "import", "tiny", "--rootfs", "/bin/busybox", "--default")
        place.ok("daemon", "stop")
        self.template = place.state

    def place(self, name, prepared=True, user=None, **environment):
        place = Place(self, name, prepared, user, environment)
        self.places.append(place)
        return place

    def make_user(self):
        """An ordinary user for this run: a passwd entry, or None when we are not root."""
        if os.geteuid() != 0:
            return None
        name = f"roost-e2e-{os.getpid()}"
        subprocess.run(
            ["useradd", "--no-create-home", "--home-dir", f"{self.base}/home", name], check=True
        )
        self.user = pwd.getpwnam(name)
        os.mkdir(f"{self.base}/home", 0o700)
        os.chown(f"{self.base}/home", self.user.pw_uid, self.user.pw_gid)
        return self.user

    def remains(self):
        """What is left on this host of any place of this run, as sentences."""
        found = []
        for place in self.places:
            found += place.remains()
        for pid, arguments in processes():
            if any(argument.startswith(self.base) for argument in arguments):
                found.append(f"process {pid}: {' '.join(arguments)[:200]}")
        return found

    def sweep(self):
        """Ends and removes everything, whatever the checks left."""
        for place in self.places:
            place.end_all()
        for pid, arguments in list(processes()):
            if arguments[0].startswith(self.bin):
                kill(pid)
        if self.user:
            subprocess.run(["userdel", self.user.pw_name], check=False, capture_output=True)
        shutil.rmtree(self.base, ignore_errors=True)


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class Place:
    """Roost with a state directory of its own."""

    def __init__(self, bench, name, prepared, user, environment):
        self.bench, self.user = bench, user
        self.bin = bench.bin
        self.state = f"{bench.base}/{name}"
        self.variables = environment
        if prepared:
            clone(bench.template, self.state)
        if user and os.path.isdir(self.state):
            for folder, names, files in os.walk(self.state):
                for entry in [folder] + [f"{folder}/{one}" for one in names + files]:
                    os.lchown(entry, user.pw_uid, user.pw_gid)
        elif user:
            os.mkdir(self.state, 0o700)
            os.chown(self.state, user.pw_uid, user.pw_gid)

    @property
    def socket(self):
        return self.variables.get("ROOST_SOCKET", f"{self.state}/roost.sock")

    def environment(self, **more):
        kept = {name: os.environ[name] for name in ("LANG", "TERM") if name in os.environ}
        kept["PATH"] = f"{self.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        kept["HOME"] = self.user.pw_dir if self.user else os.environ.get("HOME", "/root")
        kept["ROOST_STATE_DIR"] = self.state
        # The same on every host; whoever wants to see KVM says so.
        kept["ROOST_ACCEL"] = os.environ.get("ROOST_ACCEL", "tcg")
        kept["ROOST_BOOT_SECONDS"] = str(BOOT_SECONDS)
        kept.update(self.variables)
        kept.update(more)
        return {name: value for name, value in kept.items() if value is not None}

    def popen(self, program, *arguments, env=None, **options):
        if self.user:
            options.update(user=self.user.pw_uid, group=self.user.pw_gid, extra_groups=[])
            options.setdefault("cwd", self.bench.base)
        return subprocess.Popen(
            [f"{self.bin}/{program}", *arguments], env=self.environment(**(env or {})), **options
        )

    def __call__(self, *arguments, input=b"", timeout=COMMAND_SECONDS, env=None):
        """Runs roost to its end."""
        if isinstance(input, str):
            input = input.encode()
        process = self.popen(
            "roost", *arguments, env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        try:
            out, err = process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            result = Result(process.returncode, out, err)
            raise Failed(f"roost {' '.join(arguments)}: not within {timeout} s: {result}") from None
        return Result(process.returncode, out, err)

    def ok(self, *arguments, **options):
        """As a call; must end with 0. Returns what it wrote."""
        result = self(*arguments, **options)
        claim(result.code == 0, "roost", " ".join(arguments), "->", result)
        return result.out

    def fails(self, *arguments, code, words=(), **options):
        """As a call; must end with `code` and say every one of `words`."""
        result = self(*arguments, **options)
        claim(result.code == code, "roost", " ".join(arguments), f"wanted {code} ->", result)
        for word in words:
            claim(word in result.err, f"no {word!r} in", result)
        return result

    def json(self, *arguments, **options):
        return json.loads(self.ok(*arguments, "-o", "json", **options))

    def run_box(self, name="box", *options, memory="192"):
        self.ok("run", "--name", name, "-m", memory, "-d", *options)
        return self.json("get", name)

    def sh(self, vm, script, **options):
        """What a shell script in the guest writes; must end with 0."""
        return self.ok("exec", vm, "--", "sh", "-c", script, **options)

    def uptime(self, vm):
        return float(self.ok("exec", vm, "--", "cat", "/proc/uptime").split()[0])

    def state_of(self, vm):
        return self.json("get", vm)["status"]["state"]

    def rpc(self, method, body, op=None, timeout=COMMAND_SECONDS):
        """A Connect call over the socket: (HTTP status, answer)."""
        connection = UnixHTTP(self.socket, timeout)
        headers = {"Content-Type": "application/json"}
        if op:
            headers["roost-op-id"] = op
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request("POST", f"/{method}", data, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(text) if text else None

    def slowness(self):
        """What this host adds to a promise about time: twenty times the slowest of some answers to the
        smallest question, in seconds."""
        slowest = 0
        for _ in range(5):
            begun = time.monotonic()
            self.rpc("roost.ops.v1.DaemonService/GetInfo", {})
            slowest = max(slowest, time.monotonic() - begun)
            time.sleep(0.02)
        return 20 * slowest

    def kill_vmm(self, vm, promise):
        """Kills a VM's QEMU; the VM must be FAILED within `promise` seconds, and what the host adds. The
        quickest of three counts: a disk that is slow for a moment breaks no promise."""
        for _ in range(3):
            took, limit = self.failed_after_kill(vm, promise)
            if took <= limit:
                return
            self.ok("start", vm)
        raise Failed(f"noticed after {took:.2f} s, not within {limit:.2f} s")

    def failed_after_kill(self, vm, promise):
        pid, limit = self.vmm(vm), promise + self.slowness()
        kill(pid)
        begun = time.monotonic()

        def failed():
            status, found = self.rpc("roost.compute.v1.VMService/GetVM", {"id": vm})
            return status == 200 and found["status"]["state"] == "FAILED"

        until(failed, PATIENCE, f"{vm} to be FAILED", 0.02)
        return time.monotonic() - begun, limit

    def daemon_pid(self):
        return self.json("daemon", "status")["pid"]

    def find_daemon(self):
        """The daemon's pid by looking at the host; None when there is none."""
        for pid, arguments in processes():
            if arguments[0].endswith("roostd"):
                variables = read(f"/proc/{pid}/environ").split(b"\0")
                if f"ROOST_STATE_DIR={self.state}".encode() in variables and is_alive(pid):
                    return pid
        return None

    def vmms(self):
        """QEMU's pids by VM, by looking at the host."""
        return {vm: pid for vm, pid, builds in self.look_for_vmms() if not builds}

    def builders(self):
        """Likewise of the VMs that templates are being made with: nobody's, and gone when done."""
        return {vm: pid for vm, pid, builds in self.look_for_vmms() if builds}

    def all_vmms(self):
        """Both of these."""
        return {vm: pid for vm, pid, _ in self.look_for_vmms()}

    def look_for_vmms(self):
        """(VM, QEMU's pid, whether a template is made with it), in one look at the host: whoever looks
        twice may meet a process that began or ended in between."""
        for pid, arguments in processes():
            if "-uuid" in arguments and "qemu" in arguments[0]:
                try:
                    folder = os.readlink(f"/proc/{pid}/cwd")
                except OSError:
                    continue
                if folder.startswith(f"{self.state}/") and is_alive(pid):
                    vm = arguments[arguments.index("-uuid") + 1].replace("-", "")
                    yield vm, pid, any("guest=template," in each for each in arguments)

    def vmm(self, vm):
        """QEMU's pid of a VM by name."""
        pid = self.vmms().get(self.json("get", vm)["id"])
        claim(pid, f"no QEMU process of {vm}")
        return pid

    @property
    def memory(self):
        """The directory of this place's guest memory."""
        uid = self.user.pw_uid if self.user else os.geteuid()
        return f"/dev/shm/roost-{uid}-{fingerprint(self.state)}"

    def memory_files(self):
        """Files of guest memory; without those of VMs that templates are being made with."""
        folder, others = self.memory, [f"roost-{vm}." for vm in self.builders()]
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return [f"{folder}/{name}" for name in names if not name.startswith(tuple(others))]

    def kill_daemon(self):
        pid = self.find_daemon()
        claim(pid, "there is no daemon to kill")
        kill(pid)
        until(lambda: not is_alive(pid), 5, "the daemon's end", 0.01)
        return pid

    def clear(self):
        """What a tidy user does at the end: removes his VMs and ends the daemon."""
        for vm in json.loads(self.ok("ls", "-a", "--all-projects", "-o", "json")):
            if vm["status"]["state"] != "DELETED":
                self.ok("rm", "-f", "--purge", vm["id"])
        self.ok("purge", "--all")
        # An image's template may just be made of a VM that nobody asked for.
        until(lambda: not self.all_vmms(), PATIENCE, "the end of what is made behind our back")
        claim(json.loads(self.ok("doctor", "--leaks", "-o", "json")) == [], "doctor finds leaks")
        self.ok("daemon", "stop")
        left = self.remains()
        claim(not left, "left over:", "; ".join(left))
        shutil.rmtree(self.state)

    def remains(self):
        found = [f"QEMU {pid} of VM {vm}" for vm, pid in self.all_vmms().items()]
        found += [f"memory file {path}" for path in self.memory_files()]
        daemon = self.find_daemon()
        if daemon:
            found.append(f"daemon {daemon}")
        elif os.path.isdir(self.memory):
            found.append(f"directory {self.memory}")
        for folder, _, files in os.walk(self.state):
            found += [f"socket {folder}/{name}" for name in files if name.endswith(".sock")]
        for kept in ("vms", "trash"):
            if os.path.isdir(f"{self.state}/{kept}"):
                found += [f"directory {kept}/{name}" for name in os.listdir(f"{self.state}/{kept}")]
        return found

    def end_all(self):
        """Ends what runs here, without asking the daemon."""
        daemon = self.find_daemon()
        if daemon:
            kill(daemon)
        for pid in self.all_vmms().values():
            kill(pid)
        shutil.rmtree(self.memory, ignore_errors=True)


def free_port():
    """A port of this host that nobody has at this moment; below those that the kernel gives to outgoing
    connections, and below those that Roost gives to VMs, so that whoever restarts gets it again."""
    while True:
        port = random.randrange(10_000, 18_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def new_id():
    """An op id, as a client makes one: ten letters of time, sixteen of chance."""
    letters = "0123456789abcdefghjkmnpqrstvwxyz"
    stamp = int(time.time() * 1000)
    head = ""
    for _ in range(10):
        head = letters[stamp % 32] + head
        stamp //= 32
    return "op-" + head + "".join(letters[byte % 32] for byte in os.urandom(16))


def fingerprint(text):
    """As roostd names its directory of guest memory (FNV-1a, 32 bits)."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return f"{value:08x}"


def clone(source, target):
    """A prepared state directory once more, without its identity and its databases."""
    os.mkdir(target, 0o700)
    for name in ("images", "kernels", "names.json"):
        subprocess.run(
            ["cp", "-a", "--sparse=always", "--reflink=auto", f"{source}/{name}", target],
            check=True,
        )


def kernel_package():
    """The kernel package that scripts/kernel has fetched, or fetches now."""
    known = os.environ.get("ROOST_TEST_KERNEL")
    if known:
        return known
    done = subprocess.run(
        [f"{ROOT}/scripts/kernel"], check=True, stdout=subprocess.PIPE, timeout=300
    )
    return done.stdout.decode().strip()


def programs_argument(arguments):
    if not arguments or not os.access(f"{arguments[0]}/roost", os.X_OK):
        print(f"usage: {sys.argv[0]} DIRECTORY-OF-THE-PROGRAMS", file=sys.stderr)
        sys.exit(2)
    return os.path.abspath(arguments[0])
