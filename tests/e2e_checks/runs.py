"""`roost run`: one command in a machine of its own."""

import json
import signal

from harness import PATIENCE, claim, until
from terminal import Terminal


def nothing_stays(place):
    vms = [vm for vm in json.loads(place.ok("ls", "-o", "json"))]
    claim(vms == [], "VMs are left:", [vm["name"] for vm in vms])
    claim(place.vmms() == {}, "QEMU is left:", place.vmms())
    # A template that begins to be made has its memory a moment before its process.
    until(lambda: not place.memory_files(), 2, "the memory files' end", 0.02)


def output(place):
    out = place.ok("run", "--", "cat", "/etc/os-release")
    claim("ID=roost-tiny" in out, "it wrote", out)
    nothing_stays(place)


def apart(place):
    result = place("run", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    claim(result.code == 7 and result.out == "out\n" and result.err == "err\n", result)
    nothing_stays(place)


def half_close(place):
    out = place.ok("run", "--", "wc", "-c", input="hello\n")
    claim(out.strip() == "6", out)


def unknown_command(place):
    place.fails("run", "--", "no-such-command", code=127, words=["no-such-command"])
    place.fails("run", "--", "/etc", code=126, words=["/etc"])
    nothing_stays(place)


def dies_by_signal(place):
    result = place("run", "--", "sh", "-c", "kill -TERM $$")
    claim(result.code == 128 + signal.SIGTERM, result)


def surroundings(place):
    out = place.ok(
        "run", "-e", "COLOUR=slate blue", "-w", "/tmp", "-u", "nobody", "--",
        "sh", "-c", 'echo "$COLOUR"; pwd; id -un',
    )
    claim(out == "slate blue\n/tmp\nnobody\n", repr(out))


def terminal(place):
    tty = Terminal(place, "run", "-it", "--", "sh", rows=31, columns=97)
    try:
        tty.expect("# ", 180)
        tty.type("tty; stty size\n")
        tty.expect("/dev/pts/")
        tty.expect("31 97")
        tty.resize(40, 120)
        tty.process.send_signal(signal.SIGWINCH)
        # The guest sees it a moment later; asking again is what a person would do.
        tty.type("until stty size | grep '40 120'; do sleep 0.1; done\n")
        tty.expect("40 120\r\n")
        # Its first word comes from the command itself, so that Ctrl-C does not meet the shell.
        tty.type("sh -c 'echo be''gun; exec sleep 1000'\n")
        tty.expect("begun")
        tty.type("\x03")
        tty.expect("# ")
        tty.type("echo status=$?\n")
        tty.expect("status=130")
        tty.type("exit 5\n")
        code = tty.end()
        claim(code == 5, "the shell's code is", code)
    finally:
        tty.close()
    nothing_stays(place)


def killed_client(place):
    """SIGKILL gives the client no chance to remove its VM: the daemon must."""
    process = place.popen("roost", "run", "--", "sleep", "1000")
    vm = until(lambda: place.vmms(), 60, "the VM's process")
    until(lambda: [one for one in place.json("ls") if one["status"]["state"] == "RUNNING"],
          180, "the VM to run")
    name = place.json("ls")[0]["name"]
    until(lambda: place("exec", name, "--", "pidof", "sleep").code == 0, 10, "the command to run")
    process.kill()
    process.wait()
    return vm


def gone_by_itself(place):
    until(lambda: place.vmms() == {}, 45, "the VM's end")
    until(lambda: place.json("ls") == [], 5, "the VM's row to go")
    nothing_stays(place)


def interrupted(place):
    process = place.popen("roost", "run", "--", "sleep", "1000")
    until(lambda: [one for one in place.json("ls") if one["status"]["state"] == "RUNNING"],
          180, "the VM to run")
    name = place.json("ls")[0]["name"]
    until(lambda: place("exec", name, "--", "pidof", "sleep").code == 0, 10, "the command to run")
    process.send_signal(signal.SIGINT)
    code = process.wait(PATIENCE)
    claim(code == 130, "its status is", code)
    nothing_stays(place)


def checks(runner, place, who):
    runner.check(f"run writes what its command writes, and its VM is gone afterwards{who}",
                 output, place)
    runner.check(f"run keeps stdout and stderr apart and ends with the guest's code{who}",
                 apart, place)
    runner.check(f"run hands stdin on and its end too{who}", half_close, place)
    runner.check(f"run -it is a terminal with its size, resize and Ctrl-C{who}", terminal, place)
    if who:
        return
    runner.check("run of an unknown command ends with 127 and leaves nothing",
                 unknown_command, place)
    runner.check("run of a command that a signal ends says 128 and the signal",
                 dies_by_signal, place)
    runner.check("run takes variables, a directory and a user", surroundings, place)
    runner.check("Ctrl-C ends run with 130 and its VM with it", interrupted, place)
