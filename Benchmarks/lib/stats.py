"""Percentiles, bootstrap intervals and verdicts. Times are seconds."""

import random
import statistics


def percentile(samples, percent):
    """The nearest-rank percentile of a list that is not empty."""
    ranked = sorted(samples)
    rank = -(-len(ranked) * percent // 100)
    return ranked[max(0, min(len(ranked), int(rank)) - 1)]


def median(samples):
    return statistics.median(samples)


def interval(a, b, combine, rounds=2000):
    """The 95 % bootstrap interval of `combine(median a, median b)`, the sides drawn apart."""
    source = random.Random(1)
    seen = []
    for _ in range(rounds):
        seen.append(combine(median(source.choices(a, k=len(a))),
                            median(source.choices(b, k=len(b)))))
    return percentile(seen, 2.5), percentile(seen, 97.5)


def ratio(a, b):
    """(ratio of the medians, its interval's low end, its high end)."""
    low, high = interval(a, b, lambda x, y: x / y)
    return median(a) / median(b), low, high


def difference(a, b):
    """(difference of the medians, its interval's low end, its high end)."""
    low, high = interval(a, b, lambda x, y: x - y)
    return median(a) - median(b), low, high


def least_squares(points):
    """The slope of the line through (x, y) points."""
    x_mean = statistics.fmean(x for x, _ in points)
    y_mean = statistics.fmean(y for _, y in points)
    over = sum((x - x_mean) * (y - y_mean) for x, y in points)
    return over / sum((x - x_mean) ** 2 for x, _ in points)


def duration(seconds):
    """A time as a person reads it."""
    if abs(seconds) >= 1:
        return f"{seconds:.2f} s"
    if abs(seconds) >= 0.001:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1e6:.0f} µs"


def verdict(value, target, low=None, high=None, at_least=False):
    """`hit` or `missed`; says so when the interval holds the target."""
    hit = value >= target if at_least else value <= target
    word = "hit" if hit else "missed"
    if low is not None and low <= target <= high:
        word += " (the interval holds the target)"
    return word
