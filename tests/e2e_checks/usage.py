"""roost df: what is said to be taken is what the disk lacks, and what goes is what was said to be own."""

import os
import subprocess

from harness import claim, until

KEPT = ("vms", "trash", "templates", "forks", "images", "kernels")


def measured(path):
    """What du counts in `path`, in bytes."""
    text = subprocess.check_output(["du", "-s", "--block-size=1", "--", path])
    return int(text.split()[0])


def state_bytes(place):
    """What is in the folders that belong to something; not these folders' own blocks."""
    sums = 0
    for name in KEPT:
        path = f"{place.state}/{name}"
        if os.path.isdir(path):
            sums += measured(path) - os.stat(path).st_blocks * 512
    return sums


def number(item, place, key):
    return int(item.get(place, {}).get(key, 0))


def usage(place):
    """Items by (kind, name)."""
    return {(one["kind"], one["name"]): one for one in place.json("df")}


def own(item):
    return number(item, "disk", "uniqueBytes")


def adds_up(place):
    """What all items have for themselves, and once what several have, is what du counts."""
    found = usage(place)
    total = found[("TOTAL", "total")]
    parts = [one for (kind, _), one in found.items()
             if kind not in ("TOTAL", "CHECKPOINT", "TREE")]
    claim(sum(own(one) for one in parts) == own(total), "own bytes do not add up:", found)
    other = own(found[("OTHER", "other")])
    claim(number(total, "disk", "bytes") - other == state_bytes(place), "du says",
          state_bytes(place), "and df", number(total, "disk", "bytes"), "with", other, "of others")
    memory = number(total, "memory", "bytes")
    claim(memory == measured(place.memory), "du says", measured(place.memory), "df", memory)
    return found


def tree(place):
    """A VM with checkpoints, a copy of one, a suspended VM: all of it, and each for itself."""
    place.run_box("box")
    place.sh("box", "dd if=/dev/urandom of=/root/a bs=1M count=6; sync")
    first = place.ok("checkpoint", "box").strip()
    place.sh("box", "dd if=/dev/urandom of=/root/b bs=1M count=4; sync")
    second = place.ok("checkpoint", "box").strip()
    place.ok("fork", f"box@{first}", "--name", "copy")
    place.run_box("away")
    place.ok("suspend", "away")
    for vm in ("box", "copy"):
        place.ok("pause", vm)
    found = adds_up(place)
    box, copy = found[("VM", "box")], found[("VM", "copy")]
    claim(box["state"] == "PAUSED" and box["sharedWith"] == ["copy"], box)
    claim(copy["sharedWith"] == ["box"] and number(copy, "disk", "sharedBytes") > 6 << 20, copy)
    claim(found[("TREE", "box+1")]["sharedWith"] == ["box", "copy"], found.keys())
    away = found[("VM", "away")]
    claim(own(away) > 16 << 20 and number(away, "memory", "bytes") == 0, away)
    image = found[("IMAGE", "tiny")]
    claim(image["id"].startswith("sha256:") and own(image) > 0, image)
    text = place.ok("df")
    claim(f"box@{first[:8]}" in text and "free on " in text, text)
    for _, one in found.items():
        claim(number(one, "disk", "bytes") == own(one) + number(one, "disk", "sharedBytes"), one)
    return second


def frees(place, second):
    """Removing a checkpoint, and purging a VM, frees what df said is its own."""
    for name, words in (
            (f"box@{second[:8]}", ["checkpoint", "rm", f"box@{second}"]),
            ("away", ["rm", "-f", "--purge", "away"]),
            ("box", ["rm", "-f", "--purge", "box"])):
        found = usage(place)
        item = next(one for (_, called), one in found.items() if called == name)
        before = state_bytes(place)
        place.ok(*words)
        freed = before - until(lambda: state_bytes(place), 5, "du")
        claim(freed == own(item) and freed > 0, name, "was said to have", own(item),
              "for itself, and freed", freed)
        adds_up(place)
    copy = usage(place)[("VM", "copy")]
    claim(number(copy, "disk", "sharedBytes") == 0 and copy.get("sharedWith", []) == [], copy)
    place.ok("resume", "copy")
    claim(place.sh("copy", "wc -c < /root/a").strip() == str(6 << 20))


def bad_input(place):
    place.fails("df", "--node", "nowhere", code=3, words=["nowhere", "op-"])
    place.fails("df", "box", code=2)


def checks(runner, place):
    kept = runner.check("df says what du does, of VMs, checkpoints, copies and images", tree, place)
    if kept:
        runner.check("what goes frees what df said was its own", frees, place, kept)
        runner.check("df refuses what there is not", bad_input, place)
    runner.check("a place is empty after df", place.clear)
