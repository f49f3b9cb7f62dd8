"""A process in a guest that counts in memory alone, so that only memory can bring it back."""

from harness import until

# Written over, not anew, and always as long: whoever reads meanwhile finds a whole line. A file that
# grows has its new bytes a moment before it has its new length.
COUNTER = """echo $$ > /run/pid; rm -f /run/count; i=0
while :; do i=$((i+1)); printf '%09d\\n' $i 1<>/run/count; sleep 0.05; done"""


def count(place, vm="box"):
    """How far it is; waits for its first word."""
    def said():
        found = place("exec", vm, "--", "cat", "/run/count").out.strip()
        return found if found.isdigit() else None
    return int(until(said, 60, f"a count in {vm}"))
