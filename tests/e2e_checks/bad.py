"""A host and files that are not as they should be: clear errors, and nothing left behind."""

import errno
import json
import os
import shutil
import subprocess

from harness import PATIENCE, claim, kernel_package, read, until


class PrivateDaemon:
    """A daemon that sees another host than we do: in a mount namespace of its own."""

    def __init__(self, place, setup, **env):
        self.place = place
        view = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]
        os.makedirs(place.state, mode=0o700, exist_ok=True)
        with open(f"{place.bench.base}/private.log", "ab") as log:
            self.process = subprocess.Popen(
                [*view, "sh", "-c", f'{setup} && exec "{place.bin}/roostd"'],
                env=place.environment(**env), stdout=log, stderr=log, start_new_session=True,
            )
        until(lambda: place("daemon", "status").code == 0, 10, "the daemon to serve")

    def __enter__(self):
        return self.place

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)


def nothing_came(place, name):
    """After a refused run: no VM, no process, no directory."""
    claim(place.vmms() == {}, "a process is left")
    claim(os.listdir(f"{place.state}/vms") == [], "a directory is left")
    place.fails("get", name, code=3)


def no_boot(bench):
    """A kernel whose payload is garbage: it starts, complains on the console, and stands still."""
    place = bench.place("no-boot", ROOST_BOOT_SECONDS="6")
    folder = os.listdir(f"{place.state}/kernels")[0]
    kernel = bytearray(read(f"{place.state}/kernels/{folder}/vmlinuz"))
    middle = len(kernel) // 4
    kernel[middle:-middle] = bytes(len(kernel) - 2 * middle)
    path = f"{bench.base}/broken-kernel"
    with open(path, "wb") as file:
        file.write(kernel)
    modules = f"{bench.base}/modules"
    package = f"{bench.base}/unpacked"
    subprocess.run(["dpkg-deb", "-x", kernel_package(), package], check=True)
    found = next(os.scandir(f"{package}/lib/modules"))
    shutil.copytree(found.path, modules, symlinks=True)
    shutil.rmtree(package)
    place.ok("kernel", "import", path, "--modules", modules, "--name", "broken")
    shutil.rmtree(modules)
    result = place("run", "--kernel", "broken", "--", "true")
    claim(result.code == 125 and "did not answer within 6" in result.err, result)
    claim("console ends" in result.err, "no console tail in", result.err)
    claim("(op-" in result.err, "no op id in", result.err)
    nothing_came(place, "box")
    # `run` takes back what it made; a VM that was created stays, with the reason.
    body = {"name": "kept", "spec": {"cpu": {"cores": 1}, "memory": {"sizeMib": 192},
                                     "kernel": "broken"}}
    answer = place.rpc("roost.compute.v1.VMService/CreateVM", body)
    claim(answer[0] == 200, answer)
    place.fails("start", "kept", code=124, words=["did not answer within 6", "op-"])
    vm = place.json("get", "kept")
    claim(vm["status"]["state"] == "STOPPED", vm["status"])
    claim("did not answer" in vm["status"]["reason"], vm["status"])
    claim(place.vmms() == {} and place.memory_files() == [], "something runs on")
    place.clear()


def no_kernel(bench):
    """Files that are no kernel and no image."""
    place = bench.place("no-kernel")
    path = f"{bench.base}/no-kernel-file"
    with open(path, "wb") as file:
        file.write(os.urandom(100_000))
    before = (sorted(os.listdir(f"{place.state}/kernels")),
              sorted(os.listdir(f"{place.state}/images")))
    place.fails("kernel", "import", path, code=2, words=["no-kernel-file"])
    place.fails("image", "import", "x", "--rootfs", path, code=2, words=["no-kernel-file"])
    place.fails("image", "import", "x", "--rootfs", "/no/such/file", code=3, words=["/no/such/file"])
    after = (sorted(os.listdir(f"{place.state}/kernels")),
             sorted(os.listdir(f"{place.state}/images")))
    claim(before == after, before, after)
    place.fails("run", "--pull", "never", "--image", "absent", "--", "true", code=125,
                words=["absent"])
    place.fails("run", "--kernel", "absent", "--", "true", code=125, words=["absent"])
    nothing_came(place, "absent")
    place.clear()


def no_qemu(bench):
    place = bench.place("no-qemu")
    hidden = "for q in /usr/bin /usr/local/bin; do [ ! -e $q/qemu-system-x86_64 ] ||" \
             " mount --bind /dev/null $q/qemu-system-x86_64; done"
    with PrivateDaemon(place, hidden):
        result = place.fails("run", "--", "true", code=125, words=["qemu-system-x86_64", "apt"])
        claim("(op-" in result.err, result.err)
        nothing_came(place, "box")
        found = place("doctor", "-o", "json")
        claim(found.code == 1, found)
        failed = [one for one in json.loads(found.out) if one["verdict"] == "FAIL"]
        claim(any("qemu" in one["detail"] and one["fix"] for one in failed), failed)
    place.clear()


def no_memory(bench):
    place = bench.place("no-memory")
    with PrivateDaemon(place, "mount -t tmpfs -o size=200m tmpfs /dev/shm"):
        result = place.fails("run", "-m", "256", "--", "true", code=125, words=["256 MiB", "op-"])
        claim("-m" in result.err, "no remedy in", result.err)
        nothing_came(place, "box")
        claim("ok" in place.ok("run", "-m", "160", "--", "echo", "ok"))
    place.clear()


def no_disk(bench):
    """The state directory on a disk that fills up, at one step after the other."""
    place = bench.place("no-disk", prepared=False, ROOST_SOCKET=f"{bench.base}/full.sock")
    # Mounted in the daemon's view only: nobody must unmount it, whatever happens.
    setup = (f"mount -t tmpfs -o size=320m,mode=700 tmpfs '{place.state}' && cd '{bench.template}'"
             f" && cp -a kernels images names.json '{place.state}/'")
    with PrivateDaemon(place, setup) as full:
        pid = full.daemon_pid()
        inside = f"/proc/{pid}/root{place.state}"
        claim("fine" in full.ok("run", "--no-template", "--", "echo", "fine"))
        fill(inside, 20)
        full.fails("run", "--", "true", code=125, words=["MiB left", "op-"])
        fill(inside, 0)
        # Not even the journal can be written: refused before anything is done.
        full.fails("run", "--", "true", code=125, words=["op-"])
        full.fails("image", "import", "x", "--rootfs", "/bin/busybox", code=7, words=["op-"])
        claim(full.json("ls") == [], "a VM is left")
        claim(os.listdir(f"{inside}/vms") == [] and full.vmms() == {}, "something is left")
        claim(len(os.listdir(f"{inside}/images")) == 1, os.listdir(f"{inside}/images"))
        os.unlink(f"{inside}/ballast")
        claim("fine" in full.ok("run", "--no-template", "--", "echo", "fine"), "it does not recover")
        claim(full.daemon_pid() == pid, "the daemon was another one")
        claim(json.loads(full.ok("doctor", "--leaks", "-o", "json")) == [])


def fill(folder, left_mib):
    """Leaves `left_mib` MiB of a file system."""
    with open(f"{folder}/ballast", "ab") as file:
        room = os.statvfs(folder)
        free = room.f_bavail * room.f_frsize - (left_mib << 20)
        try:
            while free > 0:
                free -= file.write(bytes(min(free, 1 << 20)))
            file.flush()
        except OSError as error:
            claim(error.errno == errno.ENOSPC, error)


def checks(runner, bench):
    runner.check("a kernel that does not boot meets the deadline, with the console's end",
                 no_boot, bench)
    runner.check("files that are no kernel or image, and names of none, are refused by name",
                 no_kernel, bench)
    runner.check("without QEMU the error says what to install and nothing comes into being",
                 no_qemu, bench)
    runner.check("a full tmpfs refuses the VM that does not fit, and takes the one that does",
                 no_memory, bench)
    runner.check("a full disk gives clear errors at every step, and is survived", no_disk, bench)
