"""A named VM from its first start to its purge."""

import json
import subprocess
import time
import urllib.request

from harness import COMMAND_SECONDS, PATIENCE, claim, until
from saving import clock_difference, went_on


def published(place):
    """A listener in the guest, reached from here."""
    vm = place.run_box("box", "-c", "2", "-p", "18473:80", "-l", "app=web", memory="256")
    claim(vm["status"]["state"] == "RUNNING", vm["status"])
    place.sh("box", "mkdir -p /www; echo from the guest > /www/index.html; httpd -p 80 -h /www")

    def page():
        try:
            with urllib.request.urlopen("http://127.0.0.1:18473/", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return None

    claim(until(page, 10, "the guest's page") == "from the guest\n")


def looks(place):
    listed = json.loads(place.ok("ls", "-o", "json"))
    claim([vm["name"] for vm in listed] == ["box"], listed)
    spec = listed[0]["spec"]
    claim(spec["cpu"]["cores"] == 2 and spec["memory"]["sizeMib"] == "256", spec)
    text = place.ok("get", "box", "-o", "yaml")
    for line in ("name: box", "  state: RUNNING", "    sizeMib: \"256\"", "  - hostAddress"):
        claim(line in text, "no line", line, "in", text)
    claim(place.ok("ls", "-q", "-l", "app=web") == "box\n")
    claim(place.ok("ls", "-q", "-l", "app=db") == "")
    claim(place.sh("box", "nproc; hostname").split() == ["2", "box"])


def pause(place):
    asked = time.monotonic()
    before = place.uptime("box")
    place.ok("pause", "box")
    stands = time.monotonic()
    claim(place.state_of("box") == "PAUSED")
    pid = place.vmm("box")
    spent = cpu_ticks(pid)
    time.sleep(3)
    claim(cpu_ticks(pid) - spent <= 5, "the paused guest used CPU time")
    place.fails("exec", "box", "--", "true", code=125, words=["PAUSED"])
    stood = time.monotonic() - stands
    place.ok("resume", "box")
    counted = place.uptime("box") - before
    passed = time.monotonic() - asked
    claim(counted <= went_on(passed, stood), f"its uptime went on by {counted:.2f} s of"
          f" {passed:.2f} s, of which it was paused for {stood:.2f} s")
    until(lambda: clock_is_set(place), 30, "its clock to be set after the pause")


def clock_is_set(place):
    """Within seconds of the resumption. A host that stands between the message and its arrival leaves the
    clock behind for good: once more then."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if abs(clock_difference(place)) <= 2:
            return True
        time.sleep(0.1)
    place.ok("pause", "box")
    place.ok("resume", "box")
    return False


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def restart(place):
    first = place.vmm("box")
    place.sh("box", "echo kept > /root/kept; sync")
    place.ok("restart", "box")
    claim(place.vmm("box") != first, "the same process")
    claim(place.sh("box", "cat /root/kept") == "kept\n")


def reboot(place):
    pid = place.vmm("box")
    boot = "cat /proc/sys/kernel/random/boot_id"
    before = place.sh("box", f"touch /run/mark /root/mark; sync; {boot}")
    asked = time.monotonic()
    place.ok("reboot", "box")
    claim(place.vmm("box") == pid, "reboot made another process")
    claim(place.sh("box", boot) != before, "the same boot")
    up = place.uptime("box")
    claim(up < time.monotonic() - asked + 1, "its uptime went on:", up)
    place.sh("box", "test -e /root/mark && test ! -e /run/mark")


def own_reboot(place):
    """The guest resets itself: nobody hangs on the agent that is gone, and the next one is found."""
    pid = place.vmm("box")
    boot = "cat /proc/sys/kernel/random/boot_id"
    for command in ("reboot", "-f"), ("reboot",):
        before = place.sh("box", boot)
        waiting = place.popen("roost", "exec", "box", "--", "sh", "-c", "echo up; exec sleep 600",
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        try:
            # It runs in this boot: begun too late, it would in the next.
            claim(waiting.stdout.readline() == b"up\n", "no command to wait for")
            place("exec", "box", "--", *command)
            waiting.wait(COMMAND_SECONDS)
        finally:
            waiting.kill()
            waiting.communicate()
        until(lambda: booted_since(place, before), 120, "the guest to boot anew")
    claim(place.vmm("box") == pid, "another process")
    shuts_down(place)
    place.ok("start", "box")


def booted_since(place, before):
    """Whether the guest answers and is in another boot; one that is going down refuses."""
    answer = place("exec", "box", "--", "cat", "/proc/sys/kernel/random/boot_id")
    return answer.code == 0 and answer.out != before


def shuts_down(place):
    """It stops because its agent was asked to, which says so, and not because its time was up."""
    place.ok("stop", "-t", "150s", "box")
    claim(place.state_of("box") == "STOPPED")
    stopped = json.loads(place.ok("ops", "ls", "--vm", "box", "-o", "json"))[0]
    claim(stopped["method"] == "StopVM", stopped)
    claim(f"powering off op_id={stopped['id']}" in place.ok("logs", "--tail", "20", "--source",
                                                            "console", "box"),
          "the guest's last line does not name", stopped["id"])


def stop_and_start(place):
    shuts_down(place)
    claim(place.vmms() == {} and place.memory_files() == [], "something runs on")
    claim(place.ok("logs", "--source", "console", "box").strip(), "its console log went with it")
    place.fails("pause", "box", code=4, words=["STOPPED"])
    place.ok("start", "box")
    claim(place.sh("box", "cat /root/kept") == "kept\n")


def set_memory(place):
    place.fails("set", "box", "-m", "320", code=4, words=["box"])
    place.ok("stop", "box")
    place.ok("set", "box", "-m", "320", "-c", "1")
    place.ok("start", "box")
    kib = int(place.sh("box", "grep MemTotal /proc/meminfo").split()[1])
    claim(260 * 1024 < kib < 320 * 1024, kib)
    claim(place.sh("box", "nproc").strip() == "1")


def killed(place):
    place.ok("kill", "box")
    claim(place.state_of("box") == "STOPPED", place.json("get", "box")["status"])
    claim(place.vmms() == {})
    place.ok("start", "box")


def trash(place):
    place.fails("rm", "box", code=4, words=["box"])
    vm = place.json("get", "box")["id"]
    place.sh("box", "echo survives > /root/survives; sync")
    place.ok("rm", "-f", "box")
    claim(place.vmms() == {}, "the VM runs on")
    claim(place.state_of("box") == "DELETED" and place.ok("ls", "-q") == "", "it is still listed")
    place.fails("start", "box", code=3)
    place.ok("undelete", "box")
    claim(place.json("get", "box")["id"] == vm)
    place.ok("start", "box")
    claim(place.sh("box", "cat /root/survives") == "survives\n")
    place.ok("rm", "-f", "box")
    place.ok("run", "--name", "box", "-m", "192", "-d")
    place.ok("undelete", vm, "--name", "box2")
    claim(place.json("get", "box2")["id"] == vm)
    place.ok("rm", "-f", "box2")
    place.ok("purge", vm)
    place.fails("undelete", vm, code=3)


def own_end(place):
    """The guest powers itself off: at once, and by a word to process 1."""
    for command in ("poweroff",), ("poweroff", "-f"):
        place.ok("start", "box")
        place.ok("exec", "-d", "box", "--", *command)
        claim(place.ok("wait", "box", "--timeout", "120s").strip().endswith("STOPPED"), command)
        status = place.json("get", "box")["status"]
        claim("powered off" in status["reason"], command, status)


def waited(place):
    place.ok("start", "box")
    claim("RUNNING" in place.ok("wait", "box", "--for", "running", "--timeout", "60s"))
    waiter = place.popen("roost", "wait", "box", stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    claim(waiter.poll() is None, "wait did not wait")
    place.ok("stop", "-f", "box")
    claim(waiter.wait(PATIENCE) == 0)
    place.fails("wait", "box", "--for", "running", "--timeout", "1s", code=124)


def killed_vmm(place):
    """Somebody kills QEMU."""
    place.ok("start", "box")
    place.kill_vmm("box", 1)
    status = place.json("get", "box")["status"]
    claim("killed by signal 9" in status["reason"], status)
    until(lambda: place.memory_files() == [], PATIENCE, "the end of its memory file")
    place.ok("start", "box")
    claim(place.state_of("box") == "RUNNING")


def operations(place):
    listed = json.loads(place.ok("ops", "ls", "--vm", "box", "-o", "json"))
    claim(listed and all(one["id"].startswith("op-") for one in listed), listed)
    first = place.json("ops", "get", listed[0]["id"])
    claim(first["done"] and first["state"] == "SUCCEEDED", first)
    short = "op-" + listed[0]["id"][-6:]
    claim(place.json("ops", "get", short)["id"] == listed[0]["id"])
    place.fails("ops", "get", "op-zzzzzz", code=3)


def checks(runner, place):
    runner.check("a named VM with -p answers on the host's port", published, place)
    runner.check("ls -o json and get -o yaml say what it is, and its guest is that", looks, place)
    runner.check("pause stops the guest's clock and CPU time, and resume lets it go on", pause, place)
    runner.check("restart makes a new process and keeps the disk", restart, place)
    runner.check("reboot keeps the process and the disk, and boots anew", reboot, place)
    runner.check("a guest that resets itself is entered again, and nobody waits for ever",
                 own_reboot, place)
    runner.check("stop ends everything that runs, its log stays, and start brings it back",
                 stop_and_start, place)
    runner.check("set changes memory and CPUs of a stopped VM only", set_memory, place)
    runner.check("kill leaves it STOPPED at once", killed, place)
    runner.check("rm keeps the disk in the trash, undelete brings it back, purge frees it",
                 trash, place)
    runner.check("a guest that powers off leaves its VM STOPPED, and wait says so", own_end, place)
    runner.check("wait waits, and gives up after its time", waited, place)
    runner.check("a killed QEMU is noticed and the VM is FAILED with the reason", killed_vmm, place)
    runner.check("ops ls and ops get show what was done", operations, place)
