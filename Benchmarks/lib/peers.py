"""The rows against libvirt: create, destroy, save and restore, and libvirtd's own restart."""

import subprocess
import time

from lib import crowds, host, libvirt, product

ROWS = (("1d", "cold create → first exec against libvirt's create"),
        ("4d", "force delete against libvirt's destroy"),
        ("10", "suspend against libvirt's save"), ("10b", "start from it → first exec"),
        ("11", "kill -9 of the daemon → all VMs listed"))
C_LIBRARY = ("B: virDomain… of libvirt's C library on one connection, so without virsh's own start "
             "and its parsing.")


class Peers:
    """Our daemon and libvirtd side by side, with guests of the same image, kernel and agent."""

    def __init__(self, place, guests, table):
        self.place, self.guests, self.table = place, guests, table
        self.libvirt, self.serial = None, 0

    def domain(self, memory=128):
        self.serial += 1
        return libvirt.Domain(self.libvirt, f"bench-lv-{self.serial}", memory)

    def measure(self, action):
        """Does `action` beside a libvirtd of its own; a row that says why when there is none."""
        why = libvirt.absent()
        if why:
            for number, what in ROWS:
                self.table.refused(number, what, why)
            return
        self.libvirt = libvirt.Libvirt(self.place, self.guests.recipe)
        try:
            self.libvirt.begin()
            # It looks at QEMU once, for the first domain that is made under a new directory.
            first = self.domain()
            first.create()
            first.first_exec()
            first.destroy()
            first.remove()
            action()
        finally:
            self.libvirt.sweep()
            self.libvirt = None

    def creates(self, n):
        """Rows 1d and 4d, in turns."""
        guests, ours, theirs, deletes, destroys = self.guests, [], [], [], []
        for _ in range(n):
            vm, _, whole = guests.boot()
            ours.append(whole)
            domain = self.domain()
            theirs.append(timed(lambda: (domain.create(), domain.first_exec())))
            deletes.append(guests.delete(vm["id"])[0])
            destroys.append(timed(domain.destroy))
            domain.remove()
        self.table.against("1d", ROWS[0][1], ours, theirs, "libvirt", 0.62)
        self.table.against("4d", ROWS[1][1], deletes, destroys, "libvirt")
        version = host.first_line("libvirtd", "--version")
        self.table.note("1d", f"{version}, configured as Benchmarks/lib/libvirt.py says, guests of "
                        "the same kernel, image, memory and agent. A as in row 1. " + C_LIBRARY
                        + " Both clocks stop when `true` has ended in the guest.")

    def saves(self, n, memory):
        """Rows 10 and 10b: memory to disk and back, in turns, each its own guest."""
        guests = self.guests
        vm = guests.daemon.create(guests.name(), start=True, memory=memory)["id"]
        guests.grpc.execute(vm, "true")
        domain = self.domain(memory)
        domain.create()
        domain.first_exec()
        suspends, starts, saves, restores = [], [], [], []
        for _ in range(n):
            suspends.append(timed(lambda: self.order("SuspendVM", vm)))
            saves.append(timed(domain.save))
            starts.append(timed(lambda: (self.order("StartVM", vm),
                                         guests.grpc.execute(vm, "true"))))
            restores.append(timed(lambda: (domain.restore(), domain.first_exec())))
        domain.destroy()
        domain.remove()
        guests.delete(vm)
        what = f" of a guest with {memory} MiB"
        self.table.against("10", ROWS[2][1] + what, suspends, saves, "libvirt", 0.3)
        self.table.against("10b", ROWS[3][1] + what, starts, restores, "libvirt")
        self.table.note("10", "A: SuspendVM and StartVM, then `true` over the API. Suspending syncs "
                        "and digests what it writes, starting reads it to compare the digests (a "
                        "daemon reads a file once as long as it does not change). " + C_LIBRARY
                        + " virDomainSave does not promise that anything is synced.")

    def order(self, verb, vm):
        self.guests.daemon.call(f"{product.VMS}/{verb}", {"id": vm})

    def restarts(self, rounds, count):
        """Rows 11 and 11b: SIGKILL of the daemon that runs `count` guests, in turns."""
        need = 2 * count * 200
        if host.available_mib() < need:
            self.table.refused("11", ROWS[4][1], f"{need} MiB of memory needed")
            return
        daemon, domains = self.guests.daemon, []
        # The daemon has closed a connection that was idle for so long.
        daemon.connection.close()
        vms = [daemon.create(self.guests.name(), start=True)["id"] for _ in range(count)]
        self.guests.boots.ours += count
        for _ in range(count):
            domain = self.domain()
            domain.create()
            domain.first_exec()
            domains.append(domain)
        listed, managed, their_listed, their_managed = [], [], [], []
        for _ in range(rounds):
            took = self.ours_again(vms)
            listed.append(took[0])
            managed.append(took[1])
            took = self.theirs_again(domains)
            their_listed.append(took[0])
            their_managed.append(took[1])
        for domain in domains:
            domain.find()
            domain.destroy()
            domain.remove()
        crowds.in_parallel(1, vms, lambda _, vm: daemon.delete(vm))
        what = f"kill -9 of the daemon that runs {count} guests → "
        self.table.against("11", what + "all listed as running", listed, their_listed, "libvirtd",
                           0.5)
        self.table.against("11b", what + "and one stopped and resumed too", managed, their_managed,
                           "libvirtd", 0.5)
        self.table.note("11", "Both daemons run that many guests all the time; one after the other "
                        "is killed and started again. The clock begins with the signal and holds "
                        "the new process's start; both are asked every 2 ms. A: ListVMs, then "
                        "PauseVM and ResumeVM (each written down durably). B: "
                        "virConnectListAllDomains, then virDomainSuspend and virDomainResume.")

    def ours_again(self, vms):
        daemon = self.guests.daemon
        pid = daemon.vmm(vms[-1])
        daemon.connection.close()
        begun = time.perf_counter()
        daemon.process.kill()
        daemon.process.wait()
        daemon.process = subprocess.Popen(
            daemon.command, env=daemon.environment(), stdin=subprocess.DEVNULL,
            stdout=daemon.log, stderr=daemon.log)
        end = time.monotonic() + 60
        while running(daemon) < len(vms):
            if daemon.process.poll() is not None or time.monotonic() > end:
                raise product.Refused("not all VMs are listed again")
            time.sleep(0.002)
        seen = time.perf_counter() - begun
        self.order("PauseVM", vms[-1])
        self.order("ResumeVM", vms[-1])
        took = time.perf_counter() - begun
        if daemon.vmm(vms[-1]) != pid:
            raise product.Refused("the guest has another process")
        # The former connection of this client went with the former daemon.
        self.guests.grpc = product.GRPC(daemon.socket)
        return seen, took

    def theirs_again(self, domains):
        begun = time.perf_counter()
        self.libvirt.kill()
        self.libvirt.start()
        self.libvirt.connect(60)
        end = time.monotonic() + 60
        while self.libvirt.running() < len(domains):
            if time.monotonic() > end:
                raise product.Refused("not all domains are listed again")
            time.sleep(0.002)
        seen = time.perf_counter() - begun
        domains[-1].find()
        domains[-1].suspend_and_resume()
        return seen, time.perf_counter() - begun


def running(daemon):
    """How many VMs a daemon says run; 0 when it does not serve yet."""
    try:
        daemon.connection = product.UnixHTTP(daemon.socket, 60)
        found = daemon.call(f"{product.VMS}/ListVMs", {"pageSize": 1000}).get("vms", [])
        return sum(vm["status"]["state"] == "RUNNING" for vm in found)
    except OSError:
        return 0


def timed(action):
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun
