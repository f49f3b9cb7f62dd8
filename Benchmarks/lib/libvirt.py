"""libvirtd with a configuration of its own, driven through libvirt's C library.

It sees its own directories in place of /etc, /var/lib/libvirt and the like: in a mount
namespace that a sleeping process holds. Nothing of the host's libvirt is touched.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid

from lib import host, wire
from lib.product import Refused

PLACES = {"/etc": "etc", "/var/lib/libvirt": "lib", "/var/cache/libvirt": "cache",
          "/var/log/libvirt": "log", "/run": "run"}
# What is needed in a container or as a process among others: no cgroups, no namespaces, no labels,
# no virtlogd. Without user=root it looks at QEMU anew, for a minute, at each start.
QEMU_CONF = """user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = []
namespaces = []
security_driver = "none"
stdio_handler = "file"
memory_backing_dir = "{memory}"
"""
DAEMON_CONF = """unix_sock_dir = "{base}/sock"
auth_unix_rw = "none"
auth_unix_ro = "none"
"""
DOMAIN = """<domain type='qemu'>
  <name>{name}</name><uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>
  <memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>
  <os><type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>{cmdline}</cmdline></os>
  <features><acpi/></features><cpu mode='maximum'/><clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <emulator>{emulator}</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/>
      <source file='{modules}'/><target dev='vdb' bus='virtio'/><readonly/></disk>
    <controller type='usb' model='none'/>
    <channel type='unix'><source mode='bind' path='{agent}'/>
      <target type='virtio' name='roost.agent.0'/></channel>
    <serial type='file'><source path='{console}'/></serial>
    <interface type='user'><model type='virtio'/></interface>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='none'/>
  </devices>
</domain>
"""
RUNNING = 16


def absent():
    """Why there is no libvirt to compare with; None when there is."""
    if os.geteuid() != 0:
        return "libvirtd with directories of its own takes root"
    for name in ("libvirtd", "nsenter"):
        if not shutil.which(name):
            return f"{name} is not installed (apt-get install libvirt-daemon libvirt-clients)"
    return None


def with_line(path, line):
    """The text of a file, with a line more unless it has one of that name."""
    text = host.read(path)
    return text if f"\n{line.split(':')[0]}:" in text else text + line


def library():
    lib = ctypes.CDLL("libvirt.so.0")
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint
    for name, result, arguments in (
            ("virConnectOpen", pointer, [text]), ("virConnectClose", ctypes.c_int, [pointer]),
            ("virConnectListAllDomains", ctypes.c_int, [pointer, pointer, number]),
            ("virDomainCreateXML", pointer, [pointer, text, number]),
            ("virDomainLookupByName", pointer, [pointer, text]),
            ("virDomainDestroy", ctypes.c_int, [pointer]),
            ("virDomainFree", ctypes.c_int, [pointer]),
            ("virDomainSuspend", ctypes.c_int, [pointer]),
            ("virDomainResume", ctypes.c_int, [pointer]),
            ("virDomainSave", ctypes.c_int, [pointer, text]),
            ("virDomainRestore", ctypes.c_int, [pointer, text]),
            ("virGetLastErrorMessage", text, [])):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Libvirt:
    """One libvirtd, our child, and the domains that it runs."""

    def __init__(self, place, recipe):
        self.recipe, self.base = recipe, tempfile.mkdtemp(prefix="libvirt-", dir=place.base)
        self.lib, self.connection, self.process, self.holder = library(), None, None, None
        # Its default is to print every error.
        self.silence = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: None)
        self.lib.virSetErrorFunc(None, self.silence)
        # Below /dev/shm by a name that the place's sweep knows.
        self.memory = f"/dev/shm/roost-bench-{os.getpid()}-{os.path.basename(self.base)}"
        for folder in [self.memory, f"{self.base}/sock", f"{self.base}/vms"]:
            os.mkdir(folder)
        self.made = [there for there in PLACES if not os.path.isdir(there)]
        for there in self.made:
            os.mkdir(there)
        # All of /etc and not single files: who renames a new file over a mounted one, as useradd
        # does, takes the mount away.
        shutil.copytree("/etc", f"{self.base}/etc", symlinks=True,
                        ignore=shutil.ignore_patterns("*shadow*", "ssh", "ssl", "libvirt"))
        for here in ("etc/libvirt", "lib", "cache", "log", "run"):
            os.mkdir(f"{self.base}/{here}")
        self.write("etc/libvirt/qemu.conf", QEMU_CONF.format(memory=self.memory))
        # Debian's libvirtd does not begin without its user, whatever the configuration says.
        user = "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin\n"
        self.write("etc/passwd", with_line("/etc/passwd", user))
        self.write("etc/group", with_line("/etc/group", "libvirt-qemu:x:64055:\n"))
        self.write("libvirtd.conf", DAEMON_CONF.format(base=self.base))

    def begin(self):
        """Starts the namespace and the daemon, and connects."""
        mounts = " && ".join(f"mount --bind {self.base}/{here} {there}"
                             for there, here in PLACES.items())
        self.holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", f"{mounts} && echo ready && exec sleep infinity"],
            stdout=subprocess.PIPE)
        if self.holder.stdout.readline() != b"ready\n":
            raise Refused("no mount namespace for libvirtd")
        self.start()
        # A daemon whose drivers did not come up lets clients wait for ever.
        first = threading.Thread(target=self.connect, daemon=True)
        first.start()
        first.join(60)
        if not self.connection:
            raise self.failed("no connection")

    def write(self, name, text):
        with open(f"{self.base}/{name}", "w", encoding="utf-8") as file:
            file.write(text)

    def start(self):
        with open(f"{self.base}/libvirtd.log", "ab") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "libvirtd",
                 "-f", f"{self.base}/libvirtd.conf", "-p", f"{self.base}/libvirtd.pid"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def connect(self, seconds=30):
        """A connection to a daemon that may just have begun."""
        uri = f"qemu+unix:///system?socket={self.base}/sock/libvirt-sock".encode()
        end = time.monotonic() + seconds
        while True:
            self.connection = self.lib.virConnectOpen(uri)
            if self.connection:
                return
            if self.process.poll() is not None or time.monotonic() > end:
                raise self.failed("virConnectOpen")
            time.sleep(0.002)

    def kill(self):
        """SIGKILL to libvirtd, and its old connection closed; domains live on."""
        self.process.kill()
        self.process.wait()
        self.lib.virConnectClose(self.connection)
        self.connection = None

    def running(self):
        return self.lib.virConnectListAllDomains(self.connection, None, RUNNING)

    def failed(self, what):
        message = self.lib.virGetLastErrorMessage() or b"?"
        return Refused(f"libvirt: {what}: {message.decode(errors='replace')}; its log ends: "
                       f"{host.read(self.base + '/libvirtd.log')[-300:]}")

    def must(self, what, value):
        """`value` unless it says that the call failed."""
        if value in (None, -1):
            raise self.failed(what)
        return value

    def sweep(self):
        """Ends every domain, the daemon and the namespace."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for entry in os.listdir("/proc"):
            if entry.isdigit() and f"{self.base}/vms/" in host.read(f"/proc/{entry}/cmdline"):
                os.kill(int(entry), signal.SIGKILL)
        if self.holder:
            self.holder.kill()
            self.holder.wait()
            self.holder.stdout.close()
        shutil.rmtree(self.memory, ignore_errors=True)
        for there in self.made:
            os.rmdir(there)


class Domain:
    """One guest under libvirt: our image, kernel and agent, described as libvirt wants it."""

    def __init__(self, libvirt, name, memory=128):
        self.libvirt, self.name = libvirt, name
        self.folder = f"{libvirt.base}/vms/{name}"
        os.mkdir(self.folder)
        recipe, disk = libvirt.recipe, f"{self.folder}/root.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", recipe.base, "-F",
                        recipe.base_format, disk, str(recipe.size)], check=True)
        self.xml = DOMAIN.format(
            name=name, uuid=uuid.uuid4(), memory=memory, emulator=recipe.arguments[0],
            kernel=recipe.value("-kernel"), initrd=recipe.value("-initrd"),
            cmdline=recipe.value("-append"), disk=disk, modules=recipe.modules(),
            agent=f"{self.folder}/agent.sock", console=f"{self.folder}/console.log")
        self.handle = None

    def create(self):
        lib = self.libvirt.lib
        self.handle = self.libvirt.must("virDomainCreateXML", lib.virDomainCreateXML(
            self.libvirt.connection, self.xml.encode(), 0))

    def first_exec(self, seconds=60):
        """Greets the agent and runs `true`; the guest has answered then."""
        raw = wire.RawHost(f"{self.folder}/agent.sock", seconds)
        try:
            raw.await_hello()
            if raw.execute("true") != 0:
                raise wire.Broken("true failed")
        finally:
            raw.close()

    def destroy(self):
        self.libvirt.must("virDomainDestroy", self.libvirt.lib.virDomainDestroy(self.handle))

    def save(self):
        self.libvirt.must("virDomainSave", self.libvirt.lib.virDomainSave(
            self.handle, f"{self.folder}/saved".encode()))

    def restore(self):
        self.libvirt.must("virDomainRestore", self.libvirt.lib.virDomainRestore(
            self.libvirt.connection, f"{self.folder}/saved".encode()))
        self.find()

    def find(self):
        """Its handle on the present connection."""
        self.handle = self.libvirt.must("virDomainLookupByName", self.libvirt.lib.
                                        virDomainLookupByName(self.libvirt.connection,
                                                              self.name.encode()))

    def suspend_and_resume(self):
        """Stops its processors and lets them go on: an order that its QEMU answers."""
        self.libvirt.must("virDomainSuspend", self.libvirt.lib.virDomainSuspend(self.handle))
        self.libvirt.must("virDomainResume", self.libvirt.lib.virDomainResume(self.handle))

    def remove(self):
        """Its files, once it runs no more."""
        if self.handle:
            self.libvirt.lib.virDomainFree(self.handle)
        shutil.rmtree(self.folder)
