"""The rows that need real guests: boots, exec, deletes, deaths."""

import datetime
import os
import select
import signal
import threading
import time

from lib import bare, host, product, wire
from lib.stats import difference, duration, median, percentile

SETTLE_SECONDS = 10


def fsync_seconds(folder):
    """One 4 KiB overwrite and fdatasync: what a durable answer cannot go below."""
    path = f"{folder}/fsync"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.pwrite(fd, bytes(4096), 0)
        os.fsync(fd)
        begun = time.perf_counter()
        os.pwrite(fd, os.urandom(4096), 0)
        os.fdatasync(fd)
        return time.perf_counter() - begun
    finally:
        os.close(fd)
        os.unlink(path)


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Boots:
    """Counts boots and those that did not answer."""

    def __init__(self):
        self.ours = self.bare = self.hung_ours = self.hung_bare = 0

    def report(self, table):
        table.add("1b", "boots of all rows that hung", self.ours + self.bare,
                  compared=f"{self.hung_ours} of {self.ours} ours, "
                  f"{self.hung_bare} of {self.bare} bare", target="0 in 300",
                  judged="missed" if self.hung_ours else
                  "hit" if self.ours >= 300 else f"none in {self.ours}: too few to judge")


class Guests:
    """One daemon with real guests, and what the rows leave for one another."""

    def __init__(self, place, daemon, table, boots):
        self.place, self.daemon, self.table, self.boots = place, daemon, table, boots
        self.grpc = product.GRPC(daemon.socket)
        self.recipe = None
        self.serial = 0

    def name(self):
        self.serial += 1
        return f"bench-{self.serial}"

    def boot(self):
        """CreateVM that starts, then Exec of `true`: (VM, seconds of each)."""
        begun = time.perf_counter()
        self.boots.ours += 1
        try:
            vm = self.daemon.create(self.name(), start=True)
            created = time.perf_counter()
            code = self.grpc.execute(vm["id"], "true")
        except (product.Refused, TimeoutError):
            self.boots.hung_ours += 1
            raise
        if code != 0:
            raise product.Refused(f"true ended with {code} in {vm['id']}")
        return vm, created - begun, time.perf_counter() - begun

    def find_recipe(self):
        """Takes the command line of a VM of ours for the bare ones."""
        for _ in range(2):
            vm, _, _ = self.boot()
            self.recipe = bare.Recipe(self.daemon.vmm(vm["id"]))
            self.delete(vm["id"])
        arguments = " ".join(self.recipe.arguments)
        self.table.fact("guests", "with KVM" if "accel=kvm" in arguments else
                        "emulated (TCG): no figure here is of KVM")

    def bare_boot(self):
        """(machine, its channel, seconds from spawn to the end of `true`)."""
        machine = bare.BareMachine(self.recipe, self.place.base)
        self.boots.bare += 1
        begun = time.perf_counter()
        try:
            machine.start()
            raw = machine.first_exec()
        except wire.Broken:
            self.boots.hung_bare += 1
            print(machine.console(), flush=True)
            machine.end()
            raise
        except BaseException:
            machine.end()
            raise
        return machine, raw, time.perf_counter() - begun

    def delete(self, vm):
        """Force delete with purge: (seconds to the answer, whether all was gone by then)."""
        pid = self.daemon.vmm(vm)
        folder = f"{self.daemon.state}/vms/{vm}"
        begun = time.perf_counter()
        self.daemon.delete(vm)
        took = time.perf_counter() - begun
        return took, not os.path.exists(f"/proc/{pid}") and not os.path.exists(folder)

    def cold(self, n):
        """Rows 1, 2 and 4: boots in turns with bare ones; each VM's delete is timed too."""
        machine, raw, _ = self.bare_boot()
        raw.close()
        machine.end()
        # Threads of blocking calls end by themselves, seconds after their last call.
        time.sleep(SETTLE_SECONDS)
        before = host.Usage(self.daemon.pid)
        ours, created, floor, deletes, kills, fsyncs = [], [], [], [], [], []
        steps, gone, raw_firsts = {}, 0, []
        for _ in range(n):
            vm, create, whole = self.boot()
            ours.append(whole)
            created.append(create)
            self.collect_steps(vm, steps)
            took, is_gone = self.delete(vm["id"])
            deletes.append(took)
            gone += is_gone
            machine, raw, whole = self.bare_boot()
            floor.append(whole)
            raw_firsts.append(machine.first_seconds)
            raw.close()
            kills.append(machine.end())
            fsyncs.append(fsync_seconds(self.place.base))
        time.sleep(SETTLE_SECONDS)
        after = host.Usage(self.daemon.pid)
        self.report_cold(ours, created, floor, steps)
        self.table.against("3c", "the first exec of a VM, over the API",
                           [a - b for a, b in zip(ours, created)], raw_firsts,
                           "the first on a raw channel", 2.0)
        self.report_deletes(deletes, kills, fsyncs, gone)
        self.table.add(
            "6c", "daemon after that many real create, start, exec, delete cycles, against before",
            n, beside=f"before: {before}; after: {after}",
            compared=f"{after.resident_kib - before.resident_kib:+d} KiB, "
            f"{after.descriptors - before.descriptors:+d} descriptors, "
            f"{after.threads - before.threads:+d} threads",
            target="descriptors and threads as before",
            judged="hit" if (after.descriptors, after.threads)
            <= (before.descriptors, before.threads) else "missed")

    def collect_steps(self, vm, steps):
        """Adds what each step of the VM's first operation took; returns the seconds of all of it."""
        record = self.daemon.call(f"{product.OPS}/GetOperation", {"id": vm["createOp"]})
        times = [(step["name"], moment(step["startTime"])) for step in record["steps"]]
        ends = [when for _, when in times[1:]] + [moment(record["endTime"])]
        for (name, begun), end in zip(times, ends):
            steps.setdefault(name, []).append(end - begun)
        return moment(record["endTime"]) - moment(record["createTime"])

    def report_cold(self, ours, created, floor, steps):
        self.table.against("1", "cold create → first exec, over the API", ours, floor,
                           "bare QEMU, same line", 1.08)
        self.table.against("2", "our part of a cold create above the bare VMM", ours, floor,
                           "bare QEMU, same line", 0.015, add=True)
        inside = [a + b for a, b in zip(steps["start-vmm"], steps["await-guest"])]
        self.table.sampled("2d", "the same by the record: the call without start-vmm and "
                           "await-guest", [a - b for a, b in zip(created, inside)], 0.015)
        split = ", ".join(f"{name} {duration(median(took))}" for name, took in steps.items())
        rest = difference(ours, created)[0]
        self.table.note(
            "1", "A: `CreateVM{startOnCreate}` over Connect JSON, then `Exec true` over gRPC, both "
            "on connections that stay. B: QEMU spawned with the arguments that /proc showed of our "
            "VMM, with its own overlay and memory file (made before the clock), listening sockets "
            "handed over as descriptors 3 and 4, to the end of `true` by the same agent. Command "
            "line of both but for the two paths:",
            "`" + " ".join(self.recipe.arguments) + "`")
        self.table.note(
            "2", f"A's steps, p50, by the operation's record: {split}; then the exec "
            f"{duration(rest)}. `start-vmm` and `await-guest` hold the bare boot, which varies by "
            "more than our part; 2d leaves both out, so it is a lower bound with less noise.")

    def report_deletes(self, deletes, kills, fsyncs, gone):
        floor = [a + b for a, b in zip(kills, fsyncs)]
        wanted = 0.010 + median(fsyncs)
        self.table.sampled("4", "force delete of a running VM, call → answer", deletes, wanted,
                           f"SIGKILL + reap of the bare one {duration(median(kills))}, "
                           f"4 KiB fdatasync {duration(median(fsyncs))}",
                           f"{median(deletes) / median(floor):.2f} × both")
        self.table.add("4b", "process and directory gone at the answer", len(deletes),
                       compared=f"{gone} of {len(deletes)}", target="all",
                       judged="hit" if gone == len(deletes) else "missed")

    def creates_without_start(self, first, last):
        """Row 2b: CreateVM alone, for the first VMs and for those that find `last` there."""
        times, fsyncs, made = [], [], []
        commits = -self.daemon.commits()["roost_store_commits_total"]
        for _ in range(last + first):
            begun = time.perf_counter()
            made.append(self.daemon.create(self.name())["id"])
            times.append(time.perf_counter() - begun)
            fsyncs.append(fsync_seconds(self.place.base))
        commits += self.daemon.commits()["roost_store_commits_total"]
        self.table.against("2b", "CreateVM without a start", times[:first], fsyncs[:first],
                           "4 KiB fdatasync", 0.015, add=True)
        self.table.against(f"2c", f"the same with {last} VMs there", times[last:], times[:first],
                           "the first ones", 1.2)
        self.table.note("2b", f"{commits / len(made):.1f} commits of the control store a create "
                        "(the node's store is apart). Durable by the answer.")
        for vm in made:
            self.daemon.delete(vm)

    def execs(self, n, commands):
        """Row 3: exec over the API and over the raw channel, in turns, each in its own guest."""
        vm = self.boot()[0]["id"]
        machine, raw, _ = self.bare_boot()
        for _ in range(10):
            self.grpc.execute(vm, "true")
            raw.execute("true")
        api, floor, empty = [], [], []
        for _ in range(n):
            for samples, action in ((api, lambda: self.grpc.execute(vm, "true")),
                                    (floor, lambda: raw.execute("true")),
                                    (empty, self.grpc.empty)):
                begun = time.perf_counter()
                action()
                samples.append(time.perf_counter() - begun)
        name = self.daemon.get(vm)["name"]
        whole = [self.daemon.roost("exec", name, "--", "true")[0] for _ in range(commands)]
        raw.close()
        machine.end()
        self.daemon.delete(vm)
        self.table.against("3", "exec true in a running VM, over the API", api, floor,
                           "raw channel, same agent", 2.0)
        self.table.add("3b", "the same at p99", n, p99=duration(percentile(api, 99)),
                       beside=f"raw channel: p99 {duration(percentile(floor, 99))}",
                       compared=f"{percentile(api, 99) / percentile(floor, 99):.2f}")
        self.table.sampled("3d", "an empty gRPC call by the same client", empty)
        self.table.sampled("3e", "`roost exec box -- true`, whole command", whole)
        self.table.note(
            "3", "A: gRPC over HTTP/2 on the Unix socket, one connection, by a minimal client in "
            "Python; 3d is what such a call costs without a guest. B: the guest channel's protocol "
            "by hand on the agent's socket of a bare QEMU; both guests run all the time.")

    def deaths(self, n):
        """Row 5: SIGKILL of the VMM until a watcher sees FAILED."""
        vm = self.daemon.create(self.name(), start=True)["id"]
        seen, reaped = [], []
        for _ in range(n):
            pid = self.daemon.vmm(vm)
            ready, result = threading.Event(), []

            def watch():
                for message in self.daemon.watch(vm):
                    state = message.get("vm", {}).get("status", {}).get("state")
                    if message["type"] == "BOOKMARK":
                        ready.set()
                    elif ready.is_set() and state == "FAILED":
                        result.append(time.perf_counter())
                        return

            watcher = threading.Thread(target=watch)
            watcher.start()
            if not ready.wait(30):
                raise product.Refused("the watch sent no bookmark")
            descriptor = os.pidfd_open(pid)
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            begun = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            poll.poll(10_000)
            reaped.append(time.perf_counter() - begun)
            os.close(descriptor)
            watcher.join(30)
            if not result:
                raise product.Refused("the watcher never saw FAILED")
            seen.append(result[0] - begun)
            self.boots.ours += 1
            self.daemon.call(f"{product.VMS}/StartVM", {"id": vm})
        self.daemon.delete(vm)
        self.table.sampled("5", "SIGKILL of a VMM → a watcher of the API sees FAILED", seen, 0.020,
                           f"its pidfd says so after p50 {duration(median(reaped))}, "
                           f"p99 {duration(percentile(reaped, 99))}",
                           f"+{duration(median(seen) - median(reaped))}", at=99)
        self.table.note("5", "The watcher is WatchVMs over Connect JSON. The pidfd's time, by "
                        "this program, is how long the kernel takes to end the process.")
