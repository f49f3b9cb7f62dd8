"""Contexts, against a daemon on a port, and against nobody."""

import json
import os

from harness import claim

# Without these a context has a say.
BARE = {"ROOST_SOCKET": None}


def over_tcp(desk):
    """A daemon on loopback is spoken with as one on a socket is."""
    desk.ok("context", "create", "try", "--endpoint", f"http://127.0.0.1:{desk.port}", env=BARE)
    made = desk("run", "--context", "try", "--name", "far", "-m", "128", "-d", env=BARE)
    claim(made.code == 0 and made.out == "far\n", made)
    desk.ok("context", "use", "try", env=BARE)
    claim(desk.ok("ls", "-q", env=BARE) == "far\n")
    claim(desk.ok("ls", "-q") == "far\n", "the socket shows another daemon")
    claim(json.loads(desk.ok("daemon", "status", "-o", "json", env=BARE))["pid"]
          == desk.process.pid)
    desk.ok("rm", "-f", "--purge", "far", env=BARE)


def shown(desk):
    rows = desk.json("context", "ls", env=BARE)
    claim([row["name"] for row in rows] == ["default", "try"], rows)
    claim([row["current"] for row in rows] == [False, True], rows)
    claim(rows[1]["reason"] == "roost context use", rows)
    show = desk.json("context", "show", env={"ROOST_CONTEXT": "default", **BARE})
    claim(show["name"] == "default" and show["reason"] == "ROOST_CONTEXT", show)
    show = desk.json("context", "show")
    claim(show["name"] == "default" and show["reason"] == "ROOST_SOCKET", show)
    path = f"{desk.home}/.config/roost/contexts.json"
    claim(os.stat(path).st_mode & 0o777 == 0o600, oct(os.stat(path).st_mode))


def refused(desk):
    for url, words in (("https://roost.example:8443", "--access"),
                       ("http://192.0.2.1:8080", "not on this host"), ("tcp://x", "none of")):
        result = desk("context", "create", "bad", "--endpoint", url, env=BARE)
        claim(result.code in (1, 2) and words in result.err and "hint: " in result.err, result)
    claim(desk("context", "create", "try", "--endpoint", "unix:///x", env=BARE).code == 4)
    claim(desk("ls", "--context", "gone", env=BARE).code == 3)
    claim(desk("context", "rm", "try", env=BARE).code == 4, "the one in use was removed")


def corrupt(desk):
    """The file is named and kept, and the flags still work."""
    path = f"{desk.home}/.config/roost/contexts.json"
    with open(path, encoding="utf-8") as file:
        good = file.read()
    for bad in (good[:-20], good.replace('"version": 1', '"version": 2')):
        claim(bad != good)
        with open(path, "w", encoding="utf-8") as file:
            file.write(bad)
        for words in (["ls"], ["context", "use", "default"], ["context", "ls"]):
            result = desk(*words, env=BARE)
            claim(result.code == 1 and path in result.err and f"mv {path}" in result.err, result)
        claim(desk("ls").code == 0, "ROOST_SOCKET does not help")
        with open(path, encoding="utf-8") as file:
            claim(file.read() == bad, "it was overwritten")
    with open(path, "w", encoding="utf-8") as file:
        file.write(good)


def nobody(desk):
    desk.ok("context", "create", "nobody", "--endpoint", f"unix://{desk.base}/nobody.sock",
            env=BARE)
    result = desk("ls", "--context", "nobody", env=BARE)
    claim(result.code == 6 and "no daemon answers" in result.err, result)
    result = desk("daemon", "start", "--context", "nobody", env=BARE)
    claim(result.code == 1 and "looked after where it runs" in result.err, result)
    desk.ok("context", "use", "default", env=BARE)
    desk.ok("context", "rm", "nobody", "try", env=BARE)
    claim(desk.ok("context", "ls", "-q", env=BARE) == "default\n")


def checks(runner, desk):
    runner.check("a context leads to a daemon on a loopback port", over_tcp, desk)
    runner.check("context ls and show say which holds and why", shown, desk)
    runner.check("https, foreign addresses and taken names are refused", refused, desk)
    runner.check("a contexts file that is not understood is named and kept", corrupt, desk)
    runner.check("a context's daemon is never started", nobody, desk)
