"""QEMU with the command line of a VM of ours, and nobody between it and us."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import tempfile
import time

from lib import host, wire

BOOT_SECONDS = 60


class Recipe:
    """The command line of a VMM of ours, as /proc shows it, and what its disk is made from."""

    def __init__(self, pid):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            self.arguments = file.read().split(b"\0")[:-1]
        self.arguments = [one.decode() for one in self.arguments]
        self.folder = os.readlink(f"/proc/{pid}/cwd")
        self.disk = f"{self.folder}/root.qcow2"
        facts = subprocess.run(
            ["qemu-img", "info", "-U", "--output=json", self.disk],
            capture_output=True, check=True, text=True).stdout
        facts = json.loads(facts)
        self.base = facts["full-backing-filename"]
        self.base_format = facts.get("backing-filename-format", "raw")
        self.size = facts["virtual-size"]
        self.memory = next(one for one in self.arguments if one.startswith("memory-backend-file"))
        self.memory = self.memory.split("mem-path=")[1].split(",")[0]
        self.memory_bytes = os.stat(self.memory).st_size

    def value(self, option):
        """The word after `option`."""
        return self.arguments[self.arguments.index(option) + 1]

    def modules(self):
        """The path of the disk with the kernel's modules."""
        device = next(one for one in self.arguments if "node-name=modules-file," in one)
        return device.split("filename=")[1].split(",")[0]


class BareMachine:
    """One bare QEMU: its overlay and memory file are made before, outside of every clock."""

    def __init__(self, recipe, base):
        self.folder = tempfile.mkdtemp(prefix="bare-", dir=base)
        # On the same tmpfs; not in the daemon's directory, which is its own.
        name = f"roost-bench-{os.getpid()}-{os.path.basename(self.folder)}.mem"
        self.memory = f"{os.path.dirname(os.path.dirname(recipe.memory))}/{name}"
        overlay = f"{self.folder}/root.qcow2"
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-b", recipe.base,
             "-F", recipe.base_format, overlay, str(recipe.size)], check=True)
        with open(self.memory, "wb") as file:
            os.truncate(file.fileno(), recipe.memory_bytes)
        self.arguments = [one.replace(recipe.disk, overlay).replace(recipe.memory, self.memory)
                          for one in recipe.arguments]
        self.disk_bytes = recipe.size
        self.pid = self.first_seconds = None

    def start(self):
        self.pid = self.spawn(self.arguments)

    def spawn(self, arguments, prefix=""):
        """As roostd does: listening sockets at descriptors 3 and 4, its folder as cwd. Returns the pid."""
        log = os.open(f"{self.folder}/vmm.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        listeners = []
        for name in ("qmp.sock", "agent.sock"):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"{self.folder}/{prefix}{name}")
            listener.listen(1)
            listeners.append(listener)
        # Out of the way of 3 and 4, which the child's own are moved to.
        moved = [above(fd) for fd in [one.fileno() for one in listeners] + [log]]
        former = os.getcwd()
        os.chdir(self.folder)
        try:
            return os.posix_spawn(
                arguments[0], arguments, {"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, moved[2], 1), (os.POSIX_SPAWN_DUP2, moved[2], 2),
                    (os.POSIX_SPAWN_DUP2, moved[0], 3), (os.POSIX_SPAWN_DUP2, moved[1], 4),
                ],
                setsid=True)
        finally:
            os.chdir(former)
            for listener in listeners:
                listener.close()
            for fd in [log] + moved:
                os.close(fd)

    def succeeded_by(self, pid):
        """It goes on in the process `pid`; the former one is ended."""
        former, self.pid = self.pid, pid
        self.kill(former)

    @staticmethod
    def kill(pid):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def first_exec(self):
        """Connects, greets, runs `true`; returns the connection."""
        raw = wire.RawHost(f"{self.folder}/agent.sock", BOOT_SECONDS)
        raw.await_hello()
        begun = time.perf_counter()
        code = raw.execute("true")
        self.first_seconds = time.perf_counter() - begun
        if code != 0:
            raise wire.Broken(f"true ended with {code}")
        return raw

    def end(self):
        """Kills and reaps it, and removes its files. Returns the seconds until it was reaped."""
        begun = time.monotonic()
        if self.pid:
            self.kill(self.pid)
            self.pid = None
        took = time.monotonic() - begun
        for path in [self.memory] + [f"{self.folder}/{name}" for name in os.listdir(self.folder)]:
            os.unlink(path)
        os.rmdir(self.folder)
        return took

    def console(self):
        return host.read(f"{self.folder}/console.log")[-400:]


def above(descriptor):
    """A duplicate at 10 or more, not inherited."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
