"""Completions in the shells themselves."""

import socket
import time

from harness import PATIENCE, claim, until


def script(desk, shell):
    path = f"{desk.base}/roost.{shell}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(desk.ok("completion", shell))
    return path


# What bash does on TAB, for the words that follow; the last one is being typed.
TAB = r"""
source "$1"; shift
complete -p roost >/dev/null || exit 9
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
COMP_TYPE=9 COMP_KEY=9
function=$(complete -p roost | sed -E 's/.*-F ([^ ]+).*/\1/')
"$function" roost "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


def tab(desk, *words, **options):
    """What bash offers, without the blanks it adds."""
    result = desk.run("bash", "--norc", "--noprofile", "-c", TAB, "bash",
                      f"{desk.base}/roost.bash", "roost", *words, **options)
    claim(result.code == 0 and not result.err, words, result)
    return {line.strip() for line in result.out.splitlines() if line.strip()}


def offers(desk, wanted, *words):
    """That bash offers these. It asks for them with a patience of less than a second: a host that stands
    still meanwhile offers nothing, and once more when TAB is pressed once more."""
    until(lambda: tab(desk, *words) == wanted, 10, f"{words} to offer {wanted}")


def verbs(desk):
    script(desk, "bash")
    claim(tab(desk, "st") == {"start", "status", "stop"}, tab(desk, "st"))
    offered = tab(desk, "")
    claim({"run", "ls", "exec", "context", "image"} <= offered, offered)
    claim("manual" not in offered, "a hidden command is offered")
    claim("create" in tab(desk, "context", "cr"))


def flags(desk):
    claim({"--selector", "--socket"} <= tab(desk, "stop", "--s"), tab(desk, "stop", "--s"))
    claim("json" in tab(desk, "ls", "-o", "j"), tab(desk, "ls", "-o", "j"))
    claim("--env-file" in tab(desk, "run", "--env-"))


def names(desk):
    """From the daemon, of the right project, and of the trash where that is asked."""
    for name in ("tab-one", "tab-two"):
        desk.rpcs([("CreateVM", {"name": name, "spec": {"cpu": {"cores": 1},
                                                         "memory": {"sizeMib": 128}}})])
    try:
        offers(desk, {"tab-one", "tab-two"}, "stop", "tab-")
        offers(desk, {"tab-two"}, "get", "tab-t")
        offers(desk, {"tab-one"}, "exec", "tab-o")
        offers(desk, {"tab-two"}, "stop", "tab-one", "tab-t")
        claim(tab(desk, "stop", "--project", "other", "tab-") == set())
        claim("default" in tab(desk, "ls", "--context", "d"))
        desk.ok("rm", "-f", "tab-two")
        offers(desk, {"tab-two"}, "undelete", "tab-")
        offers(desk, {"tab-one"}, "stop", "tab-")
    finally:
        desk("rm", "-f", "--purge", "tab-one")
        desk("purge", "tab-two")


def silence(desk):
    """Nobody there, or somebody who never answers: no word, no daemon, and soon."""
    nobody = {"ROOST_SOCKET": f"{desk.base}/nobody.sock"}
    begun = time.monotonic()
    claim(tab(desk, "stop", "", env=nobody) == set())
    one = time.monotonic() - begun
    with socket.socket(socket.AF_UNIX) as mute:
        path = f"{desk.base}/mute.sock"
        mute.bind(path)
        mute.listen()
        took = PATIENCE
        for _ in range(3):
            begun = time.monotonic()
            claim(tab(desk, "stop", "", env={"ROOST_SOCKET": path}) == set())
            took = min(took, time.monotonic() - begun)
        # The patience of the product, and what a shell takes on this host.
        limit = 0.8 + 10 * one
        claim(took < limit, f"took {took:.1f} s, not {limit:.1f} s")


def zsh(desk):
    result = desk.run("zsh", "-n", script(desk, "zsh"))
    claim(result.code == 0 and not result.err, result)


def fish(desk):
    path = script(desk, "fish")
    result = desk.run("fish", "-n", path)
    claim(result.code == 0 and not result.err, result)
    offered = desk.run("fish", "--no-config", "-c", f"source {path}; complete -C 'roost st'")
    words = {line.split("\t")[0] for line in offered.out.splitlines()}
    claim({"start", "status", "stop"} <= words, offered)


def checks(runner, desk):
    runner.check("bash completes verbs", verbs, desk)
    runner.check("bash completes flags and their values", flags, desk)
    runner.check("bash completes names that the daemon knows", names, desk)
    runner.check("a completion is silent and quick when no daemon answers", silence, desk)
    runner.check("zsh reads its script", zsh, desk)
    runner.check("fish reads its script, and completes verbs", fish, desk)
