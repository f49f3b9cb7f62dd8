"""Machines whose memory is kept: suspended VMs, and templates that runs are copied from."""

import json
import os
import shutil
import subprocess
import time

from counter import COUNTER, count
from harness import COMMAND_SECONDS, PATIENCE, claim, is_alive, kill, new_id, read, until

# What two machines must not share, as the first process of a user in them sees it.
# Not the MAC and the boot id: copies have their template's. Each has a network of its own.
IDENTITY = ("hostname; cat /etc/machine-id;"
            " head -c 16 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/uuid")


def folder_of(place, vm="box"):
    """Where the memory of a suspended VM is kept."""
    return f"{place.state}/vms/{place.json('get', vm)['id']}/saved"


def counting(place):
    """A running VM with a command that counts; what is true in it now."""
    if place("get", "box").code == 0:
        if place.state_of("box") == "SUSPENDED":
            place.ok("start", "box")
        return Moment(place)
    place.run_box()
    place.ok("exec", "-d", "box", "--", "sh", "-c", COUNTER)
    until(lambda: count(place) > 2, 10, "the counter")
    return Moment(place)


class Moment:
    """What is true in the guest now: the counter's process and how far it and the uptime are."""

    def __init__(self, place):
        self.asked = time.monotonic()
        lines = place.sh("box", "cat /proc/uptime /run/count /run/pid"
                         " /proc/sys/kernel/random/boot_id; cat /proc/$(cat /run/pid)/stat"
                         ).split("\n")
        self.told = time.monotonic()
        self.uptime, self.count = float(lines[0].split()[0]), int(lines[1])
        # With the time of its start: no other process under the same pid.
        self.process = (lines[2], lines[4].split()[21])
        self.boot = lines[3]

    def goes_on(self, place, stood=0):
        """The same machine, which must not have noticed anything of `stood` seconds since."""
        now = Moment(place)
        claim(now.boot == self.boot and now.process == self.process, "another machine:",
              vars(self), vars(now))
        claim(now.count > self.count and now.uptime > self.uptime, "not further:", vars(self),
              vars(now))
        counted, passed = now.uptime - self.uptime, now.told - self.asked
        claim(counted <= went_on(passed, stood), f"its uptime counted {counted:.1f} s of"
              f" {passed:.1f} s, of which it stood still for {stood:.1f} s")
        return now


def went_on(passed, stood):
    """How far a guest's clock can be after `passed` seconds, of which it stood still for `stood`."""
    return (passed - stood) * 1.01 + 0.2


def clock_difference(place, vm="box"):
    """Seconds that the guest's clock is off, give or take the second of its resolution."""
    before = time.time()
    guest = int(place.sh(vm, "date +%s"))
    after = time.time()
    if before - 1 <= guest <= after:
        return 0
    return guest - (before + after) / 2


def suspended(place, vm="box"):
    claim(place.state_of(vm) == "SUSPENDED", place.json("get", vm)["status"])
    claim(place.vmms() == {}, "its process runs on")
    claim(place.memory_files() == [], "its memory is still there:", place.memory_files())
    claim(os.path.exists(f"{folder_of(place, vm)}/machine.json"), "nothing was kept")


def resume(place):
    """Same processes, and the clock is right, after being away for more than a few seconds."""
    before = counting(place)
    pid = place.vmm("box")
    place.ok("suspend", "box")
    begun = time.monotonic()
    suspended(place)
    claim(not is_alive(pid), "the process lives")
    place.ok("suspend", "box")
    time.sleep(5)
    away = time.monotonic() - begun
    back = time.monotonic()
    place.ok("start", "box")
    off = clock_difference(place)
    # It is set to what it was when the message left.
    claim(abs(off) <= 2 + time.monotonic() - back, f"its clock is off by {off:.0f} s")
    before.goes_on(place, away)
    claim(not os.path.exists(folder_of(place)), "what was kept is older than the disk now")
    steps = [step["name"] for step in last_operation(place, "StartVM")["steps"]]
    claim("restore-vmm" in steps and "start-vmm" not in steps, steps)
    place.sh("box", "echo after > /root/after; sync; cat /root/after")


def last_operation(place, method):
    listed = place.json("ops", "ls")
    return next(one for one in listed if one["method"] == method)


def across_daemons(place):
    """Suspended under one daemon, started under the next, which then dies too."""
    before = counting(place)
    place.ok("suspend", "box")
    begun = time.monotonic()
    place.kill_daemon()
    suspended(place)
    time.sleep(2)
    away = time.monotonic() - begun
    place.ok("start", "box")
    after = before.goes_on(place, away)
    pid = place.vmm("box")
    place.kill_daemon()
    claim(place.vmm("box") == pid and place.state_of("box") == "RUNNING")
    after.goes_on(place)
    place.ok("suspend", "box")
    place.ok("daemon", "stop")
    suspended(place)
    place.ok("start", "box")
    after.goes_on(place)


def killed_meanwhile(place):
    """The daemon dies while it writes the memory: the VM is one or the other, and starts."""
    before = counting(place)
    for wait in (0.0, 0.05, 0.1, 0.2, 0.3):
        op = new_id()
        client = place.popen("roost", "suspend", "--op-id", op, "box", stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        time.sleep(0.05 + wait)
        place.kill_daemon()
        client.wait(PATIENCE)
        place.ok("suspend", "--op-id", op, "box")
        suspended(place)
        place.ok("start", "box")
        before = before.goes_on(place)


def refusals(place):
    """Whatever cannot be done to kept memory is refused, and it stays."""
    before = counting(place)
    place.ok("suspend", "box")
    begun = time.monotonic()
    for words in (["stop", "box"], ["pause", "box"], ["resume", "box"], ["reboot", "box"],
                  ["restart", "box"], ["set", "box", "-m", "256"], ["set", "box", "-c", "2"]):
        place.fails(*words, code=4, words=["box", "SUSPENDED", "op-"])
    place.fails("exec", "box", "--", "true", code=125, words=["SUSPENDED"])
    suspended(place)
    time.sleep(2)
    away = time.monotonic() - begun
    place.ok("start", "box")
    before.goes_on(place, away)
    place.fails("suspend", "no-such-box", code=3)
    # Whoever forces it gives up what was kept.
    place.ok("suspend", "box")
    place.ok("stop", "-f", "box")
    claim(place.state_of("box") == "STOPPED" and not os.path.exists(folder_of(place)))
    place.ok("rm", "-f", "--purge", "box")


def paused(place):
    """A paused VM can be suspended, and runs when it is started."""
    before = counting(place)
    place.ok("pause", "box")
    begun = time.monotonic()
    place.ok("suspend", "box")
    suspended(place)
    time.sleep(1)
    away = time.monotonic() - begun
    place.ok("start", "box")
    before.goes_on(place, away)


def trash(place):
    """rm keeps the memory with the disk in the trash, and undelete brings both back."""
    before = counting(place)
    place.ok("suspend", "box")
    vm = place.json("get", "box")["id"]
    place.ok("rm", "-f", "box")
    claim(place.state_of(vm) == "DELETED", place.json("get", vm)["status"])
    place.kill_daemon()
    place.ok("undelete", "box")
    suspended(place)
    place.ok("start", "box")
    before.goes_on(place)


def damage(place):
    """What was kept is truncated, changed, missing: refused by name; put back, it serves."""
    before = counting(place)
    place.ok("suspend", "box")
    folder = folder_of(place)
    disk = os.path.join(os.path.dirname(folder), "root.qcow2")
    for path, harm, words in (
            (f"{folder}/memory.img", change_byte, ["memory", "digest"]),
            (f"{folder}/memory.img", truncate, ["memory", "bytes instead of"]),
            (f"{folder}/memory.img", os.unlink, ["memory"]),
            (f"{folder}/devices.bin", change_byte, ["device state", "digest"]),
            (f"{folder}/devices.bin", truncate, ["device state", "bytes instead of"]),
            (disk, change_byte, ["disk", "digest"]),
            (f"{folder}/machine.json", truncate, ["manifest"]),
            (f"{folder}/machine.json", garble, ["manifest"])):
        aside = f"{place.bench.base}/aside"
        subprocess.run(["cp", "-a", "--sparse=always", path, aside], check=True)
        harm(path)
        kept = sorted(os.listdir(folder))
        result = place("start", "box")
        claim(result.code != 0 and "SUSPENDED" == place.state_of("box"), path, harm.__name__,
              result, place.json("get", "box")["status"])
        for word in words + ["op-"]:
            claim(word in result.err, f"no {word!r} in", result)
        claim(sorted(os.listdir(folder)) == kept, "it was dropped:", os.listdir(folder))
        claim(place.vmms() == {} and place.memory_files() == [], "half of a start is left")
        os.replace(aside, path)
    # A daemon that comes up to a damaged manifest serves all the same.
    subprocess.run(["cp", "-a", f"{folder}/machine.json", f"{place.bench.base}/aside"], check=True)
    garble(f"{folder}/machine.json")
    place.kill_daemon()
    claim(place.ok("ls", "-q") == "box\n")
    os.replace(f"{place.bench.base}/aside", f"{folder}/machine.json")
    place.ok("start", "box")
    before.goes_on(place)


def change_byte(path):
    """Changes a byte that is not zero."""
    with open(path, "r+b") as file:
        while True:
            at, block = file.tell(), file.read(4096)
            if any(block):
                break
        file.seek(at)
        file.write(bytes([block[0] ^ 1]))


def truncate(path):
    os.truncate(path, os.path.getsize(path) // 2)


def garble(path):
    with open(path, "wb") as file:
        file.write(b"\xff\x00 this is no manifest")


def dropped(place):
    """kill gives the memory up: the next start boots."""
    boot = counting(place).boot
    place.sh("box", "echo kept > /root/kept; sync")
    place.ok("suspend", "box")
    place.ok("kill", "box")
    claim(place.state_of("box") == "STOPPED", place.json("get", "box")["status"])
    claim(not os.path.exists(folder_of(place)), "the memory is still there")
    place.ok("set", "box", "-m", "224")
    place.ok("start", "box")
    claim(place.sh("box", "cat /proc/sys/kernel/random/boot_id").strip() != boot, "no boot")
    claim(place.sh("box", "cat /root/kept") == "kept\n", "the disk is another one")
    place.ok("suspend", "box")
    place.ok("rm", "-f", "--purge", "box")
    claim(os.listdir(f"{place.state}/vms") == [] and os.listdir(f"{place.state}/trash") == [])


def steps_of_run(place, *words):
    """Runs a disposable VM; (the steps that made it, what it wrote)."""
    op = new_id()
    out = place.ok("run", "-m", "192", "--op-id", op, *words)
    return [step["name"] for step in place.json("ops", "get", op)["steps"]], out


def whole_templates(place):
    folder = f"{place.state}/templates"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [name for name in names if os.path.exists(f"{folder}/{name}/machine.json")]


def await_template(place, number=1):
    until(lambda: len(whole_templates(place)) >= number, 180, f"{number} templates")
    until(lambda: place.all_vmms() == {}, 10, "the builder's end")


BOOTS, COPIES = ("start-vmm", "await-guest"), ("copy-template", "start-copy", "renew-guest")


def copies(place):
    """The first run boots, the later ones copy, and --no-template boots again."""
    steps, out = steps_of_run(place, "--", "echo", "first")
    claim(out == "first\n" and set(BOOTS) <= set(steps), steps)
    await_template(place)
    for _ in range(2):
        steps, out = steps_of_run(place, "--", "echo", "copied")
        claim(out == "copied\n" and set(COPIES) <= set(steps), steps)
        claim(not set(BOOTS) & set(steps), steps)
    steps, out = steps_of_run(place, "--no-template", "--", "echo", "booted")
    claim(out == "booted\n" and set(BOOTS) <= set(steps), steps)
    # Another shape is another machine.
    steps, out = steps_of_run(place, "-c", "2", "--", "nproc")
    claim(out == "2\n" and set(BOOTS) <= set(steps), steps)
    await_template(place, 2)


def apart(place):
    """Eight copies at once share nothing that makes a machine itself."""
    begun = time.time()
    runs = [place.popen("roost", "run", "-m", "192", "--", "sh", "-c",
                        f"{IDENTITY}; date +%s; echo $$ > /root/mine; ls /root",
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(8)]
    seen = []
    for run in runs:
        out, err = run.communicate(timeout=COMMAND_SECONDS)
        claim(run.returncode == 0, err)
        seen.append(out.decode().split("\n")[:-1])
    for index, what in enumerate(("host names", "machine-ids", "random bytes", "uuids")):
        values = [lines[index] for lines in seen]
        claim(len(set(values)) == 8 and all(values), f"the {what} of eight copies:", values)
    claim(all(begun - 2 <= int(lines[4]) <= time.time() + 2 for lines in seen), begun, seen)
    claim(all(lines[5:] == ["mine"] for lines in seen), "another's file:", seen)


def another_image(place):
    """A template is its image's: the same name on another image boots, and gets its own."""
    root = f"{place.bench.base}/another-root"
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "root", "run"):
        os.makedirs(f"{root}/{name}")
    shutil.copy2("/bin/busybox", f"{root}/bin/busybox")
    for name in ("sh", "cat", "echo", "true"):
        os.symlink("busybox", f"{root}/bin/{name}")
    with open(f"{root}/etc/mark", "w", encoding="utf-8") as file:
        file.write("another image\n")
    before = whole_templates(place)
    place.ok("image", "import", "tiny", "--rootfs", root, "--default")
    steps, out = steps_of_run(place, "--", "cat", "/etc/mark")
    claim(out == "another image\n" and set(BOOTS) <= set(steps), steps, out)
    await_template(place, len(before) + 1)
    steps, out = steps_of_run(place, "--", "cat", "/etc/mark")
    claim(out == "another image\n" and set(COPIES) <= set(steps), steps, out)


def damaged_template(place):
    """A template that is not what it was is dropped, and the run boots."""
    for harm, part in ((change_byte, "memory.img"), (garble, "machine.json")):
        newest = max(whole_templates(place),
                     key=lambda name: os.stat(f"{place.state}/templates/{name}").st_mtime)
        harm(f"{place.state}/templates/{newest}/{part}")
        steps, out = steps_of_run(place, "--", "echo", "booted")
        claim(out == "booted\n" and "start-vmm" in steps, steps)
        # It goes once no disk lies over it any more.
        until(lambda: newest not in os.listdir(f"{place.state}/templates"), 10,
              f"the end of the one whose {part} is damaged")
        # After a failure it is left alone for some minutes; the next daemon tries again.
        place.kill_daemon()
        steps_of_run(place, "--", "true")
        until(lambda: newest in whole_templates(place), 180, "the template's return")
    garble(f"{place.state}/templates/{newest}/machine.json")
    place.kill_daemon()
    claim(place.ok("ls", "-q") == "", "no daemon comes up beside a damaged template")
    # Whoever would use it next drops it.
    steps_of_run(place, "--", "true")
    until(lambda: newest not in os.listdir(f"{place.state}/templates"), 10, "the damaged one's end")
    place.kill_daemon()


def cut_off(place):
    """The daemon dies while it makes a template: the next one clears away what was begun."""
    for path in whole_templates(place):
        shutil.rmtree(f"{place.state}/templates/{path}")
    place.ok("run", "-m", "192", "--", "true")
    builder = until(place.builders, 10, "a template to be begun", 0.02)
    place.kill_daemon()
    place.ok("ls")
    until(lambda: not any(map(is_alive, builder.values())), 5, "the half made VM's end")
    nothing_left(place)
    # Somebody kills the VM that it is made with.
    place.ok("run", "-m", "192", "--", "true")
    for pid in until(place.builders, 10, "a template to be begun", 0.02).values():
        kill(pid)
    until(lambda: b"could not make a template" in read(f"{place.state}/roostd.log"), 20,
          "the daemon to say so")
    nothing_left(place)


def nothing_left(place):
    until(lambda: place.all_vmms() == {}, 30, "the last process")
    until(lambda: not place.memory_files(), 2, "the last memory file", 0.02)
    until(lambda: os.listdir(f"{place.state}/vms") == [], 5, os.listdir(f"{place.state}/vms"))
    claim(json.loads(place.ok("doctor", "--leaks", "-o", "json")) == [], "doctor finds leaks")


def checks(runner, bench):
    place = bench.place("saving")
    for name, body in (
            ("suspend frees the memory, and start brings the same processes and a right clock",
             resume),
            ("a suspended VM starts under another daemon, which can die too", across_daemons),
            ("kill -9 of the daemon while it suspends loses nothing", killed_meanwhile),
            ("what cannot be done to a suspended VM is refused, and it stays", refusals),
            ("a paused VM can be suspended", paused),
            ("rm and undelete keep the memory of a suspended VM", trash),
            ("kept memory that is cut off, changed or missing is refused and not dropped", damage),
            ("kill drops the memory of a suspended VM, and rm --purge every byte", dropped)):
        runner.check(name, body, place)
    runner.check("suspending leaves nothing", place.clear)
    place = bench.place("templates")
    for name, body in (
            ("the first run boots, later ones are copies, --no-template boots", copies),
            ("eight copies of a template share no host name, machine-id or random byte", apart),
            ("another image has a template of its own", another_image),
            ("a damaged template is dropped and the run boots", damaged_template),
            ("a template that is cut off while it is made leaves nothing", cut_off),
            ("copies leave nothing", nothing_left)):
        runner.check(name, body, place)
    runner.check("the templates' place is empty afterwards", place.clear)
