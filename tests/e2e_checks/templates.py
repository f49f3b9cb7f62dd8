"""Clones, and the templates that people make."""

import json
import os
import subprocess

from forks import KEYGEN
from harness import claim, new_id

BOOT = "cat /proc/sys/kernel/random/boot_id"
WHO = ("cat /etc/machine-id; hostname; cat /etc/ssh/ssh_host_test_key; "
       "cat /sys/class/net/eth0/address")


def disk(place, vm):
    return f"{place.state}/vms/{place.json('get', vm)['id']}/root.qcow2"


def chain(path):
    """The files that a disk stands on, itself first."""
    done = subprocess.run(["qemu-img", "info", "-U", "--backing-chain", "--output=json", path],
                          check=True, stdout=subprocess.PIPE)
    return [one["filename"] for one in json.loads(done.stdout)]


def clones(place):
    """Linked and whole: the same content, apart from then on, and each its own machine."""
    place.run_box("box", "-p", "18476:80")
    place.sh("box", KEYGEN)
    place.sh("box", "echo base > /root/mark; dd if=/dev/urandom of=/root/bytes bs=1M count=8; sync")
    digest = place.sh("box", "sha256sum < /root/bytes")
    who = [place.sh("box", WHO)]
    place.ok("stop", "box")
    claim(place.ok("clone", "box", "linked") == "linked\n")
    place.ok("clone", "box", "whole", "--full")
    for vm in ("box", "linked", "whole"):
        claim(place.state_of(vm) == "STOPPED", vm, place.json("get", vm))
    claim(len(chain(disk(place, "whole"))) == 1, chain(disk(place, "whole")))
    claim(len(chain(disk(place, "linked"))) == 3, chain(disk(place, "linked")))
    written = os.stat(disk(place, "whole")).st_blocks * 512
    claim(8 << 20 < written < 256 << 20, f"the whole clone takes {written >> 20} MiB")
    claim(os.stat(disk(place, "linked")).st_blocks * 512 < 1 << 20, "the linked one is no overlay")
    place.ok("rm", "-f", "--purge", "box")
    for vm in ("linked", "whole"):
        place.ok("start", vm)
        claim(place.sh(vm, "cat /root/mark; sha256sum < /root/bytes") == f"base\n{digest}", vm)
        place.sh(vm, f"echo {vm} > /root/mark; sync")
        who.append(place.sh(vm, WHO))
    for lines in zip(*(one.splitlines() for one in who)):
        claim(len(set(lines)) == 3, "shared by clones:", lines)
    claim(place.sh("linked", "cat /root/mark") == "linked\n", "they write to one disk")
    claim(place.json("get", "linked")["spec"]["ports"][0]["hostPort"] != 18476)


def of_checkpoints(place):
    """The disk of then, while the VM runs on."""
    kept = place.ok("checkpoint", "linked").strip()
    place.sh("linked", "echo later > /root/mark; sync")
    place.ok("clone", f"linked@{kept[:8]}", "then")
    place.ok("clone", f"linked@{kept[:8]}", "then-whole", "--full")
    place.ok("checkpoint", "rm", f"linked@{kept[:8]}")
    for vm in ("then", "then-whole"):
        place.ok("start", vm)
        claim(place.sh(vm, "cat /root/mark") == "linked\n", vm)
    claim(place.sh("linked", "cat /root/mark") == "later\n")
    place.ok("rm", "-f", "--purge", "then", "then-whole")


def refusals(place):
    vms = place.ok("ls", "-a", "-q")
    for arguments, words in [
        (["clone", "linked", "x"], ["RUNNING", "roost fork linked",
                                    "roost checkpoint linked", "roost stop linked"]),
        (["clone", "nobody", "x"], ["no VM 'nobody'"]),
        (["clone", "linked@ffff", "x"], ["no checkpoint 'ffff'"]),
        (["clone", "linked@ffff", "Not_a_name"], ["DNS label"]),
        (["template", "create", "t", "--from", "linked"], ["RUNNING", "linked@CHECKPOINT"]),
        (["template", "rm", "nothing"], ["no template 'nothing'", "roost template ls"]),
        (["run", "--template", "nothing", "--", "true"], ["no template 'nothing'"]),
        (["run", "tiny", "--template", "t", "--", "true"], ["not both"]),
    ]:
        result = place(*arguments)
        claim(result.code != 0, arguments, result)
        for word in words:
            claim(word in result.err, f"no {word!r} in", arguments, result)
    claim(place.ok("ls", "-a", "-q") == vms, "a refused clone left a VM")
    claim(not os.listdir(f"{place.state}/forks"), "a folder of a fork is left")


def warm(place):
    """A template with memory: what runs from it has not booted, and is a machine of its own."""
    place.ok("rm", "-f", "--purge", "whole")
    place.sh("linked", "echo prepared > /root/mark; echo in-memory > /run/mark; sync")
    boot = place.sh("linked", BOOT)
    kept = place.ok("checkpoint", "linked").strip()
    claim(place.ok("template", "create", "warm", "--from", f"linked@{kept[:8]}") == "warm\n")
    place.ok("rm", "-f", "--purge", "linked")
    claim(place.ok("ls", "-a", "-q").strip() == "", "a template is listed as a VM")
    listed = place.json("template", "ls")
    claim([one["name"] for one in listed] == ["warm"] and listed[0]["hasMemory"], listed)
    out = place.ok("run", "--template", "warm", "--", "sh", "-c",
                   f"cat /root/mark /run/mark; {BOOT}")
    claim(out == f"prepared\nin-memory\n{boot}", out)
    cold = place.ok("run", "--template", "warm", "--no-template", "--", "sh", "-c",
                    f"cat /root/mark; test ! -e /run/mark; {BOOT}")
    claim(cold.startswith("prepared\n") and boot not in cold, cold)
    large = place.ok("run", "--template", "warm", "-m", "256", "--", "sh", "-c",
                     f"cat /root/mark; {BOOT}")
    claim(boot not in large, "another shape went on from the memory", large)
    who = []
    for vm in ("a", "b"):
        place.ok("run", "--template", "warm", "--name", vm, "-d")
        claim(place.sh(vm, BOOT) == boot, vm, "has booted")
        who.append(place.sh(vm, WHO).splitlines())
    claim(all(left != right for left, right in zip(*who)), "they share", who)
    place.sh("a", "echo a > /root/mark; sync")
    claim(place.sh("b", "cat /root/mark") == "prepared\n", "they write to one disk")


def sealed(place):
    """It never changes, and is not removed while a disk lies over it, also one in the trash."""
    found = place.json("template", "ls")[0]
    for arguments in (["start", found["id"]], ["rm", "-f", found["id"]], ["fork", found["id"]],
                      ["set", found["id"], "-m", "1g"], ["checkpoint", found["id"]]):
        result = place(*arguments)
        claim(result.code != 0 and "is a template" in result.err, arguments, result)
    result = place("template", "rm", "warm")
    claim(result.code != 0 and "the disks of a, b lie over the template warm" in result.err, result)
    place.ok("rm", "-f", "--purge", "b")
    place.ok("rm", "-f", "a")
    result = place("template", "rm", "warm")
    claim(result.code != 0 and "the disks of a lie over" in result.err, result)
    place.ok("undelete", "a")
    place.ok("start", "a")
    claim(place.sh("a", "cat /root/mark") == "a\n")
    place.ok("rm", "-f", "--purge", "a")
    vms = os.listdir(f"{place.state}/vms")
    claim(len(vms) == 1, "beside the template there are", vms)
    place.ok("template", "rm", "warm")
    claim(not os.listdir(f"{place.state}/vms"), "bytes of the template are left")
    claim(place.json("template", "ls") == [], "the template is listed")


def from_disk(place):
    """A template of a stopped VM, by an op id that is sent twice; VMs from it boot."""
    place.run_box("box")
    place.sh("box", "echo disk > /root/mark; sync")
    place.ok("stop", "box")
    op, body = new_id(), {"id": "box", "name": "cool"}
    method = "roost.compute.v1.TemplateService/CreateTemplate"
    status, first = place.rpc(method, body, op=op)
    claim(status == 200 and not first.get("hasMemory"), first)
    status, second = place.rpc(method, body, op=op)
    claim(status == 200 and second["id"] == first["id"], second)
    place.ok("rm", "-f", "--purge", "box")
    out = place.ok("run", "--template", "cool", "--", "sh", "-c", "cat /root/mark; hostname")
    claim(out.startswith("disk\n") and "box" not in out, out)
    daemon = place.daemon_pid()
    place.kill_daemon()
    claim(place.json("template", "ls")[0]["name"] == "cool", "the template is gone")
    claim(place.daemon_pid() != daemon)
    place.ok("template", "rm", "cool")


def checks(runner, place):
    runner.check("clones and templates: linked and full clones, apart, and machines of their own",
                 clones, place)
    runner.check("clones and templates: a clone of a checkpoint, while the VM runs on",
                 of_checkpoints, place)
    runner.check("clones and templates refuse what cannot be, and say why", refusals, place)
    runner.check("clones and templates: run --template goes on from the memory", warm, place)
    runner.check("clones and templates: a template is sealed, and kept while in use", sealed, place)
    runner.check("clones and templates: a template of a disk, once for one op id", from_disk, place)
    runner.check("clones and templates: a place is empty afterwards", place.clear)
