"""A disk or a tmpfs for memory that is full: said before anything is begun."""

import contextlib
import errno
import os
import subprocess
import threading

from counter import COUNTER, count
from harness import claim, clone, is_alive, until


@contextlib.contextmanager
def small_disk(path, mebibytes):
    """A disk of its own at `path`: ext4 in a file. Not tmpfs, where a read of a hole takes room too, and
    kills who maps it."""
    image = f"{path}.img"
    subprocess.run(["truncate", "-s", f"{mebibytes}M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    with mounted(path, "-o", "loop", image):
        yield path
    os.unlink(image)


@contextlib.contextmanager
def small_memory(path, mebibytes):
    """A tmpfs of its own at `path`."""
    with mounted(path, "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0700", "small"):
        yield path


@contextlib.contextmanager
def mounted(path, *options):
    os.makedirs(path, mode=0o700, exist_ok=True)
    subprocess.run(["mount", *options, path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def free(path):
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


class Filler:
    """Takes room on a file system, and gives it back."""

    def __init__(self, folder):
        self.folder, self.path = folder, f"{folder}/filler"

    def fill(self, leaves):
        with open(self.path, "ab") as file:
            more = free(self.folder) - leaves
            if more > 0:
                try:
                    os.posix_fallocate(file.fileno(), file.tell(), more)
                except OSError as error:
                    # Somebody was quicker: it is full.
                    if error.errno != errno.ENOSPC:
                        raise

    def release(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


def runs_on(place, before, what):
    claim(place.state_of("box") == "RUNNING", what, place.json("get", "box")["status"])
    at = count(place)
    claim(at >= before, what, "it is not the same machine:", before, at)
    until(lambda: count(place) > at, 10, "the counter to go on")
    claim(place.ok("doctor", "--leaks").strip() == "no leaks", what)
    claim(os.listdir(f"{place.state}/forks") == [], what, "a fork's folder is left")
    vm = place.json("get", "box")["id"]
    folder = f"{place.state}/vms/{vm}"
    known = sorted(one["id"] for one in place.json("log", "box"))
    claim(sorted(os.listdir(f"{folder}/checkpoints")) == known, what, "a checkpoint is left")
    claim(not os.path.exists(f"{folder}/saved"), what, "memory is left")
    strange = [name for name in os.listdir(folder) if "next" in name or "back" in name]
    claim(strange == [], what, "left:", strange)
    claim(place.json("ls", "-a") and len(place.vmms()) == 1, what, place.vmms())
    return at


def disk_full(place, filler):
    """Each is refused before it is begun: where, how much it takes, how much there is."""
    place.run_box("box")
    place.ok("exec", "-d", "box", "--", "sh", "-c", COUNTER)
    checkpoint = place.ok("checkpoint", "box").strip()
    at, pid = count(place), place.vmm("box")
    filler.fill(8 << 20)
    for words in (["fork", "box", "--name", "copy"], ["checkpoint", "box"], ["suspend", "box"],
                  ["back", f"box@{checkpoint}"]):
        place.fails(*words, code=7, words=["takes up to", f"'{place.state}/vms/",
                                            "MiB left", "free space under", "op-"])
        at = runs_on(place, at, words)
        claim(place.vmm("box") == pid, words, "it is another process")
    place.fails("get", "copy", code=3)
    filler.release()
    works(place, checkpoint)


def filled_meanwhile(place, filler):
    """Others fill the disk when it was admitted and has begun: it is taken back, and the VM goes on.

    The end of an operation is answered once it is written down, so not before there is room again.
    QEMU holds a guest still that writes to a full disk; it goes on where it stood."""
    checkpoint = place.json("log", "box")[0]["id"][:8]
    vm = f"{place.state}/vms/" + place.json("get", "box")["id"]
    at = count(place)
    for words, begun, undo in (
        (["fork", "box", "--name", "copy"], f"{place.state}/forks",
         lambda _: ["rm", "-f", "--purge", "copy"]),
        (["checkpoint", "box"], f"{vm}/checkpoints",
         lambda result: ["checkpoint", "rm", f"box@{result.out.strip()}"]),
        (["suspend", "box"], vm, lambda _: ["start", "box"]),
        (["back", f"box@{checkpoint}"], vm, None),
    ):
        for attempt in range(1, 6):
            result = filled_during(place, filler, words, begun, 5 * attempt)
            if result.code != 0 or undo is None:
                break
            # It was done before the disk was full, or it waited until there was room again.
            place.ok(*undo(result))
        if words[0] == "back" and result.code == 0:
            # It takes next to nothing, and may have had that already.
            at = 0
        else:
            claim(result.code == 7 and "free space" in result.err, words, result)
        # A guest that wrote to the full disk stands, and the VM may not have been seen standing yet.
        place.ok("pause", "box")
        place.ok("resume", "box")
        at = runs_on(place, at, words)
        place.fails("get", "copy", code=3)
    works(place, checkpoint)


def filled_during(place, filler, words, begun, seconds):
    """How a command ends that finds the disk full from when there is something new in `begun`."""
    before, results = entries(begun), []
    command = threading.Thread(target=lambda: results.append(place(*words)))
    command.start()
    until(lambda: entries(begun) - before or not command.is_alive(), 20, f"{words} to begin", 0.0005)
    filler.fill(256 << 10)
    # Enough for the databases, if the guest leaves it to them.
    command.join(seconds)
    filler.release()
    command.join()
    claim(results, words, "did not end")
    return results[0]


def entries(folder):
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def works(place, checkpoint):
    """With room again, each of them does."""
    place.ok("fork", "box", "--name", "copy")
    place.ok("rm", "-f", "--purge", "copy")
    new = place.ok("checkpoint", "box").strip()
    place.ok("checkpoint", "rm", f"box@{new}")
    place.ok("suspend", "box")
    place.ok("start", "box")
    place.ok("back", f"box@{checkpoint}")
    runs_on(place, 0, "afterwards")


def memory_full(place, filler):
    """A VM that does not fit into what is left of the tmpfs is refused, and leaves nothing."""
    place.run_box("box")
    pid = place.vmm("box")
    filler.fill(160 << 20)
    vms = place.ok("ls", "-a", "-q")
    result = place("run", "--name", "more", "-m", "192", "-d")
    claim(result.code != 0 and "192 MiB do not fit in" in result.err, result)
    claim("MiB are free" in result.err and "promised to other VMs" in result.err, result)
    place("rm", "-f", "--purge", "more")
    claim(place.ok("ls", "-a", "-q") == vms, "a refused VM is left")
    claim(place.vmm("box") == pid and is_alive(pid))
    place.ok("exec", "box", "--", "true")
    claim(place.ok("doctor", "--leaks").strip() == "no leaks")
    filler.release()
    place.run_box("more")
    place.ok("rm", "-f", "--purge", "more")


def checks(runner, bench):
    """Only root can mount a file system that is small enough to be filled."""
    if os.geteuid() != 0:
        print("note: a full disk is checked by root only", flush=True)
        return
    with small_disk(f"{bench.base}/small", 700) as path:
        place = bench.place("small/state", prepared=False)
        clone(bench.template, place.state)
        filler = Filler(path)
        try:
            runner.check("a full disk is said before anything is begun", disk_full, place, filler)
            runner.check("a full disk in the middle costs the copy and not the VM",
                         filled_meanwhile, place, filler)
        finally:
            filler.release()
        runner.check("a place on a small disk is empty afterwards", place.clear)
        place.end_all()
    place = bench.place("shm")
    with small_memory(place.memory, 700) as path:
        filler = Filler(path)
        try:
            runner.check("a full tmpfs is said before a VM is started", memory_full, place, filler)
        finally:
            filler.release()
        if place("ls").code == 0:
            place("rm", "-f", "--purge", "box")
    runner.check("a place with little memory is empty afterwards", place.clear)
