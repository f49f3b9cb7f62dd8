"""The daemon comes and goes; guests go on."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time

from dying import HeldAtItsEnd
from harness import PATIENCE, claim, is_alive, kill, new_id, read, until


def status(place):
    found = place.json("daemon", "status")
    claim(found["driver"] == "qemu" and found["pid"] == place.find_daemon(), found)
    claim(found["sockets"] == [place.socket] and found["version"], found)
    claim("tcg" in found["acceleration"] or "kvm" in found["acceleration"], found)
    place.ok("daemon", "start")
    claim(place.json("daemon", "status")["pid"] == found["pid"], "start made a second daemon")


def orderly_end(place):
    """Ending the daemon in order, too, leaves the guest alone."""
    pid, before = place.vmm("box"), place.uptime("box")
    place.ok("daemon", "stop")
    claim(place.find_daemon() is None, "a daemon is left")
    claim(not os.path.exists(place.socket), "its socket is left")
    place.fails("daemon", "status", code=6)
    claim(is_alive(pid), "the guest ended with the daemon")
    claim(place.uptime("box") > before, "another guest")
    claim(place.vmm("box") == pid)


def killed(place):
    pid, before = place.vmm("box"), place.uptime("box")
    former = place.kill_daemon()
    time.sleep(1)
    now = place.uptime("box")
    claim(place.daemon_pid() != former)
    claim(place.vmm("box") == pid and now > before + 0.9, f"{before} -> {now}")
    claim(place.state_of("box") == "RUNNING", place.json("get", "box")["status"])
    place.kill_vmm("box", 3)
    place.ok("start", "box")


def killed_while_exec(place):
    """The command goes on in the guest; whoever comes back under its id gets the rest."""
    op = new_id()
    words = ["exec", "--op-id", op, "box", "--", "sh", "-c",
             "echo ran >> /root/once; until [ -e /root/go ]; do sleep 0.1; done; cat /root/once"]
    first = place.popen("roost", *words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: place("exec", "box", "--", "test", "-e", "/root/once").code == 0, 10, "the run")
    place.kill_daemon()
    first.wait(PATIENCE)
    again = place.popen("roost", *words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE)
    # Whether it is there by then or later: what nobody has read is its.
    place.sh("box", "touch /root/go")
    out, err = again.communicate(timeout=PATIENCE)
    claim(again.returncode == 0 and out == b"ran\n", again.returncode, out, err)


def ended_meanwhile(place):
    """What ends while there is no daemon is known afterwards."""
    place.sh("box", "sync")
    pid = place.vmm("box")
    place.ok("exec", "-d", "box", "--", "sh", "-c", "sleep 15; poweroff -f")
    place.kill_daemon()
    claim(is_alive(pid), "the guest was quicker than the end of the daemon")
    until(lambda: not is_alive(pid), 20, "the guest's power-off")
    until(lambda: place.state_of("box") == "STOPPED", PATIENCE, "box to be STOPPED")
    place.ok("start", "box")
    pid = place.vmm("box")
    place.kill_daemon()
    kill(pid)
    until(lambda: place.state_of("box") == "FAILED", PATIENCE, "box to be FAILED")
    until(lambda: place.memory_files() == [], PATIENCE, "the end of its memory file")
    place.ok("start", "box")


def scratch(place, change, words):
    """handles.json is a hint: without it, or with a wrong one, the guest is found all the same."""
    vm = place.json("get", "box")["id"]
    path = f"{place.state}/vms/{vm}/handles.json"
    pid, before = place.vmm("box"), place.uptime("box")
    place.kill_daemon()
    change(path)
    claim(place.uptime("box") > before and place.vmm("box") == pid, words)
    with open(path, encoding="utf-8") as file:
        claim(json.load(file)["process"]["pid"] == pid, "handles.json was not put right")


def recycle(path):
    """Another process has the pid now: this one."""
    with open(path, encoding="utf-8") as file:
        handles = json.load(file)
    handles["process"]["pid"] = os.getpid()
    with open(path, "w", encoding="utf-8") as file:
        json.dump(handles, file)


def corrupt(path):
    with open(path, "wb") as file:
        file.write(b'{"vm": \xff\x00')


def isolated(bench, place):
    """Another state directory is another world; so is a socket of one's own."""
    other = bench.place("other", ROOST_SOCKET=f"{bench.base}/elsewhere.sock")
    claim(other.ok("ls", "-q") == "", "the other daemon lists our VMs")
    claim(other.json("daemon", "status")["sockets"] == [f"{bench.base}/elsewhere.sock"])
    claim(other.find_daemon() not in (None, place.find_daemon()))
    other.fails("get", "box", code=3)
    other.ok("daemon", "stop")
    claim(place.state_of("box") == "RUNNING")
    by_flags = place.ok("--version") and place(
        "ls", "-q", "--state-dir", other.state, "--socket", other.socket
    )
    claim(by_flags.code == 0 and by_flags.out == "", by_flags)
    other.clear()


def race(bench):
    """Two first commands at once: one daemon, two answers."""
    place = bench.place("race")
    racers = [place.popen("roost", "ls", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
              for _ in range(4)]
    ends = [(racer.communicate(timeout=PATIENCE), racer.returncode) for racer in racers]
    claim(all(code == 0 for _, code in ends), ends)
    place.clear()


def held_by_the_dying(bench):
    """A state directory that something still holds when a command comes, and lets go of a moment
    later, is started on by that command."""
    place = bench.place("held")
    with open(f"{place.state}/lock", "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        client = place.popen("roost", "ls", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: b"is held by process" in read(f"{place.state}/roostd.log"), PATIENCE,
              "a daemon that finds the directory held", 0.01)
    out, err = client.communicate(timeout=PATIENCE)
    claim(client.returncode == 0, client.returncode, out, err)
    place.clear()


def second_daemon(bench, place):
    """roostd on a held state directory ends with 3, on a served socket with 4."""
    for words, code in ((["--state-dir", place.state, "--socket", f"{bench.base}/two.sock"], 3),
                        (["--state-dir", f"{bench.base}/two", "--socket", place.socket], 4)):
        process = place.popen("roostd", *words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        err = process.communicate(timeout=PATIENCE)[1]
        claim(process.returncode == code, process.returncode, err)
    shutil.rmtree(f"{bench.base}/two", ignore_errors=True)
    claim(place.ok("ls", "-q") == "box\n")


def long_socket(bench):
    path = f"{bench.base}/{'s' * (150 - len(bench.base) - 1)}"
    place = bench.place("long", prepared=False, ROOST_SOCKET=path)
    place.fails("ls", code=2, words=["150 bytes"])
    process = place.popen("roostd", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    err = process.communicate(timeout=PATIENCE)[1]
    claim(process.returncode == 2 and b"150 bytes" in err, process.returncode, err)


def by_signal(place):
    """SIGTERM ends the daemon as `daemon stop` does."""
    pid = place.find_daemon()
    kill(pid, signal.SIGTERM)
    until(lambda: not is_alive(pid), 5, "the daemon's end")
    claim(not os.path.exists(place.socket), "its socket is left")
    claim(place.state_of("box") == "RUNNING")


def doctor(place):
    found = place.json("doctor")
    verdicts = {one["id"]: one["verdict"] for one in found}
    claim("FAIL" not in verdicts.values() and len(found) >= 8, found)
    claim(all(one.get("fix") for one in found if one["verdict"] != "PASS"), found)


def planted(place):
    """One leak of each kind, and all of them are found and nothing else."""
    vm = "0123456789abcdef0123456789abcdef"
    memory = os.path.dirname(place.memory_files()[0])
    plants = [f"{memory}/roost-{vm}.mem", f"{place.state}/vms/strange-thing"]
    with open(plants[0], "wb"):
        pass
    os.mkdir(plants[1])
    folder = f"{place.state}/vms/{vm}"
    os.mkdir(folder)
    process = subprocess.Popen(
        ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-S", "-machine", "none",
         "-uuid", "01234567-89ab-cdef-0123-456789abcdef", "-name", "guest=name=roost.agent.0"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        os.rmdir(folder)
        result = place("doctor", "--leaks", "-o", "json")
        claim(result.code == 1, result)
        names = {one["name"] for one in json.loads(result.out)}
        wanted = set(plants) | {str(process.pid)}
        claim(names == wanted, "found", names, "wanted", wanted)
        for leak in json.loads(result.out):
            claim(leak["fix"], "no remedy:", leak)
    finally:
        process.kill()
        process.wait()
        os.unlink(plants[0])
        os.rmdir(plants[1])
    claim(json.loads(place.ok("doctor", "--leaks", "-o", "json")) == [])


def patched(bench, version):
    """Copies of the programs that say a later version: a string of the same length, exchanged."""
    later = version[:-1] + chr(ord(version[-1]) + 1)
    folder = f"{bench.base}/bin-later"
    shutil.copytree(bench.bin, folder)
    for name in ("roost", "roostd"):
        with open(f"{folder}/{name}", "rb") as file:
            program = file.read()
        with open(f"{folder}/{name}", "wb") as file:
            file.write(program.replace(version.encode(), later.encode()))
    said = subprocess.run([f"{folder}/roost", "--version"], capture_output=True, check=True).stdout
    claim(said.decode().split() == ["roost", later], said)
    return folder, later


def versions(bench):
    """A newer client leaves a busy daemon alone and says how, and replaces an idle one."""
    place = bench.place("versions")
    place.run_box()
    vmm, former = place.vmm("box"), place.daemon_pid()
    folder, later = patched(bench, place.json("daemon", "status")["version"])
    session = place.popen("roost", "exec", "box", "--", "sleep", "60", stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: place.json("daemon", "status").get("busy"), 10, "the command to make it busy")
        place.bin = folder
        result = place("ls", "-q")
        claim(result.code == 0 and "busy with op-" in result.err, result)
        claim("roost daemon restart" in result.err and place.find_daemon() == former, result)
        place.fails("daemon", "restart", code=4)
    finally:
        session.terminate()
        session.wait(PATIENCE)
    until(lambda: not place.json("daemon", "status").get("busy"), 10, "the command's end")
    claim(place.ok("ls", "-q") == "box\n")
    status_now = place.json("daemon", "status")
    claim(status_now["version"] == later and status_now["pid"] != former, status_now)
    claim(place.vmm("box") == vmm and place.state_of("box") == "RUNNING", "the guest did not stay")
    place.bin = bench.bin
    result = place("ls", "-q")
    claim(result.code == 0 and not result.err, "an older client meddles:", result)
    claim(place.daemon_pid() == status_now["pid"])
    place.clear()


def idle_exit(bench):
    """A daemon that a command started ends when nobody calls, and stays for a VM or a fleet."""
    place = bench.place("idle", ROOST_IDLE_EXIT="6")
    place.ok("ls")
    pid = place.find_daemon()
    called, last = 0, time.monotonic()
    while called < 8:
        time.sleep(1)
        place.ok("ls")
        called, last, before = called + 1, time.monotonic(), last
        # A host that stood still for so long has not called.
        if last - before > 3:
            called, pid = 0, place.find_daemon()
    claim(place.find_daemon() == pid, "it ended although it was called")
    until(lambda: place.find_daemon() is None, 15, "the idle daemon's end")
    claim(not os.path.exists(place.socket), "its socket is left")
    place.run_box()
    pid = place.find_daemon()
    time.sleep(10)
    claim(place.find_daemon() == pid, "it ended although a VM runs")
    place.ok("rm", "-f", "--purge", "box")
    place.ok("apply", "-f", "-", input="fleet: rest\ngroups: [{name: spare, power: stopped}]\n")
    pid = place.find_daemon()
    time.sleep(10)
    claim(place.find_daemon() == pid, "it ended although it keeps a fleet")
    claim(place.state_of("spare") == "STOPPED")
    place.ok("apply", "-f", "-", input="fleet: rest\ngroups: []\n")
    until(lambda: place.find_daemon() is None, 15, "the idle daemon's end")
    place.clear()


def watches(daemon, pid):
    """Whether the process `daemon` has a pidfd of `pid`."""
    folder = f"/proc/{daemon}/fdinfo"
    return any(f"Pid:\t{pid}\n".encode() in read(f"{folder}/{name}") for name in os.listdir(folder))


def slow_to_end(place):
    """A VMM that was killed, and ends while the next daemon looks at it, leaves nothing behind."""
    vm = place.json("get", "box")["id"]
    with HeldAtItsEnd(place.vmm("box")) as vmm:
        place.kill_daemon()
        kill(vmm.pid)
        first = place.popen("roost", "ls", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        daemon = until(place.find_daemon, 10, "the next daemon", 0.01)
        until(lambda: watches(daemon, vmm.pid), 10, "its look at the VMM", 0.01)
    claim(first.wait(PATIENCE) == 0, "the next daemon did not answer")
    until(lambda: place.state_of("box") == "FAILED", PATIENCE, "box to be FAILED")

    def left():
        found = [path for path in place.memory_files() if vm in path]
        return found + [name for name in os.listdir(f"{place.state}/vms/{vm}")
                        if name.endswith(".sock") or name == "handles.json"]

    until(lambda: not left(), PATIENCE, "the end of what the VMM had")
    place.ok("start", "box")


def checks(runner, bench, place):
    runner.check("daemon status says pid, socket, driver and acceleration", status, place)
    runner.check("daemon stop leaves the guest alone, and the next command finds it",
                 orderly_end, place)
    runner.check("SIGTERM ends the daemon in order", by_signal, place)
    runner.check("after kill -9 of the daemon the guest is the same and its end is noticed",
                 killed, place)
    runner.check("a command goes on through kill -9 of the daemon, and a repeat attaches",
                 killed_while_exec, place)
    runner.check("what powers off or dies without a daemon is STOPPED or FAILED afterwards",
                 ended_meanwhile, place)
    runner.check("a VMM that ends while the next daemon looks at it leaves nothing", slow_to_end, place)
    for words, change in (("missing", os.unlink), ("corrupt", corrupt),
                          ("of a recycled pid", recycle)):
        runner.check(f"a handles.json that is {words} loses nothing", scratch, place, change, words)
    runner.check("ROOST_STATE_DIR and ROOST_SOCKET isolate a second daemon", isolated, bench, place)
    runner.check("racing first commands start one daemon and all succeed", race, bench)
    runner.check("a daemon that is still on its way out is waited for", held_by_the_dying, bench)
    runner.check("a newer client replaces an idle daemon, and says how when it is busy",
                 versions, bench)
    runner.check("an idle daemon ends by itself", idle_exit, bench)
    runner.check("a second daemon is refused the state directory and the socket",
                 second_daemon, bench, place)
    runner.check("a socket path of 150 bytes is refused with its length", long_socket, bench)
    runner.check("doctor has a remedy for whatever does not pass", doctor, place)
    runner.check("doctor --leaks finds a planted process, memory file and directory",
                 planted, place)
