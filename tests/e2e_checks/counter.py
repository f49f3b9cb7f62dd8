"""A process in a guest that counts in memory alone, so that only memory can bring it back."""

from harness import until

# Written over, not anew: whoever reads meanwhile finds a number.
COUNTER = """echo $$ > /run/pid; rm -f /run/count; i=0
while :; do i=$((i+1)); echo $i 1<>/run/count; sleep 0.05; done"""


def count(place, vm="box"):
    """How far it is; waits for its first word."""
    def said():
        found = place("exec", vm, "--", "cat", "/run/count").out.strip()
        return found if found.isdigit() else None
    return int(until(said, 60, f"a count in {vm}"))
