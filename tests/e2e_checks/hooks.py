"""What a copy is before anything of the user's runs in it: generation, hooks, and what they see."""

import base64
import re
import threading
import time

from forks import KEYGEN, running
from harness import COMMAND_SECONDS, claim, kill, new_id, until

# A hook that writes down what two machines must not share, as it is before the first user process.
# By the shell alone: eight run at once, and each has a limit of time.
FIRST = """
mkdir -p /etc/roost/on-fork.d; rm -f /etc/roost/on-fork.d/*
cat > /etc/roost/on-fork.d/20-first <<'END'
#!/bin/sh
{
  while read -r what where; do read -r value < $where; echo "$what $value"; done <<'FILES'
random /proc/sys/kernel/random/uuid
machine-id /etc/machine-id
address /sys/class/net/eth0/address
key /etc/ssh/ssh_host_test_key
public-key /etc/ssh/ssh_host_test_key.pub
host-name /proc/sys/kernel/hostname
generation /run/roost/generation
FILES
} > /root/first
date +%s > /root/clock; wc -l < /root/ticks > /root/at
END
cat > /etc/roost/on-fork.d/10-environment <<'END'
#!/bin/sh
env | grep ^ROOST_ > /root/environment; test ! -e /root/first; echo 10 >> /root/order
END
printf '#!/bin/sh\\necho 30 >> /root/order\\n' > /etc/roost/on-fork.d/30-last
printf '#!/bin/sh\\nexit 9\\n' > /etc/roost/on-fork.d/40-not-executable
printf '#!/bin/sh\\nexit 9\\n' > /etc/roost/on-fork.d/.hidden
chmod +x /etc/roost/on-fork.d/*0-[efl]* /etc/roost/on-fork.d/.hidden; sync"""

# It runs in every copy as soon as that may, until it is told that it is enough.
TICKS = "while [ ! -e /root/enough ]; do echo tick; sleep 0.01; done >> /root/ticks"

GENERATION = "cat /run/roost/generation"


def first(place, vm):
    return dict(line.split() for line in place.sh(vm, "cat /root/first").splitlines())


def hook(place, vm, name, *lines):
    """Puts one more hook into a VM."""
    text = "\\n".join(["#!/bin/sh", *lines])
    path = f"/etc/roost/on-fork.d/{name}"
    place.sh(vm, f"printf '{text}\\n' > {path}; chmod +x {path}; sync")


def fork(place, *words):
    """As a command; again when the host kept a hook of `FIRST` from the little that it does for so long
    that it was given up."""
    for _ in range(3):
        result = place("fork", *words)
        if not re.search(r"hook (?!25|99)\S+ did not end within|no time left", result.err):
            break
    return result


def forked(place, *words):
    result = fork(place, *words)
    claim(result.code == 0, "fork", *words, "->", result)
    return result.out


def siblings(place):
    """Eight copies differ in everything before their first user process, and know who they are."""
    place.run_box("box", "-p", "18475:80")
    place.sh("box", KEYGEN + FIRST + f"\n({TICKS}) </dev/null >/dev/null 2>&1 &")
    box = place.json("get", "box")
    parent = place.sh("box", GENERATION).strip()
    claim(len(parent) == 32 and set(parent) <= set("0123456789abcdef"), "generation", parent)
    begun = time.time()
    names = forked(place, "box", "-n", "8").split()
    done = time.time()
    for vm in names:
        # The count stood still while the hook looked, and goes on now. Then it is enough: nine counters
        # keep a host busy.
        place.sh(vm, "until [ $(wc -l < /root/ticks) -gt $(cat /root/at) ]; do sleep 0.1; done;"
                 " touch /root/enough")
    place.sh("box", "touch /root/enough")
    found = {vm: first(place, vm) for vm in names}
    for what in found[names[0]]:
        values = [found[vm][what] for vm in names]
        claim(len(set(values)) == 8, f"siblings share a {what}:", values)
    for vm in names:
        claim(place.sh(vm, GENERATION).strip() == found[vm]["generation"] != parent, vm)
        claim(place.sh(vm, "cat /root/order") == "10\n30\n", "hooks ran otherwise in", vm)
        told = dict(line.split("=") for line in place.sh(vm, "cat /root/environment").split())
        claim(told == {
            "ROOST_OLD_ID": box["id"], "ROOST_NEW_ID": place.json("get", vm)["id"],
            "ROOST_OLD_NAME": "box", "ROOST_NEW_NAME": vm,
            "ROOST_OLD_GENERATION": parent, "ROOST_NEW_GENERATION": found[vm]["generation"],
        }, vm, "was told", told)
        clock = int(place.sh(vm, "cat /root/clock"))
        claim(begun - 2 <= clock <= done + 2, "clock of", vm, clock, "not within", begun, done)
    claim(place.sh("box", GENERATION).strip() == parent, "the source has another generation")
    claim(place("exec", "box", "--", "test", "-e", "/root/first").code == 1, "a hook ran in it")
    stood_still(place, names)
    place.ok("rm", "-f", "--purge", *names[1:])


def stood_still(place, names):
    """No copy's count differs when the hooks look: they all have it as the source left it."""
    counts = {int(place.sh(vm, "cat /root/at")) for vm in names}
    claim(len(counts) == 1, "something ran before the hooks had ended:", counts)


def kinship(place):
    """A copy's copy is told of the copy; a restart has another generation, and runs no hook."""
    claim(forked(place, "box-1", "--name", "grandchild") == "grandchild\n")
    told = place.sh("grandchild", "cat /root/environment")
    claim(f"ROOST_OLD_ID={place.json('get', 'box-1')['id']}" in told, told)
    claim("ROOST_OLD_NAME=box-1" in told, told)
    before = place.sh("grandchild", GENERATION)
    place.ok("restart", "grandchild")
    claim(place.sh("grandchild", GENERATION) != before, "the same generation after a boot")
    claim(place.sh("grandchild", "cat /root/order") == "10\n30\n10\n30\n")
    place.ok("rm", "-f", "--purge", "grandchild", "box-1")


def moments(place):
    """back and suspend change the generation and run no hook; fork box@REF does both."""
    order = place.sh("box", "cat /root/order 2>/dev/null || :")
    place.ok("checkpoint", "box", "-m", "hooks")
    found = place.json("log", "box")
    kept = [one["id"] for one in found][0]
    seen = [place.sh("box", GENERATION)]
    place.ok("back", f"box@{kept[:8]}")
    seen.append(place.sh("box", GENERATION))
    place.ok("suspend", "box")
    place.ok("start", "box")
    seen.append(place.sh("box", GENERATION))
    claim(place.sh("box", "cat /root/order 2>/dev/null || :") == order, "a hook ran")
    forked(place, f"box@{kept[:8]}", "--name", "then")
    seen.append(place.sh("then", GENERATION))
    claim(first(place, "then")["host-name"] == "then")
    claim(len(set(seen)) == 4, "a generation twice:", seen)
    place.ok("rm", "-f", "--purge", "then")


def refusals(place):
    """A hook that refuses, one that cannot be run and one that hangs: no copy, and who it was."""
    vms = place.ok("ls", "-a", "-q")
    box = place.vmm
    for name, lines, words in [
        ("25-refuses", ["echo cannot reach the vault >&2", "exit 3"],
         ["hook 25-refuses ended with status 3", "its last words: cannot reach the vault"]),
        ("25-dies", ["kill -SEGV $$"], ["hook 25-dies was ended by signal 11", "it said nothing"]),
        ("25-hangs", ["echo waiting for the lease", "sleep 1000"],
         ["hook 25-hangs did not end within 10 s", "waiting for the lease"]),
    ]:
        hook(place, "box", name, *lines)
        result = fork(place, "box", "-n", "3")
        claim(result.code != 0, "it was copied", result)
        for word in words + ["/etc/roost/on-fork.d"]:
            claim(word in result.err, f"no {word!r} in", result)
        claim(place.ok("ls", "-a", "-q") == vms, "a refused fork left a VM")
        claim(len(place.vmms()) == running(place), "a refused fork left a process")
        place.sh("box", f"rm /etc/roost/on-fork.d/{name}")
    claim(box("box"), "the source is gone")
    status, answer = refused_by_rpc(place)
    claim(status == 400 and answer["code"] == "failed_precondition", status, answer)
    details = b"".join(base64.b64decode(one["value"] + "==") for one in answer["details"])
    claim(b"HOOK_FAILED" in details and "hook 99-no cannot be run" in answer["message"], answer)
    place.sh("box", "rm /etc/roost/on-fork.d/99-no; true")


def refused_by_rpc(place):
    place.sh("box", "printf 'nonsense' > /etc/roost/on-fork.d/99-no; "
                    "printf '#!/no/such/shell\\n' > /etc/roost/on-fork.d/99-no; "
                    "chmod +x /etc/roost/on-fork.d/99-no")
    return place.rpc("roost.compute.v1.VMService/ForkVM", {"id": "box", "names": ["no"]},
                     op=new_id())


def killed_daemon(place):
    """The daemon dies while a hook runs: the fork comes to its end under the next one."""
    hook(place, "box", "25-slow", "sleep 3")
    before = running(place)
    thread = threading.Thread(target=place, args=("fork", "box", "--name", "slow"), daemon=True)
    thread.start()
    # The copy's process is there, and its hook sleeps.
    until(lambda: len(place.vmms()) > before, 30, "the copy's process")
    kill(place.find_daemon())
    thread.join(COMMAND_SECONDS)
    until(lambda: place("get", "slow").code == 0 and place.state_of("slow") == "RUNNING", 60,
          "the copy runs")
    claim(first(place, "slow")["host-name"] == "slow")
    place.ok("rm", "-f", "--purge", "slow")
    place.sh("box", "rm /etc/roost/on-fork.d/25-slow")


def checks(runner, place):
    runner.check("hooks: eight siblings share nothing before their first user process", siblings,
                 place)
    runner.check("hooks: a copy's copy is told of the copy", kinship, place)
    runner.check("hooks: back, suspend and fork of a checkpoint change the generation", moments,
                 place)
    runner.check("hooks: one that fails or hangs fails the fork and is named", refusals, place)
    runner.check("hooks: a fork whose daemon dies meanwhile comes to its end", killed_daemon, place)
    runner.check("hooks: a place is empty afterwards", place.clear)
