"""What each daily verb writes: -o, -q, -l, --watch, and progress on a terminal only."""

import json
import subprocess

from harness import PATIENCE, claim, until

SPEC = {"cpu": {"cores": 1}, "memory": {"sizeMib": 128}}


def prepare(desk):
    desk.rpcs([("CreateVM", {"name": name, "spec": SPEC, "labels": {"app": app},
                             "startOnCreate": True})
               for name, app in (("a", "web"), ("b", "web"), ("c", "db"))])
    for name in ("a", "b", "c"):
        desk.ok("wait", name, "--for", "running", "--timeout", "60s")


# In this order for each form: what one takes away the next brings back.
FORMS = (
    ["ls"], ["ls", "-l", "app=web"], ["get", "a"], ["get", "a", "b"], ["get", "-l", "app=web"],
    ["wait", "a", "--for", "running"], ["wait", "-l", "app=web", "--for", "running"],
    ["pause", "a"], ["resume", "a"], ["stop", "-l", "app=web"], ["start", "-l", "app=web"],
    ["restart", "a"], ["reboot", "a"], ["kill", "c"], ["start", "c"],
    ["set", "a", "--label", "x=y"], ["set", "-l", "app=web", "--label", "x=z"],
    ["ops", "ls"], ["image", "ls"], ["kernel", "ls"], ["doctor"], ["daemon", "status"],
    ["context", "ls"], ["context", "show"], ["rm", "-f", "c"], ["undelete", "c"], ["start", "c"],
)


def forms(desk):
    """Every verb in every form, and not a word on standard error when it is no terminal."""
    for form in ("json", "yaml", "name", "table", "wide"):
        for words in FORMS:
            result = desk(*words, "-o", form)
            claim(result.code == 0, words, form, result)
            claim(not result.err, words, form, result)
            if form == "json":
                found = json.loads(result.out)
                several = "-l" in words or words[-1] == "ls" or words[0] in ("ls", "doctor") \
                    or words == ["get", "a", "b"]
                claim(isinstance(found, list) == several, words, result)
            elif form == "yaml":
                claim(result.out.startswith("- ") or ": " in result.out.splitlines()[0], result)
            elif form == "name":
                claim(result.out and all(line and " " not in line
                                         for line in result.out.splitlines()), words, result)
    op = desk.json("ops", "ls", "-n", "1")[0]["id"]
    for words in (["ops", "get", op], ["ops", "wait", op]):
        claim(desk.json(*words)["id"] == op)


def progress(desk):
    """The op id, what was done and how long it took: to a terminal, and not with -q."""
    said = desk.on_terminal("pause", "a")
    claim("paused a" in said and "op-" in said, said)
    claim(desk.on_terminal("resume", "-q", "a") == "")


def selectors(desk):
    claim(desk.ok("ls", "-q", "-l", "app=web") == "a\nb\n")
    claim(desk.ok("ls", "-q", "-l", "app!=web") == "c\n")
    claim(desk("stop", "a", "-l", "app=web").code == 2)
    claim(desk("stop").code == 2)
    for name in ("a", "b"):
        claim(desk.json("get", name)["labels"]["x"] == "z", "set -l missed", name)
    desk.ok("rm", "-f", "-l", "app=web")
    claim(desk.ok("ls", "-q") == "c\n")
    desk.ok("undelete", "-l", "app=web")
    claim(desk.ok("ls", "-q") == "a\nb\nc\n")
    desk.ok("rm", "-l", "app=web")
    desk.ok("purge", "-l", "app=web")
    claim(desk("undelete", "a").code == 3)


def watches(desk):
    """A line for each change, from the first state on, until somebody ends it."""
    for words in (["ls", "--watch", "-o", "json"], ["get", "--watch", "c", "-o", "json"]):
        path = f"{desk.base}/watch.out"
        with open(path, "wb") as file:
            watching = subprocess.Popen([f"{desk.bin}/roost", *words], env=desk.environment(),
                                        stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        try:
            def states():
                with open(path, encoding="utf-8") as file:
                    lines = [line for line in file.read().splitlines() if line.endswith("}")]
                return [json.loads(line)["vm"]["status"]["state"] for line in lines
                        if json.loads(line).get("vm")]
            until(states, 10, "the first state")
            desk.ok("pause", "c")
            until(lambda: "PAUSED" in states(), 10, "the change")
            desk.ok("resume", "c")
            until(lambda: states()[-1:] == ["RUNNING"], 10, "the next change")
        finally:
            watching.terminate()
            watching.wait(PATIENCE)
    claim(desk("ls", "--watch", "-a").code == 2, "--watch -a is half ignored")
    claim(desk("get", "--watch", "a", "b").code == 2)


def every_operation(desk):
    """`ops ls --all` goes through all pages; without it the newest twenty."""
    desk.rpcs([call for index in range(600) for call in
               (("PauseVM", {"id": "c"}), ("ResumeVM", {"id": "c"}))])
    found = [one["id"] for one in desk.json("ops", "ls", "--all")]
    claim(len(found) > 1200 and len(set(found)) == len(found), len(found), len(set(found)))
    claim(len(desk.json("ops", "ls")) == 20)
    claim([one["id"] for one in desk.json("ops", "ls", "-n", "1100")] == found[:1100])
    claim(desk("ops", "ls", "--all", "-n", "3").code == 2)


def checks(runner, desk):
    runner.check("three VMs", prepare, desk)
    runner.check("every verb writes every form and nothing on standard error", forms, desk)
    runner.check("progress is for terminals", progress, desk)
    runner.check("selectors choose", selectors, desk)
    runner.check("--watch shows each change", watches, desk)
    runner.check("ops ls --all goes through all pages", every_operation, desk)
