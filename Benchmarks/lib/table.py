"""The rows as they are found, and the page that they make."""

import re
import time

from lib.stats import difference, duration, median, percentile, ratio, verdict

PAGE = """# Figures

Written by `make bench` (`Benchmarks/bench`). All sides of a row were taken in turns
(A B A B) in one run on one machine. The clock stops at what a guest or a client saw, never at
"sent". p99 is the nearest rank: with n = 30 it is the slowest. Intervals are 95 %, by bootstrap of
the medians (2,000 draws). A row whose machine was not quiet is refused, or says that it was forced.

## Machine

{facts}

## Table

| # | what | n | p50 | p99 | beside it | ratio or difference | target | verdict |
|---|---|---|---|---|---|---|---|---|
{rows}

## What each row is

{notes}

## Quiet

{quiet}
"""


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


class Table:
    """What was measured, in order."""

    def __init__(self, facts):
        self.facts, self.rows, self.texts, self.quiet = facts, [], [], []
        self.begun = time.monotonic()

    def fact(self, name, text):
        """One more of what the machine is, once."""
        if (name, text) not in self.facts:
            self.facts.append((name, text))

    def add(self, number, what, n="", p50="", p99="", beside="", compared="", target="",
            judged=""):
        row = [number, what, n, p50, p99, beside, compared, target, judged or "recorded"]
        self.rows.append([cell(one) for one in row])
        print("  ".join(str(one) for one in row if one != ""), flush=True)

    def sampled(self, number, what, samples, target=None, beside="", compared="", at=50):
        """A row of times; `target` is seconds at percentile `at`."""
        judged, wanted = "", ""
        if target is not None:
            judged = verdict(percentile(samples, at) if at != 50 else median(samples), target)
            wanted = f"p{at} ≤ {duration(target)}"
        self.add(number, what, len(samples), duration(median(samples)),
                 duration(percentile(samples, 99)), beside, compared, wanted, judged)

    def against(self, number, what, samples, floor, name, target=None, add=False):
        """A row of times beside their floor; `target` is the ratio, or seconds with `add`."""
        value, low, high = difference(samples, floor) if add else ratio(samples, floor)
        if add:
            sign = "+" if value >= 0 else ""
            compared = f"{sign}{duration(value)} [{duration(low)}, {duration(high)}]"
            wanted = f"≤ +{duration(target)}" if target is not None else ""
        else:
            compared = f"{value:.3f} [{low:.3f}, {high:.3f}]"
            wanted = f"≤ {target:g} ×" if target is not None else ""
        self.add(number, what, len(samples), duration(median(samples)),
                 duration(percentile(samples, 99)),
                 f"{name}: p50 {duration(median(floor))}, p99 {duration(percentile(floor, 99))}",
                 compared, wanted,
                 verdict(value, target, low, high) if target is not None else "")

    def refused(self, number, what, why):
        self.add(number, what, judged=f"not measured: {why}")

    def note(self, number, *paragraphs):
        """Says how a row was measured."""
        for text in paragraphs:
            self.texts.append(f"**{number}** {text}")

    def page(self):
        def order(row):
            number, rest = re.match(r"(\d+)(.*)", row[0]).groups()
            return int(number), rest
        rows = "\n".join("| " + " | ".join(row) + " |" for row in sorted(self.rows, key=order))
        facts = self.facts + [("took", f"{time.monotonic() - self.begun:.0f} s")]
        return PAGE.format(
            facts="\n".join(f"- {name}: {value}" for name, value in facts), rows=rows,
            notes="\n\n".join(self.texts),
            quiet="\n".join(f"- {line}" for line in self.quiet))
