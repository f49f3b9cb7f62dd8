"""Moments of a VM that are kept: checkpoint, log, back, fork VM@CHECKPOINT, checkpoint rm."""

import os
import subprocess
import time

from counter import COUNTER, count
from forks import KEYGEN
from harness import PATIENCE, claim, is_alive, new_id, until
from saving import change_byte, clock_difference, garble, truncate

BOOT = "cat /proc/sys/kernel/random/boot_id"


def keep(place, message="", vm="box"):
    """Makes a checkpoint; its id."""
    return place.ok("checkpoint", vm, "-m", message).strip()


def log(place, vm="box"):
    return place.json("log", vm)


def current(place, vm="box"):
    return next((one["id"] for one in log(place, vm) if one.get("current")), None)


def identity(place, vm="box"):
    """What must stay the VM's over everything here, as the host and as the guest see it."""
    seen = place.json("get", vm)
    guest = place.sh(vm, "cat /etc/machine-id; hostname; cat /sys/class/net/eth0/address;"
                         " cat /etc/ssh/ssh_host_test_key")
    return [seen["id"], seen["name"], seen["spec"]["ports"], seen["status"]["addresses"], guest]


def folder(place, checkpoint, vm="box"):
    return f"{place.state}/vms/{place.json('get', vm)['id']}/checkpoints/{checkpoint}"


def running(place):
    """A running VM is kept, goes on, and comes back with its processes, disk and identity."""
    place.run_box("box", "-p", "18478:80")
    place.sh("box", KEYGEN)
    place.sh("box", f"echo {os.urandom(16).hex()} > /etc/machine-id; echo first > /root/mark; sync")
    place.ok("exec", "-d", "box", "--", "sh", "-c", COUNTER)
    count(place)
    boot, who = place.sh("box", BOOT), identity(place)
    pid = place.vmm("box")
    first = keep(place, "before upgrade")
    claim(place.vmm("box") != pid and not is_alive(pid), "it goes on in the same process")
    at = count(place)
    until(lambda: count(place) > at + 150, 120, "the counter to go on")
    place.sh("box", "echo second > /root/mark; echo more > /root/more; sync")
    place.ok("back", f"box@{first[:8]}")
    back = count(place)
    claim(back < at + 100, "the counter is not back:", at, back)
    claim(place.state_of("box") == "RUNNING" and place.sh("box", BOOT) == boot, "it has booted")
    claim(place.sh("box", "cat /root/mark") == "first\n", "the disk is not back")
    claim(place("exec", "box", "--", "test", "-e", "/root/more").code == 1, "the disk is not back")
    now = count(place)
    until(lambda: count(place) > now, 5, "the counter to go on")
    claim(identity(place) == who, "its identity changed:", who, identity(place))
    claim(place.json("get", "box").get("checkpoint") == first and current(place) == first)
    place.sh("box", "sync; cat /root/mark")
    # Its disk is the one that it came back with, also after a boot.
    place.sh("box", "echo third > /root/mark; sync")
    place.ok("restart", "box")
    claim(place.sh("box", "cat /root/mark") == "third\n")
    place.ok("back", f"box@{first}")
    claim(place.sh("box", "cat /root/mark; " + BOOT) == f"first\n{boot}")
    place.ok("kill", "box")
    place.ok("back", f"box@{first}")
    claim(place.sh("box", "cat /root/mark; " + BOOT) == f"first\n{boot}", "back from a stop")
    place.ok("pause", "box")
    place.ok("back", f"box@{first}")
    claim(place.sh("box", BOOT) == boot, "back from a pause")


def unlike(place):
    """Going back twice does not draw the same random numbers twice, and the time is right."""
    checkpoint = current(place)
    drawn = []
    for _ in range(2):
        begun = time.monotonic()
        place.ok("back", f"box@{checkpoint}")
        drawn.append(place.sh("box", "cat /proc/sys/kernel/random/uuid"))
        off = clock_difference(place)
        claim(abs(off) <= 2 + time.monotonic() - begun, "its clock is off by", off)
    claim(drawn[0] != drawn[1], "the same numbers:", drawn)


def tree(place):
    """Parents, the star, the graph; back and forth between branches of memory and of disks."""
    first = current(place)
    place.sh("box", "echo a > /root/branch; sync")
    a = keep(place, "branch a")
    place.ok("back", f"box@{first}")
    place.sh("box", "echo b > /root/branch; sync")
    b = keep(place, "branch b")
    place.ok("stop", "box")
    cold = keep(place, "branch b, stopped")
    found = {one["id"]: one for one in log(place)}
    parents = {name: found[name].get("parent", "") for name in (first, a, b, cold)}
    claim(parents == {first: "", a: first, b: first, cold: b}, parents)
    claim([one["id"] for one in log(place)] == [cold, b, a, first], "not the newest first")
    claim(found[a]["hasMemory"] and not found[cold].get("hasMemory"), found)
    claim(found[a]["op"].startswith("op-") and found[a]["message"] == "branch a", found[a])
    claim(all(part["digest"].startswith("sha256:") for part in found[a]["parts"]), found[a])
    lines = place.ok("log", "box", "--graph").splitlines()
    claim([line[:2] for line in lines] == ["  ", "  ", "  ", "* "], lines)
    claim(f"├─ {a[:8]}" in lines[1] and f"└─ {b[:8]}" in lines[2], lines)
    claim(f"   └─ {cold[:8]}  disk" in lines[3] and "branch b, stopped" in lines[3], lines)
    for checkpoint, word in ((a, "a"), (cold, "b"), (b, "b"), (a, "a"), (cold, "b")):
        place.ok("back", f"box@{checkpoint}")
        claim(current(place) == checkpoint)
        if checkpoint == cold:
            claim(place.state_of("box") == "STOPPED" and place.vmms() == {}, "it runs")
            place.ok("start", "box")
        claim(place.sh("box", "cat /root/branch") == f"{word}\n", checkpoint)


def shared(place):
    """A second checkpoint of the same run costs what changed, not the whole memory again."""
    place.sh("box", "true")
    keep(place, "again 1")
    first = log(place)[0]
    keep(place, "again 2")
    second = log(place)[0]
    whole = int(first["memoryBytes"])
    claim(int(second["memoryBytes"]) < max(whole, 40 << 20), "no page was shared:",
          first["memoryBytes"], second["memoryBytes"])
    memory = [f"{folder(place, one['id'])}/memory.img" for one in (first, second)]
    claim(os.path.samefile(*memory), "the memory was copied")
    for one in (second, first):
        place.ok("checkpoint", "rm", f"box@{one['id']}")


def exec_refused(place):
    """Not while somebody reads a command in it, unless forced."""
    checkpoint = next(one["id"] for one in log(place) if one["message"] == "branch a")
    reader = place.popen("roost", "exec", "box", "--", "sh", "-c", "echo up; sleep 300",
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    try:
        claim(reader.stdout.readline() == b"up\n")
        pid = place.vmm("box")
        place.fails("back", f"box@{checkpoint}", code=4,
                    words=["1 command in box would be cut off", "--force", "op-"])
        claim(place.vmm("box") == pid and reader.poll() is None, "something was cut off")
        place.ok("back", f"box@{checkpoint}", "--force")
        claim(reader.wait(PATIENCE) != 0, "the command goes on")
    finally:
        reader.kill()
        reader.communicate()
    place.sh("box", "true")


def forked(place):
    """Copies from any node of the tree, each a machine of its own; the VM does not notice."""
    all_of_them = {one["message"]: one for one in log(place)}
    hot, cold = all_of_them["branch a"]["id"], all_of_them["branch b, stopped"]["id"]
    pid = place.vmm("box")
    claim(place.ok("fork", f"box@{hot[:8]}", "--name", "old") == "old\n")
    claim(place.vmm("box") == pid, "the VM is another process")
    claim(place.sh("old", "hostname; cat /root/branch") == "old\na\n")
    same = {left for left, right in zip(identity(place)[4].split("\n"),
                                        identity(place, "old")[4].split("\n"))
            if left and left == right}
    claim(not same, "the copy has the VM's", same)
    place.ok("fork", f"box@{cold}", "--name", "older")
    claim(place.sh("older", "hostname; cat /root/branch") == "older\nb\n")
    claim(place.sh("older", "cat /etc/machine-id") != place.sh("box", "cat /etc/machine-id"))
    place.ok("rm", "-f", "--purge", "older")
    place.ok("stop", "box")
    place.ok("fork", f"box@{hot}", "-n", "2", "--verify")
    claim(place.state_of("box") == "STOPPED")
    place.ok("start", "box")
    place.ok("rm", "-f", "--purge", "box-1", "box-2")
    claim(not os.listdir(f"{place.state}/forks"), "a fork's folder is left")


def removed(place):
    """What children need stays; what nobody needs goes."""
    found = log(place)
    middle = next(one for one in found if one["message"] == "branch b")
    place.ok("checkpoint", "rm", f"box@{middle['id'][:8]}")
    after = {one["id"]: one for one in log(place)}
    claim(middle["id"] not in after and not os.path.exists(folder(place, middle["id"])))
    cold = next(one for one in after.values() if one["message"] == "branch b, stopped")
    claim(cold["parent"] == middle["parent"], "its child is nobody's:", cold)
    place.ok("back", f"box@{cold['id']}")
    place.ok("start", "box")
    claim(place.sh("box", "cat /root/branch") == "b\n")
    for one in log(place):
        place.ok("checkpoint", "rm", f"box@{one['id']}")
    claim(log(place) == [] and place.json("get", "box").get("checkpoint", "") == "")
    claim(place.sh("box", "cat /root/branch") == "b\n", "the VM lost its disk")
    place.ok("restart", "box")
    claim(place.sh("box", "cat /root/branch") == "b\n", "the VM lost its disk")
    left = os.listdir(os.path.dirname(folder(place, "x")))
    claim(not left, "folders are left:", left)
    # The copy has all that it needs.
    place.ok("restart", "old")
    claim(place.sh("old", "cat /root/branch") == "a\n")
    place.ok("rm", "-f", "--purge", "old")


def damage(place):
    """A file that is truncated, changed or missing is refused by digest; nothing is dropped."""
    place.sh("box", "echo below > /root/mark; sync")
    keep(place)
    place.sh("box", "echo kept > /root/mark; sync")
    checkpoint = keep(place)
    place.sh("box", "echo after > /root/mark; sync")
    pid, where = place.vmm("box"), folder(place, checkpoint)
    layers = sorted(name for name in os.listdir(where) if name.startswith("root.")
                    and name != "root.qcow2"
                    and not os.path.samefile(f"{where}/{name}", f"{where}/root.qcow2"))
    claim(layers, "the checkpoint stands on nothing:", os.listdir(where))
    for name, harm, words in (
            ("memory.img", change_byte, ["memory", "digest"]),
            ("memory.img", truncate, ["memory", "bytes instead of"]),
            ("memory.img", os.unlink, ["memory"]),
            ("devices.bin", change_byte, ["device state", "digest"]),
            ("root.qcow2", os.unlink, ["disk"]),
            (layers[0], os.unlink, ["disk layer"]),
            ("machine.json", garble, ["manifest"]),
            ("machine.json", os.unlink, ["manifest"])):
        path, aside = f"{where}/{name}", f"{where}/../aside"
        # Other checkpoints have the same file: only this name gets another one, which is harmed.
        os.rename(path, aside)
        subprocess.run(["cp", "-a", "--sparse=always", aside, path], check=True)
        harm(path)
        kept = sorted(os.listdir(where))
        result = place.fails("back", f"box@{checkpoint}", code=1,
                             words=words + ["nothing was changed", "roost log box", "op-"])
        claim(place.vmm("box") == pid, "the VM is another process:", result)
        claim(place.sh("box", "cat /root/mark") == "after\n", result)
        claim(sorted(os.listdir(where)) == kept, "something was dropped", result)
        fork = place("fork", f"box@{checkpoint}", "--name", "bad")
        claim(fork.code != 0 and place("get", "bad").code == 3, fork)
        if harm is not os.unlink:
            os.unlink(path)
        os.rename(aside, path)
    place.ok("back", f"box@{checkpoint}")
    claim(place.sh("box", "cat /root/mark") == "kept\n")


def bad_input(place):
    checkpoint = current(place)
    refused = [
        (["back", "box"], 2, ["names no checkpoint", "roost log box"]),
        (["back", "box@"], 2, ["is not VM or VM@CHECKPOINT"]),
        (["back", "box@abc"], 2, ["4 to 32 hexadecimal digits"]),
        (["back", "box@zzzz"], 2, ["4 to 32 hexadecimal digits"]),
        (["back", "box@0000000000000000"], 3, ["has no checkpoint", "roost log box"]),
        (["back", "nobody@1a2b"], 3, ["no VM 'nobody'"]),
        (["checkpoint", "rm", "box@0000000000000000"], 3, ["has no checkpoint"]),
        (["checkpoint", "nobody"], 3, ["no VM 'nobody'"]),
        (["checkpoint", "box", "-m", "a\nb"], 2, ["message", "one line"]),
        (["checkpoint", "box", "-m", "a" * 1025], 2, ["message", "1024"]),
        (["fork", "box@0000000000000000"], 3, ["has no checkpoint"]),
        (["log", "nobody"], 3, ["no VM 'nobody'"]),
    ]
    before = log(place)
    for words, code, said in refused:
        place.fails(*words, code=code, words=said)
    # The ids of these are random: the server is asked for a prefix that two have.
    many = [keep(place) for _ in range(3)]
    claim(len(set(many)) == 3)
    place.ok("suspend", "box")
    for words in (["checkpoint", "box"], ["back", f"box@{checkpoint}"]):
        place.fails(*words, code=4, words=["box", "SUSPENDED", "roost start box"])
    place.ok("start", "box")
    place.ok("back", f"box@{checkpoint}")
    for one in many:
        place.ok("checkpoint", "rm", f"box@{one}")
    claim([one["id"] for one in log(place)] == [one["id"] for one in before])


def paused(place):
    """Kept as it stands, and it stands still afterwards; the way back runs."""
    boot = place.sh("box", BOOT)
    place.sh("box", "echo paused > /root/mark; sync")
    place.ok("exec", "-d", "box", "--", "sh", "-c", COUNTER)
    until(lambda: count(place) > 3, 10, "the counter")
    place.ok("pause", "box")
    kept = keep(place, "paused")
    found = log(place)[0]
    claim(found["id"] == kept and found["hasMemory"], found)
    claim(place.state_of("box") == "PAUSED" and len(place.vmms()) == 1, place.vmms())
    place.kill_daemon()
    claim(place.state_of("box") == "PAUSED", "the next daemon lets it run")
    place.ok("resume", "box")
    at = count(place)
    until(lambda: count(place) > at + 100, 120, "the counter to go on")
    place.sh("box", "echo later > /root/mark; sync")
    place.ok("back", f"box@{kept}")
    claim(count(place) < at + 100 and place.sh("box", BOOT) == boot, "the memory is not back")
    claim(place.sh("box", "cat /root/mark") == "paused\n")
    place.ok("fork", f"box@{kept}", "--name", "twin", "--verify")
    claim(place.sh("twin", "cat /root/mark; hostname") == "paused\ntwin\n")
    place.ok("rm", "-f", "--purge", "twin")
    place.ok("checkpoint", "rm", f"box@{kept}")


def spec_of_then(place):
    """Back is the machine of then: cores, memory and disk too, whatever the VM was given since. What is
    the VM's, as ports and labels, stays."""
    checkpoint = keep(place, "192 MiB")
    then = place.json("get", "box")["spec"]
    place.ok("kill", "box")
    place.ok("set", "box", "-m", "256", "-c", "2")
    place.ok("start", "box")
    larger = place.json("get", "box")["spec"]
    claim(larger["memory"] != then["memory"] and place.sh("box", "nproc") == "2\n", larger)
    place.ok("back", f"box@{checkpoint}")
    claim(place.json("get", "box")["spec"] == then, place.json("get", "box")["spec"], then)
    claim(place.sh("box", "nproc") == "1\n")
    kept = int(place.sh("box", "awk '/MemTotal/ {print $2}' /proc/meminfo"))
    claim(kept < 200 << 10, "it has", kept, "KiB")
    # Also of one that is stopped, and a boot is one of that machine.
    place.ok("kill", "box")
    place.ok("set", "box", "-m", "256")
    place.ok("back", f"box@{checkpoint}")
    claim(place.json("get", "box")["spec"] == then)
    place.ok("restart", "box")
    claim(int(place.sh("box", "awk '/MemTotal/ {print $2}' /proc/meminfo")) < 200 << 10)
    place.ok("back", f"box@{checkpoint}")
    place.ok("checkpoint", "rm", f"box@{checkpoint}")


def left_over(place):
    """What a fork left that nobody asks for goes when the daemon begins."""
    stray = f"{place.state}/forks/{new_id()}"
    os.mkdir(stray)
    with open(f"{stray}/devices.bin", "wb") as file:
        file.write(b"x" * 4096)
    place.kill_daemon()
    place.sh("box", "true")
    claim(os.listdir(f"{place.state}/forks") == [], os.listdir(f"{place.state}/forks"))


def repeated(place):
    """The same op id keeps one moment, and goes back once."""
    op = new_id()
    service = "roost.compute.v1.CheckpointService"
    answers = [place.rpc(f"{service}/CreateCheckpoint", {"id": "box", "message": "m"}, op=op)
               for _ in range(2)]
    claim(all(status == 200 for status, _ in answers), answers)
    claim(answers[0][1]["id"] == answers[1][1]["id"], answers)
    claim(len([one for one in log(place) if one["op"] == op]) == 1)
    status, other = place.rpc(f"{service}/CreateCheckpoint", {"id": "box"}, op=op)
    claim(status == 409, status, other)
    op = new_id()
    body = {"id": "box", "checkpoint": answers[0][1]["id"]}
    claim(place.rpc(f"{service}/RevertVM", body, op=op)[0] == 200)
    pid = place.vmm("box")
    claim(place.rpc(f"{service}/RevertVM", body, op=op)[0] == 200 and place.vmm("box") == pid)


def across_daemons(place):
    """Kept under one daemon, gone back to under the next; then the host's daemon dies at once."""
    boot = place.sh("box", BOOT)
    place.sh("box", "echo here > /root/mark; sync")
    checkpoint = keep(place)
    place.sh("box", "echo there > /root/mark; sync")
    place.kill_daemon()
    place.ok("back", f"box@{checkpoint}")
    pid = place.vmm("box")
    place.kill_daemon()
    claim(place.vmm("box") == pid and place.sh("box", BOOT) == boot)
    claim(place.sh("box", "cat /root/mark") == "here\n")
    second = keep(place)
    place.kill_daemon()
    place.ok("back", f"box@{second}")
    claim(place.sh("box", "cat /root/mark; " + BOOT) == f"here\n{boot}")


def killed_meanwhile(place):
    """The daemon dies at whatever moment of it: the same request under the same id ends as if nothing
    had happened, once."""
    checkpoint, boot = current(place), place.sh("box", BOOT)
    for words in (["back", f"box@{checkpoint}"], ["checkpoint", "box"]):
        for wait in (0.02, 0.05, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4):
            place.sh("box", "echo now > /root/mark; sync")
            op = new_id()
            client = place.popen("roost", *words, "--op-id", op, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
            time.sleep(0.05 + wait)
            place.kill_daemon()
            client.wait(PATIENCE)
            place.ok(*words, "--op-id", op)
            wanted = "here" if words[0] == "back" else "now"
            claim(place.sh("box", f"cat /root/mark; {BOOT}") == f"{wanted}\n{boot}")
            claim(len(place.vmms()) == 1, place.vmms())
    known = sorted(one["id"] for one in log(place))
    found = sorted(os.listdir(os.path.dirname(folder(place, "x"))))
    claim(found == known, "the folders are", found, "and the log says", known)
    claim(place.ok("doctor", "--leaks").strip() == "no leaks")
    place.ok("back", f"box@{checkpoint}")


def trash(place):
    """Deleted with its VM, brought back with it, purged with it."""
    boot, checkpoint = place.sh("box", BOOT), current(place)
    kept = len(log(place))
    vm = place.json("get", "box")["id"]
    place.ok("rm", "-f", "box")
    claim(os.path.isdir(f"{place.state}/trash/{vm}/checkpoints/{checkpoint}"))
    place.ok("undelete", "box")
    claim(len(log(place)) == kept)
    place.ok("back", f"box@{checkpoint}")
    claim(place.sh("box", BOOT) == boot)
    place.ok("rm", "-f", "--purge", "box")
    claim(os.listdir(f"{place.state}/vms") == [] and os.listdir(f"{place.state}/trash") == [])
    claim(place.memory_files() == [], place.memory_files())


def checks(runner, place):
    runner.check("a running VM comes back to its checkpoint, the same machine", running, place)
    runner.check("a VM that goes back twice is not the same twice", unlike, place)
    runner.check("checkpoints are a tree, shown and gone about", tree, place)
    runner.check("checkpoints of one run share their memory", shared, place)
    runner.check("back is refused while a command runs, and forced", exec_refused, place)
    runner.check("fork makes machines of any checkpoint", forked, place)
    runner.check("a checkpoint that goes takes nothing from the others", removed, place)
    runner.check("a damaged checkpoint is refused, and nothing is dropped", damage, place)
    runner.check("checkpoints refuse what cannot be, and say why", bad_input, place)
    runner.check("a paused VM is kept, and stays paused", paused, place)
    runner.check("back is the machine of then, and the VM of now", spec_of_then, place)
    runner.check("what forks left is swept by the next daemon", left_over, place)
    runner.check("a repeated checkpoint is one, a repeated way back too", repeated, place)
    runner.check("checkpoints outlive the daemon", across_daemons, place)
    runner.check("a daemon that dies in the middle leaves the old or the new", killed_meanwhile,
                 place)
    runner.check("checkpoints go to the trash and back with their VM", trash, place)
    runner.check("a place is empty after its checkpoints are removed", place.clear)
