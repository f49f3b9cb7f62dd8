"""The rows about many: 40 guests, 1,000 simulated VMs, cycles, rates."""

import json
import os
import re
import selectors
import socket
import subprocess
import threading
import time

from lib import host, product
from lib.stats import duration, least_squares, median, verdict

GUESTS = 40


def in_parallel(workers, items, work):
    """Does `work(connection index, item)` for all items on so many threads; raises what failed."""
    queue, failures, lock = list(items), [], threading.Lock()

    def run(index):
        while True:
            with lock:
                if not queue or failures:
                    return
                item = queue.pop(0)
            try:
                work(index, item)
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def guests(place, daemon, table, boots, idle_seconds, count=GUESTS):
    """Row 6 and the parallel delete of row 4: a fresh daemon, `count` guests, nothing to do."""
    need = count * 320
    if host.available_mib() < need:
        table.refused("6", f"daemon cost at {count} VMs",
                      f"{host.available_mib()} MiB of memory available, {need} needed")
        return
    grpc = product.GRPC(daemon.socket)
    warm = daemon.create("warm", start=True)["id"]
    grpc.execute(warm, "true")
    daemon.delete(warm)
    time.sleep(1)
    empty = host.Usage(daemon.pid)
    points, vms = [(0, empty.anonymous_kib)], []
    connections = [product.UnixHTTP(daemon.socket, 300) for _ in range(4)]

    def boot(index, number):
        vms.append(daemon.create(f"idle-{number}", start=True, connection=connections[index])["id"])

    for part in range(0, count, 10):
        in_parallel(4, range(part, min(part + 10, count)), boot)
        points.append((len(vms), host.Usage(daemon.pid).anonymous_kib))
    boots.ours += count + 1
    time.sleep(3)
    full = host.Usage(daemon.pid)
    # By then the threads that the starts took have ended, which would else hide their time.
    time.sleep(10)
    before, others, begun = host.running_seconds(daemon.pid), host.Others(), time.monotonic()
    time.sleep(idle_seconds)
    percent = 100 * (host.running_seconds(daemon.pid) - before) / (time.monotonic() - begun)
    noise = others.cores()
    slope = least_squares(points)
    plain = (full.resident_kib - empty.resident_kib) / count
    table.add("6", f"daemon with 0 and with {count} running VMs", count,
              beside=f"0: {empty}; {count}: {full}",
              compared=f"{plain:.0f} KiB resident a VM ({slope:.0f} KiB anonymous, least squares)",
              target="≤ 64 KiB a VM", judged=verdict(plain, 64))
    wanted = 0.5 * count / 200
    table.add("6b", f"daemon's CPU with {count} idle VMs, over {idle_seconds} s",
              compared=f"{percent:.3f} % of a core", beside=f"others used {noise:.2f} cores",
              target=f"≤ {wanted:g} % (0.5 % at 200)", judged=verdict(percent, wanted))
    delete_all(daemon, table, vms)


def delete_all(daemon, table, vms):
    connections = [product.UnixHTTP(daemon.socket, 60) for _ in vms]
    for connection in connections:
        connection.connect()
    pids = [daemon.vmm(vm) for vm in vms]
    begun = time.perf_counter()
    in_parallel(len(vms), vms, lambda index, vm: daemon.delete(vm, connections[index]))
    took = time.perf_counter() - begun
    left = sum(os.path.exists(f"/proc/{pid}") for pid in pids)
    table.add("4c", f"force delete of {len(vms)} running VMs at once", 1, p50=duration(took),
              compared=f"{left} processes left at the last answer",
              target="≤ 1.00 s, none left", judged=verdict(took + 1000 * left, 1.0))


def cycles(daemon, table, count):
    """Row 6d: create and delete over and over, simulated driver, real store."""
    connections = [product.UnixHTTP(daemon.socket, 60) for _ in range(4)]

    def cycle(index, number):
        vm = daemon.create(f"cycle-{number}", start=True, connection=connections[index])
        daemon.delete(vm["id"], connections[index])

    in_parallel(4, range(count // 4), cycle)
    before = host.Usage(daemon.pid)
    in_parallel(4, range(count // 4, count // 4 + count), cycle)
    after = host.Usage(daemon.pid)
    grown = 100 * (after.resident_kib / before.resident_kib - 1)
    same = (after.descriptors, after.threads) <= (before.descriptors, before.threads)
    table.add("6d", "daemon after so many create, start, delete cycles, simulated driver", count,
              beside=f"before: {before}; after: {after}", compared=f"resident {grown:+.1f} %",
              target="+ ≤ 2 % after 2,000; descriptors, threads as before",
              judged="hit" if grown <= 2 and same else "missed")
    table.note("6d", f"4 callers at once, after {count // 4} cycles that are not counted.")


def commands(daemon, table, n, vms=1000):
    """Row 7: what a person waits for at the prompt."""
    connections = [product.UnixHTTP(daemon.socket, 60) for _ in range(8)]
    in_parallel(8, range(vms),
                lambda index, number: daemon.create(
                    f"list-{number}", connection=connections[index]))
    helps, lists, floor, server = [], [], [], []
    for _ in range(n):
        helps.append(daemon.roost("--help")[0])
        begun = time.perf_counter()
        subprocess.run(["/bin/true"], check=True, stdin=subprocess.DEVNULL, capture_output=True)
        floor.append(time.perf_counter() - begun)
        took, text = daemon.roost("ls")
        lists.append(took)
        if len(text.splitlines()) != vms + 1:
            raise product.Refused(f"roost ls showed {len(text.splitlines())} lines")
        begun = time.perf_counter()
        daemon.call(f"{product.VMS}/ListVMs", {"pageSize": 1000})
        server.append(time.perf_counter() - begun)
    beside = f"/bin/true {duration(median(floor))}"
    table.sampled("7", "`roost --help`, whole command", helps, 0.030, beside)
    table.sampled("7b", f"`roost ls` of {vms:,} VMs, whole command", lists, 0.150,
                  f"ListVMs as JSON alone {duration(median(server))}")


def store(programs, table, rounds, seconds):
    """Row 8: StoreBench/compare.sh."""
    what = "the rows of one create through the Store, 64 callers"
    bench = f"{os.path.abspath(programs)}/roost-storebench"
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    script = f"{here}/StoreBench/compare.sh"
    if not os.path.exists(bench):
        table.refused("8", what, "no roost-storebench: swift build --product roost-storebench")
        return
    if os.geteuid() != 0 or host.first_line("pgbench", "--version") == "absent":
        table.refused("8", what, "takes root and Debian's postgresql")
        return
    done = subprocess.run(["sh", script, bench, str(rounds), str(seconds)], capture_output=True,
                          text=True, check=False, timeout=120 + rounds * seconds * 6)
    if done.returncode != 0:
        table.refused("8", what, f"compare.sh ended with {done.returncode}: {done.stderr[-300:]}")
        return
    theirs = [float(one) for one in re.findall(r"tps = ([0-9.]+)", done.stdout)]
    ours, server = (
        [float(one) for one in
         re.findall(rf"^{kind} .*commits/s=([0-9.]+)", done.stdout, re.MULTILINE)]
        for kind in ("sqlite", "postgres")
    )
    if not len(ours) == len(theirs) == len(server) or not ours:
        table.refused("8", what, f"compare.sh said: {done.stdout[-400:]}")
        return
    ratios = sorted(a / b for a, b in zip(ours, theirs))
    value = median(ours) / median(theirs)
    table.add("8", what, f"{rounds} × {seconds} s", p50=f"{median(ours):,.0f}/s",
              beside=f"PostgreSQL, one transaction, 64 clients: {median(theirs):,.0f}/s",
              compared=f"{value:.2f} [rounds {ratios[0]:.2f} … {ratios[-1]:.2f}]",
              target="≥ 1 ×",
              judged=verdict(value, 1.0, ratios[0], ratios[-1], at_least=True))
    table.add("8b", "the same through our PostgreSQL store: index entries, revisions, change log too",
              f"{rounds} × {seconds} s", p50=f"{median(server):,.0f}/s",
              beside=f"pgbench as in row 8: {median(theirs):,.0f}/s",
              compared=f"{median(server) / median(theirs):.2f}", judged="recorded")
    table.note("8", *[line for line in done.stdout.splitlines() if line[:2] in ("A:", "B:", "C:")])


class Caller:
    """One connection that sends creates one after the other, driven by a selector."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.buffer = b""

    def send(self, name):
        body = json.dumps({"name": name, "spec": {"cpu": {"cores": 1},
                                                  "memory": {"sizeMib": 128}}}).encode()
        self.buffer, self.begun = b"", time.perf_counter()
        self.socket.sendall(
            f"POST /{product.VMS}/CreateVM HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def take(self):
        """Reads what came; the seconds when the answer is whole."""
        self.buffer += self.socket.recv(65_536)
        head, mark, body = self.buffer.partition(b"\r\n\r\n")
        if not mark:
            return None
        size = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        if len(body) < size:
            return None
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise product.Refused(f"CreateVM: {self.buffer[:400]!r}")
        return time.perf_counter() - self.begun


def rates(daemon, table, seconds):
    """Row 9: creates per second end to end, simulated driver, SQLite."""
    for letter, callers in (("", 1), ("b", 8), ("c", 64)):
        poll, serial, times = selectors.DefaultSelector(), 0, []
        everyone = [Caller(daemon.socket) for _ in range(callers)]
        before, mine, others = daemon.commits(), time.process_time(), host.Others()
        cpu, begun = host.cpu_seconds(daemon.pid), time.perf_counter()
        for caller in everyone:
            poll.register(caller.socket, selectors.EVENT_READ, caller)
            caller.send(f"rate-{callers}-{serial}")
            serial += 1
        open_calls = callers
        while open_calls:
            for key, _ in poll.select(30):
                took = key.data.take()
                if took is None:
                    continue
                times.append(took)
                if time.perf_counter() - begun < seconds:
                    key.data.send(f"rate-{callers}-{serial}")
                    serial += 1
                else:
                    open_calls -= 1
        wall = time.perf_counter() - begun
        used = (host.cpu_seconds(daemon.pid) - cpu) / wall
        client = (time.process_time() - mine) / wall
        commits = daemon.commits()["roost_store_commits_total"]
        commits -= before["roost_store_commits_total"]
        for caller in everyone:
            caller.socket.close()
        busy = used + client + others.cores()
        bound = "the processors" if busy > 0.85 * os.cpu_count() else "waiting for fsync"
        table.sampled(
            f"9{letter}", f"creates end to end, simulated driver, SQLite, {callers} callers",
            times, None, f"daemon {used:.2f} cores, this client {client:.2f}; "
            f"{commits / len(times):.1f} control commits each; bound by {bound}",
            f"{len(times) / wall:,.0f}/s")
