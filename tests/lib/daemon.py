"""A daemon that is our child, and work on several things at once."""

import signal
import threading
import time

from harness import COMMAND_SECONDS, PATIENCE, claim, until


class Daemon:
    """roostd as our child, so that its end can be told from an orderly one."""

    def __init__(self, place, failpoint=None, action="kill"):
        self.place = place
        begun = time.monotonic()
        name, _, count = (failpoint or "").partition("@")
        env = {"ROOST_FAILPOINT": f"{name}:{action}@{count or 1}"} if name else {}
        with open(f"{place.state}/roostd.log", "ab") as log:
            self.process = place.popen("roostd", env=env, stdout=log, stderr=log)
        until(self.serves, 10, "the daemon to serve", 0.02)
        self.took = time.monotonic() - begun

    def serves(self):
        claim(self.process.poll() is None, "the daemon ended with", self.process.returncode)
        try:
            return self.place.rpc("roost.ops.v1.DaemonService/GetInfo", {}, timeout=5)[0] == 200
        except OSError:
            return False

    def killed_itself(self):
        code = self.process.wait(COMMAND_SECONDS)
        claim(code == -signal.SIGKILL, "the daemon ended with", code)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)


def side_by_side(things, body):
    """Runs `body(thing)` for all at once; raises what one of them raised."""
    faults = []

    def run(thing):
        try:
            body(thing)
        except BaseException as error:  # pylint: disable=broad-except
            faults.append(error)

    threads = [threading.Thread(target=run, args=(thing,), daemon=True) for thing in things]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            # In pieces, so that a signal is taken meanwhile.
            thread.join(0.5)
    if faults:
        raise faults[0]
