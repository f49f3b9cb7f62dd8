"""Copies of a VM that runs: fork, --verify, bad input, and what is left."""

import json
import os
import subprocess

from dying import HeldAtItsEnd
from harness import Failed, claim, new_id, until

# What runs in the source while it is forked: each line is a number, and random bytes of the kernel.
COUNTER = """
i=0
while :; do
  i=$((i+1)); read -r r < /proc/sys/kernel/random/uuid
  echo "$i $r"; echo "$i $r $(hostname)" >> /root/log
  sleep 0.02
done
"""


# The last line that is whole for certain: of the one that is being written half may be there.
LAST_LINE = "tail -n 2 /root/log | head -n 1"

# Stands for OpenSSH's, which this image does not have: it is called in the same way.
KEYGEN = """
    mkdir -p /etc/ssh /usr/bin
    cat > /usr/bin/ssh-keygen <<'END'
#!/bin/sh
while [ "$1" != -f ]; do shift; done
cat /proc/sys/kernel/random/uuid > "$2"; cat /proc/sys/kernel/random/uuid > "$2.pub"
END
    chmod +x /usr/bin/ssh-keygen; ssh-keygen -q -f /etc/ssh/ssh_host_test_key; sync"""


class Reader:
    """A command that is read all through a fork: its lines must be 1, 2, 3, …"""

    def __init__(self, place, vm):
        self.process = place.popen(
            "roost", "exec", vm, "--", "sh", "-c", COUNTER,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        self.last = 0

    def read(self, count):
        for _ in range(count):
            line = self.process.stdout.readline()
            if not line:
                raise Failed(f"the command's stream ended after {self.last}: {self.error()}")
            number = int(line.split()[0])
            claim(number == self.last + 1, f"after {self.last} came {line!r}")
            self.last = number

    def error(self):
        self.process.kill()
        return self.process.communicate()[1], self.process.returncode

    def end(self):
        self.process.kill()
        self.process.communicate()


def identity(place, vm):
    """What no two machines may share, as a user's command sees it."""
    text = place.sh(vm, "cat /etc/machine-id; hostname; cat /sys/class/net/eth0/address; "
                        "cat /etc/ssh/ssh_host_test_key /etc/ssh/ssh_host_test_key.pub")
    machine, host, ethernet, secret, public = text.split("\n")[:5]
    return {"machine-id": machine, "host name": host, "address": ethernet, "key": secret,
            "public key": public}


def one(place):
    """One copy by name; the source and the command in it do not notice."""
    place.run_box("box", "-p", "18474:80", memory="192")
    place.sh("box", KEYGEN)
    boot = place.sh("box", "cat /proc/sys/kernel/random/boot_id")
    reader = Reader(place, "box")
    try:
        reader.read(20)
        before = place.vmm("box")
        claim(place.ok("fork", "box", "--name", "box2") == "box2\n")
        claim(place.vmm("box") != before, "the source goes on in the same process")
        reader.read(60)
        for vm in ("box", "box2"):
            claim(place.state_of(vm) == "RUNNING", vm, place.json("get", vm))
            claim(place.sh(vm, "cat /proc/sys/kernel/random/boot_id") == boot, vm, "has booted")
        same = {name for name, value in identity(place, "box").items()
                if identity(place, "box2")[name] == value}
        claim(not same, "the copy has the source's", same)
        claim(identity(place, "box2")["host name"] == "box2")
        goes_on(place, "box2")
        reader.read(20)
        # The copy has the source's log no more than its console.
        for vm, is_source in (("box", True), ("box2", False)):
            said = place.ok("logs", "--source", "agent", vm)
            claim(("goes on in another VMM" in said) == is_source, vm, "did not see whose it is", said)
    finally:
        reader.end()


def goes_on(place, vm):
    """The command that ran in the source goes on in the copy."""
    count = LAST_LINE
    first = int(place.sh(vm, count).split()[0])
    until(lambda: int(place.sh(vm, count).split()[0]) > first, 5, f"the counter in {vm}")


def disks(place):
    """Neither sees what the other writes, and each keeps its own over stop, restart and removal."""
    place.sh("box", "echo source > /root/mark; sync")
    place.sh("box2", "test ! -e /root/mark; echo copy > /root/mark; sync")
    place.ok("restart", "box2")
    claim(place.sh("box2", "cat /root/mark; hostname") == "copy\nbox2\n")
    claim(place.sh("box", "cat /root/mark") == "source\n")


def grandchild(place):
    """A copy is forked, and outlives everything that it came from."""
    place.ok("fork", "box", "--name", "child")
    place.ok("fork", "child", "--name", "grandchild")
    place.ok("rm", "-f", "--purge", "child")
    claim(place.sh("grandchild", "cat /root/mark; hostname") == "source\ngrandchild\n")
    place.ok("stop", "grandchild")
    place.ok("start", "grandchild")
    claim(place.sh("grandchild", "cat /root/mark") == "source\n")
    place.ok("rm", "-f", "grandchild")
    place.ok("undelete", "grandchild")
    place.ok("start", "grandchild")
    claim(place.sh("grandchild", "cat /root/mark") == "source\n")
    place.ok("rm", "-f", "--purge", "grandchild", "box2")


def eight(place):
    """Eight copies at once while a command runs; nothing in them went on before its renewal."""
    reader = Reader(place, "box")
    try:
        reader.read(20)
        place.sh("box", "rm -f /root/log; sleep 0.2")
        names = place.ok("fork", "box", "-n", "8", "--verify").split()
        claim(names == [f"box-{number}" for number in range(1, 9)], names)
        reader.read(40)
        vms = ["box", *names]
        found = {vm: identity(place, vm) for vm in vms}
        for what in found["box"]:
            values = [found[vm][what] for vm in vms]
            claim(len(set(values)) == len(vms), f"they share a {what}:", values)
        unlike(place, vms)
    finally:
        reader.end()
    ports = [place.json("get", vm)["spec"]["ports"][0]["hostPort"] for vm in vms]
    claim(len(set(ports)) == len(vms), "they share a host port:", ports)
    # Each draws numbers as fast as it can, beside whatever is checked next; one is enough for that.
    place.ok("rm", "-f", "--purge", *names[:-1])


def unlike(place, vms):
    """The numbers that the same loop drew in each: the first after the fork is different in all."""
    logs = {vm: [line.split() for line in place.sh(vm, "cat /root/log").split("\n")[:-1]]
            for vm in vms}
    last = {vm: max(int(line[0]) for line in lines if line[2] == "box")
            for vm, lines in logs.items() if vm != "box"}
    # Where the fork was: the last number that all copies have in common, under the source's name.
    at = min(last.values())
    drawn = {}
    for vm, lines in logs.items():
        after = [line for line in lines if int(line[0]) > at + 1]
        claim(after, f"nothing went on in {vm}")
        for line in after[:20]:
            other = drawn.setdefault(line[1], vm)
            claim(other == vm, f"{other} and {vm} drew the same number: {line}")


def bad_input(place):
    vms = place.ok("ls", "-a", "-q")
    refused = [
        (["box", "-n", "0"], ["count: 0 is outside 1 … 64"]),
        (["box", "-n", "10000"], ["count: 10000 is outside 1 … 64"]),
        (["box", "--name", "box"], ["a VM named box exists", "choose another name"]),
        (["box", "--name", "a", "--name", "a"], ["names[1]: 'a' is there twice"]),
        (["box", "--name", "Not_a_name"], ["names[0]", "DNS label"]),
        (["box", "-n", "2", "--name", "a"], ["count: 2 copies have 1 names"]),
        (["nobody"], ["no VM 'nobody'"]),
    ]
    for arguments, words in refused:
        result = place("fork", *arguments)
        claim(result.code != 0, arguments, result)
        for word in words:
            claim(word in result.err, f"no {word!r} in", arguments, result)
    for verb, state in (("pause", "PAUSED"), ("resume", None), ("stop", "STOPPED")):
        place.ok(verb, "box-8")
        if state:
            result = place("fork", "box-8")
            claim(result.code != 0 and f"cannot fork box-8: it is {state}" in result.err, result)
    claim(place.ok("ls", "-a", "-q") == vms, "a refused fork left a VM")


def no_room(place):
    """Refused before anything is begun, with the number that fits."""
    vms = place.ok("ls", "-a", "-q")
    pid = place.vmm("box")
    place.ok("run", "--name", "large", "-m", "3g", "-d")
    pid_large = place.vmm("large")
    result = place("fork", "large", "-n", "64")
    words = "there is room for "
    claim(words in result.err and " of 64 copies of large" in result.err, result)
    claim(place.vmm("large") == pid_large and place.vmm("box") == pid, "something was begun")
    place.ok("rm", "-f", "--purge", "large")
    claim(place.ok("ls", "-a", "-q") == vms, "a refused fork left a VM")


def repeated(place):
    """The same op id never forks twice."""
    op = new_id()
    body = {"id": "box", "names": ["again"]}
    status, first = place.rpc("roost.compute.v1.VMService/ForkVM", body, op=op)
    claim(status == 200, first)
    status, second = place.rpc("roost.compute.v1.VMService/ForkVM", body, op=op)
    claim(status == 200 and second["vms"][0]["id"] == first["vms"][0]["id"], second)
    status, other = place.rpc(
        "roost.compute.v1.VMService/ForkVM", {"id": "box", "names": ["other"]}, op=op)
    claim(status == 409, status, other)
    place.ok("rm", "-f", "--purge", "again")


def failed_renewal(place):
    """Keys that cannot be made anew: no copy, and the source goes on."""
    vms = place.ok("ls", "-a", "-q")
    place.sh("box", "printf '#!/bin/sh\\nexit 1\\n' > /usr/bin/ssh-keygen")
    result = place("fork", "box", "-n", "3")
    claim(result.code != 0, result)
    claim(place.ok("ls", "-a", "-q") == vms, "a failed fork left a VM")
    claim(len(place.vmms()) == running(place), "a failed fork left a process")
    place.sh("box", "true")


def running(place):
    return len([vm for vm in json.loads(place.ok("ls", "-o", "json"))
                if vm["status"]["state"] == "RUNNING"])


def slow_to_end(place):
    """The daemon is killed while the kernel still clears a fork's source away: what went on is the VM."""
    # Without ports: those are not published before the source is gone.
    place.run_box("slow")
    place.ok("exec", "-d", "slow", "--", "sh", "-c", COUNTER)
    boot = place.sh("slow", "cat /proc/sys/kernel/random/boot_id")
    count = LAST_LINE
    with HeldAtItsEnd(place.vmm("slow")) as source:
        place.ok("fork", "slow", "--name", "late")
        goes_on(place, "slow")
        written = int(place.sh("slow", count).split()[0])
        claim(source.was_killed(), "the source does not take long to end: nothing was tried")
        place.kill_daemon()
        claim(place.state_of("slow") == "RUNNING", place.json("get", "slow"))
        claim(place.sh("slow", "cat /proc/sys/kernel/random/boot_id") == boot, "it has booted")
        claim(int(place.sh("slow", count).split()[0]) >= written, "it went back in time")
    claim(place.state_of("late") == "RUNNING", place.json("get", "late"))
    for vm in ("slow", "late"):
        place.ok("rm", "-f", "--purge", vm)


def nothing_left(place):
    forks = os.listdir(f"{place.state}/forks")
    claim(not forks, "folders of forks are left:", forks)


def checks(runner, place):
    runner.check("fork makes a copy, and source, command and copy go on", one, place)
    runner.check("forked disks are apart", disks, place)
    runner.check("fork of a fork outlives what it came from", grandchild, place)
    runner.check("fork -n 8 --verify: eight identities, and no number drawn twice", eight, place)
    runner.check("fork refuses what cannot be, and says why", bad_input, place)
    runner.check("fork refuses what does not fit, with the number that does", no_room, place)
    runner.check("a repeated fork is the same fork", repeated, place)
    runner.check("a fork whose source is slow to end goes on through kill -9 of the daemon", slow_to_end,
                 place)
    runner.check("a fork whose renewal fails leaves nothing", failed_renewal, place)
    runner.check("forks leave no folder", nothing_left, place)
    runner.check("a place is empty after its forks are removed", place.clear)
