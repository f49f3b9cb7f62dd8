"""Commands, files, logs and streams of a running VM."""

import base64
import json
import os
import re
import stat
import subprocess
import time

from harness import PATIENCE, claim, new_id, resident_mib, until

GIB = 1 << 30


def begin(place):
    """These checks need a VM that runs, whatever happened to it before."""
    names = [vm["name"] for vm in place.json("ls")]
    if "box" not in names:
        place.run_box()
    elif place.state_of("box") != "RUNNING":
        place.ok("start", "box")


def codes(place):
    claim(place("exec", "box", "--", "sh", "-c", "exit 42").code == 42)
    place.fails("exec", "box", "--", "no-such-command", code=127)
    place.fails("exec", "no-such-vm", "--", "true", code=125, words=["no-such-vm"])
    result = place("exec", "--timeout", "1s", "box", "--", "sleep", "60")
    claim(result.code in (124, 137, 143), result)
    pair = place("exec", "box", "--", "sh", "-c", "echo a; echo b >&2")
    claim((pair.out, pair.err) == ("a\n", "b\n"), pair)


def copies_file(place):
    local = f"{place.bench.base}/one file"
    with open(local, "wb") as file:
        file.write(bytes(range(256)) * 4000)
    os.chmod(local, 0o640)
    place.ok("cp", local, "box:/root/copy")
    line = place.sh("box", "stat -c '%a %s' /root/copy; sha256sum < /root/copy").split()
    wanted = subprocess.run(["sha256sum", local], check=True, capture_output=True)
    claim(line[:2] == ["640", "1024000"], line)
    claim(line[2] == wanted.stdout.decode().split()[0], "the bytes differ")
    back = f"{place.bench.base}/back"
    place.ok("cp", "box:/root/copy", back)
    with open(local, "rb") as left, open(back, "rb") as right:
        claim(left.read() == right.read(), "the bytes differ on the way back")
    claim(stat.S_IMODE(os.stat(back).st_mode) == 0o640, oct(os.stat(back).st_mode))
    place.fails("cp", "box:/root/nothing", back, code=3, words=["/root/nothing"])


def copies_tree(place):
    tree = f"{place.bench.base}/tree"
    os.makedirs(f"{tree}/deep/er")
    for name, mode in (("run me", 0o755), ("deep/secret", 0o600), ("deep/er/plain", 0o644)):
        with open(f"{tree}/{name}", "w", encoding="utf-8") as file:
            file.write(name)
        os.chmod(f"{tree}/{name}", mode)
    os.symlink("deep/secret", f"{tree}/link")
    os.symlink("/no/where", f"{tree}/dangling")
    place.ok("cp", tree, "box:/srv")
    # /srv is there or not, as the image has it: then the tree is in it, or has its name.
    seen = place.sh("box", "cd /srv && [ -d tree ] && cd tree; pwd; stat -c '%a' 'run me'"
                    " deep/secret; readlink link; readlink dangling; cat deep/er/plain")
    folder, *seen = seen.splitlines()
    claim(seen == ["755", "600", "deep/secret", "/no/where", "deep/er/plain"], seen)
    back = f"{place.bench.base}/tree-back"
    place.ok("cp", f"box:{folder}", back)
    claim(os.readlink(f"{back}/link") == "deep/secret", os.listdir(back))
    claim(stat.S_IMODE(os.stat(f"{back}/deep/secret").st_mode) == 0o600)
    claim(stat.S_IMODE(os.stat(f"{back}/run me").st_mode) == 0o755)
    stream = place("cp", f"box:{folder}", "-")
    claim(stream.code == 0 and b"ustar" in stream.raw[:512], stream.err)
    listing = subprocess.run(["tar", "-tf", "-"], input=stream.raw, check=True, capture_output=True)
    claim(b"deep/er/plain" in listing.stdout, listing.stdout)
    place.ok("cp", "-", "box:/opt", input=stream.raw)
    claim("plain" in place.sh("box", "find /opt -name plain"))


def follows_logs(place):
    log = place.popen("roost", "logs", "-f", "--tail", "1", "--source", "console", "box",
                      stdout=subprocess.PIPE)
    try:
        os.set_blocking(log.stdout.fileno(), False)
        seen = b""
        for word in ("first-word", "second-word"):
            place.sh("box", f"echo {word} > /dev/ttyS0")
            def comes(wanted=word.encode()):
                nonlocal seen
                seen += log.stdout.read() or b""
                return wanted in seen
            until(comes, 60, f"{word} on the console", 0.05)
    finally:
        log.kill()
        log.wait()
        log.stdout.close()
    claim("roost: started" in place.ok("logs", "--source", "vmm", "box"))


def keeps_what_detached_commands_say(place):
    """Their lines are read with no client, no daemon and no guest that runs."""
    place.ok("exec", "-d", "box", "--", "sh", "-c", "echo out-line; echo err-line >&2; printf last")
    lines = ["out-line", "err-line", "last"]
    claim(until(lambda: sorted(place.ok("logs", "--source", "app", "box").split()) == sorted(lines),
                20, "the lines of a detached command"))
    claim(place.ok("logs", "box").splitlines() == place.ok("logs", "--source", "app",
                                                           "box").splitlines())
    times = place.ok("logs", "-t", "--source", "app", "box").splitlines()
    claim(all(re.fullmatch(r"20\d\d-\d\d-\d\dT[0-9:]+\.\d{9}Z \S+", line) for line in times), times)
    claim(place.ok("logs", "--tail", "1", "box") == place.ok("logs", "box").splitlines()[-1] + "\n")
    kernel = place.ok("logs", "--source", "kernel", "box")
    claim("Linux version" in kernel and "[    0.000000]" in kernel, kernel[:300])
    place.sh("box", "echo '<3>from the guest' > /dev/kmsg")
    claim(until(lambda: "from the guest" in place.ok("logs", "--source", "kernel", "box"), 10,
                "a message of the kernel's"))
    agent = [json.loads(line) for line in place.ok("logs", "--source", "agent", "box").splitlines()]
    claim(agent and all(line["process"] == "roost-agent" for line in agent), agent)
    place.fails("logs", "-t", "--source", "console", "box", code=2, words=["timestamps", "console"])
    # By its agent, whose lines are looked for, and not because its time was up.
    place.ok("stop", "-t", "150s", "box")
    stopped = json.loads(place.ok("ops", "ls", "--vm", "box", "-o", "json"))[0]
    claim(sorted(place.ok("logs", "box").split()) == sorted(lines), "gone with the guest")
    agent = [json.loads(line) for line in place.ok("logs", "--source", "agent", "box").splitlines()]
    claim([line for line in agent if line.get("op_id") == stopped["id"]], agent)
    place.ok("start", "box")


def slow_reader(place):
    """1 GiB through a reader that pauses: nobody on the way may hold it."""
    daemon = place.daemon_pid()
    reader = place.popen(
        "roost", "exec", "box", "--", "sh", "-c", "head -c 1073741824 /dev/zero",
        stdout=subprocess.PIPE,
    )
    try:
        taken, largest = 0, {"daemon": 0, "client": 0}
        begun = time.monotonic()
        pauses = [0, GIB // 4, GIB // 2]
        while True:
            piece = os.read(reader.stdout.fileno(), 1 << 20)
            if not piece:
                break
            taken += len(piece)
            if pauses and taken > pauses[0]:
                pauses.pop(0)
                # Long enough that a sender without flow control would run far ahead.
                time.sleep(1)
            if taken % (64 << 20) < len(piece):
                largest["daemon"] = max(largest["daemon"], resident_mib(daemon))
                largest["client"] = max(largest["client"], resident_mib(reader.pid))
        claim(reader.wait(PATIENCE) == 0, "exec ended with", reader.returncode)
        claim(taken == GIB, f"{taken} bytes came")
        took = time.monotonic() - begun
        print(f"     1 GiB in {took:.0f} s; daemon {largest['daemon']:.0f} MiB, "
              f"client {largest['client']:.0f} MiB resident", flush=True)
        claim(largest["daemon"] < 200 and largest["client"] < 150, largest)
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()


def one_run_an_id(place):
    """A command sent twice under one id runs once."""
    script = "echo ran >> /root/runs; until [ -e /root/go ]; do sleep 0.1; done; cat /root/runs"
    words = ["exec", "--op-id", new_id(), "box", "--", "sh", "-c", script]
    first = place.popen("roost", *words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL)
    until(lambda: place("exec", "box", "--", "test", "-e", "/root/runs").code == 0, 10, "the run")
    second = place.popen("roost", *words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    # Attaching takes the stream over from whoever had it: its end shows that the repeat is there.
    out = first.communicate(timeout=PATIENCE)[0]
    claim(first.returncode != 0 and out == b"", first.returncode, out)
    place.sh("box", "touch /root/go")
    out, err = second.communicate(timeout=PATIENCE)
    claim(second.returncode == 0 and out == b"ran\n", second.returncode, out, err)
    third = place(*words)
    claim(place.sh("box", "cat /root/runs") == "ran\n", "a late repeat ran again:", third)


def reasons(error):
    """The details of a Connect error as one text."""
    pieces = [base64.b64decode(one["value"] + "==") for one in error["details"]]
    return b" ".join(pieces).decode(errors="replace")


def one_create_an_id(place):
    op = new_id()
    body = {"name": "twice", "spec": {"cpu": {"cores": 1}, "memory": {"sizeMib": 192}}}
    method = "roost.compute.v1.VMService/CreateVM"
    first = place.rpc(method, body, op)
    again = place.rpc(method, body, op)
    claim(first[0] == 200 and again[0] == 200, first, again)
    claim(first[1]["id"] == again[1]["id"], first[1]["id"], again[1]["id"])
    other = place.rpc(method, dict(body, name="thrice"), op)
    claim(other[0] == 409 and other[1]["code"] == "already_exists", other)
    claim("OP_ID_REUSED" in reasons(other[1]), other)
    claim([vm["name"] for vm in place.json("ls")].count("thrice") == 0)
    place.ok("rm", "--purge", "twice")


def trail(place):
    """Who ran what in a guest is in the audit trail with the words, and so are copies and refusals."""
    place.ok("exec", "box", "--", "echo", "a word")
    place.ok("cp", "/etc/hostname", "box:/root/audited")
    place("exec", "nobody", "--", "true")
    place("image", "rm", "nobody-has-it")
    place.ok("node", "cordon", own_node(place), "--reason", "for the trail")
    place.ok("node", "uncordon", own_node(place))

    def rows():
        return [(row["method"].split("/")[1], row.get("detail", ""), row.get("refusal", ""))
                for row in place.json("audit", "--since", "1h")]

    wanted = [("Exec", "echo a word", ""), ("CopyIn", "/root/audited", ""),
              ("Exec", "", "VM_NOT_FOUND"), ("DeleteImage", "", "IMAGE_NOT_FOUND")]
    until(lambda: all(row in rows() for row in wanted), PATIENCE, f"{wanted} in the trail")
    claim(("CreateVM", "", "") in rows(), rows())
    own = [row["method"].split("/")[1] for row in place.json("audit", "--subject", own_node(place))]
    claim(own == ["CordonNode", "UncordonNode"], own)
    page = "roost.ops.v1.AuditService/ListAudit"
    for body, field in (({"pageSize": 5000}, "page_size"), ({"pageToken": "a b"}, "page_token"),
                        ({"subject": "x" * 300}, "subject")):
        status, answer = place.rpc(page, body)
        claim(status == 400 and field in json.dumps(answer), body, answer)


def own_node(place):
    return place.json("node", "ls")[0]["name"]


def short(runner, place):
    runner.check("an ordinary user's named VM takes commands and files", ordinary, place)


def ordinary(place):
    place.run_box("mine")
    claim(place.sh("mine", "id -un").strip() == "root")
    place.ok("cp", "/etc/hostname", "mine:/root/")
    claim(place.sh("mine", "cat /root/hostname"))
    place.ok("stop", "mine")
    place.ok("rm", "mine")
    claim(until(lambda: place.vmms() == {}, 5, "the VM's end"))


def checks(runner, place):
    runner.check("(a VM for logs and what follows)", begin, place)
    runner.check("exec ends with the command's status, 127, 3 or the time limit", codes, place)
    runner.check("cp takes a file both ways with its mode", copies_file, place)
    runner.check("cp takes a tree both ways with modes and links, also as a tar stream",
                 copies_tree, place)
    runner.check("logs -f shows the console as it is written", follows_logs, place)
    runner.check("logs keeps what detached commands, the kernel and the agent say",
                 keeps_what_detached_commands_say, place)
    runner.check("who ran what in a guest is in the audit trail", trail, place)
    runner.check("a command sent twice under one op id runs once", one_run_an_id, place)
    runner.check("a create sent twice makes one VM, and its id with another body is refused",
                 one_create_an_id, place)
    runner.check("1 GiB through a slow reader stays out of the daemon's and the client's memory",
                 slow_reader, place)
