"""The rows of copies: `run` from a template, and forks of a VM that runs."""

import os
import threading
import time

from lib import carried, host, product
from lib.stats import duration, median, percentile, verdict

TEMPLATE_SECONDS = 60
DOTS = "while :; do echo .; done"


def whole_templates(daemon):
    folder = f"{daemon.state}/templates"
    if not os.path.isdir(folder):
        return []
    return [name for name in os.listdir(folder)
            if os.path.exists(f"{folder}/{name}/machine.json")]


def prime(daemon):
    """Runs once, and waits for the template that the daemon makes of it behind our back."""
    daemon.roost("run", "-m", "128", "--", "true")
    end = time.monotonic() + TEMPLATE_SECONDS
    while not whole_templates(daemon):
        if time.monotonic() > end:
            raise product.Refused(f"no template in {TEMPLATE_SECONDS} s")
        time.sleep(0.2)
    time.sleep(3)


def runs(guests, warm, cold):
    """Row 13: the whole command from a template, in turns with bare cold boots."""
    daemon, table = guests.daemon, guests.table
    prime(daemon)
    ours, floor, booted = [], [], []
    for index in range(warm):
        ours.append(daemon.roost("run", "-m", "128", "--", "true")[0])
        if len(floor) < cold and index % max(1, warm // cold) == 0:
            machine, raw, took = guests.bare_boot()
            raw.close()
            machine.end()
            floor.append(took)
            booted.append(daemon.roost("run", "--no-template", "-m", "128", "--", "true")[0])
            guests.boots.ours += 1
    table.against("13", "`roost run -- true` from a template: copy, renew, run, remove; whole "
                  "command", ours, floor, "bare QEMU's cold boot to the end of `true`", 1 / 12)
    ratio = percentile(ours, 99) / median(ours)
    table.add("13b", "the same: p99 against p50", warm, duration(median(ours)),
              duration(percentile(ours, 99)), compared=f"{ratio:.2f} ×", target="≤ 1.25 ×",
              judged=verdict(ratio, 1.25))
    table.sampled("1c", "`roost run --no-template -- true`: boot, run, remove; whole command", booted)
    table.note("13", "Each copy has its identity renewed (entropy, machine-id, host name, addresses, "
               "keys, clock) inside the time. The daemon runs already; the first run, which makes the "
               "template, is not counted.")


class Pulse:
    """Looks for the longest silence of a guest that writes to its console all the time."""

    def __init__(self, path):
        self.path, self.ended = path, threading.Event()
        self.gaps = []
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        size, last = os.stat(self.path).st_size, time.perf_counter()
        while not self.ended.is_set():
            now_size, now = os.stat(self.path).st_size, time.perf_counter()
            if now_size != size:
                self.gaps.append((now - last, now))
                size, last = now_size, now
            time.sleep(0.0005)

    def longest(self):
        self.ended.set()
        self.thread.join()
        return max(gap for gap, _ in self.gaps)


def silence(path, action):
    """(the longest silence while `action` goes on, what it returned)."""
    pulse = Pulse(path)
    time.sleep(0.3)
    try:
        result = action()
        time.sleep(0.3)
    finally:
        longest = pulse.longest()
    return longest, result


def private_kib(pid):
    """What only this process has in memory."""
    fields = [line.split() for line in host.read(f"/proc/{pid}/smaps_rollup").splitlines()]
    return sum(int(line[1]) for line in fields if line and line[0].startswith("Private_"))


def bytes_read(pid):
    fields = dict(line.split(": ") for line in host.read(f"/proc/{pid}/io").splitlines())
    return int(fields.get("read_bytes", 0))


def live(guests, count, sizes, memories):
    """Rows 14 and 15: the source's pause, by its size in memory, and many copies at once."""
    for number, memory in zip("abc", memories):
        pauses(guests, count, memory, number)
    by_hand(guests, count)
    for number, copies in zip("ab", sizes):
        fan_out(guests, copies, number)
    guests.table.note(
        "14", "The source writes a dot to its console in a loop; a program of this benchmark looks at "
        "the log's size every half millisecond. The pause is the longest silence while the command "
        "goes on; beside it, the longest in as long a time without a fork. Each source is forked again "
        "and again, so that all forks but the first are of a VM on private pages.")
    guests.table.note(
        "15", "Private memory is Private_Clean + Private_Dirty of a copy's VMM 1 s after the answer; "
        "bytes read are those that its VMM had read from a disk by then.")


def source(guests, memory):
    vm = guests.daemon.create(guests.name(), start=True, memory=memory)
    guests.boots.ours += 1
    guests.daemon.roost("exec", "-d", vm["name"], "--", "sh", "-c",
                        f"{DOTS} > /dev/ttyS0")
    return vm, f"{guests.daemon.state}/vms/{vm['id']}/console.log"


def by_hand(guests, count):
    """Row 14d: the pause of bare QEMUs, each carried over once, beside that of a VM of ours, in turns."""
    ours, bare, stood = [], [], []
    for _ in range(count):
        vm, log = source(guests, 128)
        name = f"{vm['name']}-copy"
        ours.append(silence(log, lambda vm=vm, name=name: guests.daemon.roost(
            "fork", vm["name"], "--name", name))[0])
        for one in (name, vm["id"]):
            guests.daemon.delete(guests.daemon.get(one)["id"])
        machine, raw, _ = guests.bare_boot()
        try:
            raw.execute("sh", "-c", f"setsid sh -c '{DOTS}' < /dev/null > /dev/ttyS0 2>&1 &")
            raw.close()
            gap, took = silence(f"{machine.folder}/console.log",
                                lambda machine=machine: carried.carry(machine))
        finally:
            machine.end()
        bare.append(gap)
        stood.append(took)
    guests.table.against("14d", "the first fork's pause of a VM of 128 MiB, against bare QEMU carried "
                         "over by hand", ours, bare, "bare QEMU")
    guests.table.note(
        "14d", "B: a second QEMU of the same line that maps the first one's memory file copy-on-write "
        "and has an overlay over its disk is ready; then `stop`, `migrate` from socket to socket "
        "without the memory, `cont`, and the first one is killed. Nothing is synced, nothing kept, no "
        "agent asked. Both sides are fresh guests, forked once. From `stop` to the answer to `cont` "
        f"B took p50 {duration(median(stood))}; the rest of its pause is the guest's, until its next dot.")


def pauses(guests, count, memory, number):
    daemon, table = guests.daemon, guests.table
    vm, log = source(guests, memory)
    paused, still, whole, shares, steps = [], [], [], [], {}
    for index in range(count):
        name = f"{vm['name']}-copy-{index}"
        gap, took = silence(
            log, lambda name=name: daemon.roost("fork", vm["name"], "--name", name)[0])
        copy = daemon.get(name)
        shares.append(guests.collect_steps(copy, steps) / took)
        daemon.delete(copy["id"])
        paused.append(gap)
        whole.append(took)
        still.append(silence(log, lambda took=took: time.sleep(took))[0])
    daemon.delete(vm["id"])
    table.sampled(f"14{number}", f"pause of a running VM of {memory} MiB while it is forked", paused,
                  0.030, f"without a fork: p50 {duration(median(still))}, "
                  f"p99 {duration(percentile(still, 99))}")
    table.sampled(f"14{number}2", "`roost fork` of it, whole command", whole,
                  beside=f"by the copy's record {100 * median(shares):.0f} % of it: " + ", ".join(
                      f"{name} {duration(median(took))}" for name, took in steps.items()))


def moments(guests, count, memories):
    """Row 16: keeping a moment of a running VM, and going back to it, by its size in memory."""
    daemon, table = guests.daemon, guests.table
    kept, back = {}, {}
    for memory in memories:
        vm, _ = source(guests, memory)
        kept[memory], back[memory] = [], []
        for _ in range(count):
            took, output = daemon.roost("checkpoint", vm["name"])
            kept[memory].append(took)
            moment = f"{vm['name']}@{output.strip()}"
            back[memory].append(daemon.roost("back", "--force", moment)[0])
            daemon.roost("checkpoint", "rm", moment)
        daemon.delete(vm["id"])
    least, most = min(memories), max(memories)
    for number, what, times in (("16", "`roost checkpoint` of a running VM", kept),
                                ("16b", "`roost back` to it", back)):
        for memory in memories:
            if memory != most:
                table.sampled(number, f"{what} of {memory} MiB, whole command", times[memory])
        table.against(number, f"{what} of {most} MiB, whole command", times[most], times[least],
                      f"of {least} MiB", 1.2)
    table.note("16", "The guest of row 14, which has touched as much memory whatever it was given. All "
               "that is kept is digested and synced before the answer, and compared on the way back.")


def fan_out(guests, copies, number):
    daemon, table = guests.daemon, guests.table
    vm, _ = source(guests, 128)
    before = {one["id"] for one in listed(daemon)}
    took, _ = daemon.roost("fork", vm["name"], "-n", str(copies))
    made = [one["id"] for one in listed(daemon) if one["id"] not in before]
    time.sleep(1)
    pids = [daemon.vmm(one) for one in made]
    private = [private_kib(pid) / 1024 for pid in pids]
    read = sum(bytes_read(pid) for pid in pids) / (1 << 20)
    running = sum(one["status"]["state"] == "RUNNING" for one in listed(daemon)
                  if one["id"] in made)
    for one in [*made, vm["id"]]:
        daemon.delete(one)
    table.add(f"15{number}", f"`roost fork -n {copies}` of a running VM of 128 MiB, whole command", 1,
              duration(took), beside=f"{running} of {copies} RUNNING; {median(private):.0f} MiB private "
              f"a copy, {max(private):.0f} at most; {read:.1f} MiB read from disk by all",
              compared=f"{duration(took / copies)} a copy")


def listed(daemon):
    answer = daemon.call(f"{product.VMS}/ListVMs", {"project": "-", "pageSize": 1000})
    return answer.get("vms", [])
