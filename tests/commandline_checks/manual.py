"""The pages of the manual: whole, and to the liking of mandoc, man and groff."""

import json
import os
import re
import shutil

from harness import Failed, claim


def described(desk, program):
    """Every visible command: (words, the names of its visible flags)."""
    dump = json.loads(desk.run(f"{desk.bin}/{program}", "--experimental-dump-help").out)
    found = []

    def visit(command, words):
        words = words + [command["commandName"]]
        flags = []
        for argument in command.get("arguments", []):
            if argument.get("shouldDisplay", True):
                flags += [("--" if name["kind"] == "long" else "-") + name["name"]
                          for name in argument.get("names", [])]
        found.append((words, flags))
        for one in command.get("subcommands", []):
            if one.get("shouldDisplay", True) and one["commandName"] != "help":
                visit(one, words)

    visit(dump["command"], [])
    return found


def write(desk):
    dump = f"{desk.base}/roostd.json"
    with open(dump, "wb") as file:
        file.write(desk.run(f"{desk.bin}/roostd", "--experimental-dump-help").raw)
    desk.ok("manual", f"{desk.base}/man", "--daemon", dump, env={"SOURCE_DATE_EPOCH": "0"})


def pages(desk):
    found = sorted(f"{folder}/{name}" for folder, _, names in os.walk(f"{desk.base}/man")
                   for name in names)
    claim(len(found) > 40, found)
    return found


def complete(desk):
    """Looked at as a person reads them: rendered."""
    for program, section in (("roost", 1), ("roostd", 8)):
        for words, flags in described(desk, program):
            path = f"{desk.base}/man/man{section}/{'-'.join(words)}.{section}"
            shown = desk.run("man", "-l", path, env={"MANWIDTH": "200", "MANPAGER": "cat",
                                                     "GROFF_NO_SGR": "1"})
            text = re.sub(r".\x08", "", shown.out)
            claim(" ".join(words) in text, path, "does not show", " ".join(words))
            options = re.findall(r"^ +(-[^ ].*)$", text, re.MULTILINE)
            named = {word.strip(",") for line in options for word in line.split()}
            missing = set(flags) - named
            claim(not missing, path, "does not list", missing, named)
            for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "ENVIRONMENT", "EXIT STATUS"):
                claim(f"\n{heading}\n" in text, path, "has no", heading)
    top = desk.run("man", "-l", f"{desk.base}/man/man1/roost.1").out
    for words, _ in described(desk, "roost"):
        if len(words) == 2:
            claim(f"roost-{words[1]}(1)" in re.sub(r".\x08", "", top), "roost(1) lacks", words)


def silent(desk, *words):
    """The tool has nothing to say of any page."""
    if not shutil.which(words[0]):
        raise Failed(f"{words[0]} is missing: scripts/packages {words[0]}")
    for path in pages(desk):
        result = desk.run(*words, path)
        said = result.err + (result.out if "lint" in words else "")
        claim(result.code == 0 and not said, path, said[:600])


def spoiled(desk):
    """The linters are awake: a spoiled page is complained of."""
    with open(f"{desk.base}/man/man1/roost.1", encoding="ascii") as file:
        text = file.read()
    path = f"{desk.base}/spoiled.1"
    with open(path, "w", encoding="ascii") as file:
        file.write(text + ".El\n.Bogus\n\\[nosuchglyph]\n")
    claim("unknown" in desk.run("mandoc", "-T", "lint", "-W", "warning", path).out)
    claim(desk.run("groff", "-mdoc", "-ww", "-z", "-Tutf8", path).err)


def reproducible(desk):
    before = [open(path, "rb").read() for path in pages(desk)]
    write(desk)
    claim(before == [open(path, "rb").read() for path in pages(desk)])
    claim(b"January 1, 1970" in before[0], before[0][:60])


def checks(runner, desk):
    runner.check("roost manual writes the pages of both programs", write, desk)
    runner.check("each page names every visible subcommand and flag", complete, desk)
    runner.check("mandoc has nothing to say of the pages", silent, desk,
                 "mandoc", "-T", "lint", "-W", "warning")
    runner.check("groff has nothing to say of the pages", silent, desk,
                 "groff", "-mdoc", "-ww", "-z", "-Tutf8")
    runner.check("man has nothing to say of the pages", silent, desk, "man", "--warnings=w", "-l")
    runner.check("the linters complain of a spoiled page", spoiled, desk)
    runner.check("the same pages come out again", reproducible, desk)
