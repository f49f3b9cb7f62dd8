"""What this machine is, and who else used it meanwhile."""

import os
import platform
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def load():
    """The load averages of 1, 5 and 15 minutes."""
    return os.getloadavg()


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "absent"
    return (done.stdout or done.stderr).strip().split("\n")[0]


def facts():
    """(name, value) pairs for the page."""
    model = [line.split(":", 1)[1].strip() for line in read("/proc/cpuinfo").splitlines()
             if line.startswith("model name")]
    total = int(read("/proc/meminfo").split()[1]) / (1 << 20)
    return [
        ("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("processor", f"{model[0] if model else 'unknown'}, {os.cpu_count()} cores"),
        ("memory", f"{total:.1f} GiB"),
        ("kernel", f"{platform.release()} ({platform.machine()})"),
        ("QEMU", first_line("qemu-system-x86_64", "--version")),
        ("PostgreSQL", first_line("pgbench", "--version")),
        ("Python", platform.python_version()),
        ("load before (1, 5, 15 min)", " ".join(f"{one:.2f}" for one in load())),
    ]


def available_mib():
    for line in read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0


def busy_seconds():
    """CPU seconds that all processes of this host used since it started."""
    fields = [int(one) for one in read("/proc/stat").split("\n", 1)[0].split()[1:]]
    user, nice, system, _, _, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / TICKS


def times(pid):
    """(parent, own CPU seconds, those of reaped children) of a process, or None."""
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if not fields:
        return None
    own, reaped = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return int(fields[1]), own / TICKS, reaped / TICKS


def cpu_seconds(pid):
    """CPU seconds of one process so far, without its children's."""
    seen = times(pid)
    return seen[1] if seen else 0.0


def running_seconds(pid):
    """As ``cpu_seconds``, to the nanosecond: the process's own clock, with the threads that ended."""
    # clock_getcpuclockid(3): the pid's complement, and 2 for what the scheduler counts.
    return time.clock_gettime(~pid << 3 | 2)


def our_seconds():
    """CPU seconds of this process and everything that it started, the reaped included."""
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            seen = times(int(entry))
            if seen:
                table[int(entry)] = seen
    ours, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, seen in table.items() if seen[0] in ours} - ours
        ours |= more
        grown = bool(more)
    return sum(table[pid][1] + table[pid][2] for pid in ours if pid in table)


class Others:
    """How many cores other processes used since the last look."""

    def __init__(self):
        self.mark()

    def mark(self):
        self.when, self.busy, self.ours = time.monotonic(), busy_seconds(), our_seconds()

    def cores(self):
        """Since the mark; at least a second must lie between."""
        wall = time.monotonic() - self.when
        return max(0.0, (busy_seconds() - self.busy - our_seconds() + self.ours) / wall)


class Usage:
    """A process's resident memory, descriptors and threads now."""

    def __init__(self, pid):
        status = dict(line.split(":", 1) for line in read(f"/proc/{pid}/status").splitlines()
                      if ":" in line)
        self.resident_kib = int(status["VmRSS"].split()[0])
        self.anonymous_kib = int(status["RssAnon"].split()[0])
        self.threads = int(status["Threads"])
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))

    def __str__(self):
        return (f"{self.resident_kib / 1024:.1f} MiB ({self.anonymous_kib / 1024:.1f} anonymous), "
                f"{self.descriptors} descriptors, {self.threads} threads")


def is_alive(pid):
    """Whether there is such a process and it is no zombie."""
    state = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return bool(state) and state[0] not in ("Z", "X")
