"""Row 12: placements a second, and Ganeti's hail and hspace beside them."""

import os
import re
import subprocess
import sys

from lib.stats import median, verdict

SIZES = (100, 5000, 10000)


def rates(bench, rounds):
    """{(kind, nodes): [(decisions a second, p50 µs, p99 µs) of each round]}."""
    found = {}
    for _ in range(rounds):
        # All sizes in each round: A B A B.
        done = subprocess.run([bench, "rate", *map(str, SIZES)], capture_output=True, text=True,
                              check=True, timeout=300)
        for kind, nodes, rate, p50, p99 in re.findall(
                r"^(\w+) nodes=(\d+) .*decisions_per_s=(\d+) p50_us=([\d.]+) p99_us=([\d.]+)",
                done.stdout, re.MULTILINE):
            found.setdefault((kind, int(nodes)), []).append((int(rate), float(p50), float(p99)))
    return found


def rows(programs, table, rounds, clusters, sizes, seconds):
    bench = f"{os.path.abspath(programs)}/roost-schedbench"
    if not os.path.exists(bench):
        table.refused("12", "placement",
                      "no roost-schedbench: swift build -c release --product roost-schedbench")
        return
    found = rates(bench, rounds)
    for kind, nodes in sorted(found):
        runs = found[kind, nodes]
        rate, p99 = median([one[0] for one in runs]), median([one[2] for one in runs])
        judged = target = ""
        if (kind, nodes) == ("ruled", 5000):
            target = "≥ 25,000/s, p99 ≤ 1 ms"
            judged = verdict(rate, 25_000, min(one[0] for one in runs),
                             max(one[0] for one in runs), at_least=True)
            if p99 > 1000:
                judged = f"p99 is {p99:.0f} µs"
        table.add("12", f"a decision on {nodes:,} nodes, {kind}", f"{rounds} × 40,000",
                  p50=f"{median([one[1] for one in runs]):.1f} µs", p99=f"{p99:.1f} µs",
                  compared=f"{rate:,.0f}/s", target=target, judged=judged)
    for kind in ("plain", "ruled"):
        ratios = sorted(large[0] / small[0] for large, small in
                        zip(found[kind, SIZES[-1]], found[kind, SIZES[0]]))
        table.add("12", f"10,000 nodes against 100, {kind}", f"{rounds} rounds",
                  compared=f"{median(ratios):.2f} [rounds {ratios[0]:.2f} … {ratios[-1]:.2f}]",
                  target="≥ 0.5 ×",
                  judged=verdict(median(ratios), 0.5, ratios[0], ratios[-1], at_least=True))
    table.note("12", "plain: eight sizes and nothing else. ruled: sixty applications, each apart "
               "from itself or spread over racks or zones, with labels, taints and wishes. The "
               "fleet is about half full; each decision is followed by the VM's arrival and "
               "another's departure, which count in the rate and not in the times.")
    ganeti(bench, table, clusters, sizes, seconds)


def ganeti(bench, table, clusters, sizes, seconds):
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not os.path.exists("/usr/lib/ganeti/iallocators/hail"):
        table.refused("12g", "placement beside Ganeti's", "apt-get install ganeti-htools")
        return
    done = subprocess.run([sys.executable, f"{here}/SchedBench/compare.py", bench, "--clusters",
                           str(clusters), "--sizes", sizes, "--seconds", str(seconds)],
                          capture_output=True, text=True, check=False,
                          timeout=600 + clusters + 12 * seconds * len(sizes.split(",")))
    agreed = re.search(r"^agreement .*unexplained=(\d+)$", done.stdout, re.MULTILINE)
    if not agreed:
        table.refused("12g", "placement beside Ganeti's", (done.stdout + done.stderr)[-300:])
        return
    table.add("12g", "feasibility, beside hail", f"{clusters:,} clusters",
              compared=agreed.group(0).removeprefix("agreement "), target="0 unexplained",
              judged="hit" if agreed.group(1) == "0" else "missed")
    for nodes, ours, theirs, bound, rate, other, ratio in re.findall(
            r"^fill nodes=(\d+) ours=(\d+) hspace=(\d+)( \([^)]*\))? ours_per_s=(\d+) "
            r"hspace_per_s=([\d.]+) ratio=(\d+)$", done.stdout, re.MULTILINE):
        target = "≥ 1000 ×, packs no fewer" if nodes == "200" else "packs no fewer"
        packs = int(ours) >= int(theirs)
        fast = nodes != "200" or int(ratio) >= 1000
        table.add("12g", f"{nodes} nodes filled with VMs of 4 GiB and 2 virtual CPUs",
                  f"{int(ours):,} and {int(theirs):,}{bound} VMs",
                  beside=f"hspace: {other}/s", compared=f"{int(rate):,}/s, {ratio} ×",
                  target=target, judged="hit" if packs and fast else "missed")
