"""A program on a pseudo-terminal, as a person has it."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

from harness import PATIENCE, Failed, kill


class Terminal:
    def __init__(self, place, *arguments, rows=24, columns=80):
        self.seen = b""
        master, slave = pty.openpty()
        self.master = master
        self.resize(rows, columns)

        def control():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = place.popen(
            "roost", *arguments, stdin=slave, stdout=slave, stderr=slave, preexec_fn=control
        )
        os.close(slave)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, text, seconds=PATIENCE):
        """Reads until `text` came; what came before it is forgotten."""
        end = time.monotonic() + seconds
        wanted = text.encode()
        while wanted not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not self.fill(left):
                raise Failed(f"the terminal never showed {text!r}; it has {self.seen[-800:]!r}")
        before, _, self.seen = self.seen.partition(wanted)
        return before.decode(errors="replace")

    def fill(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            piece = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += piece
        return bool(piece)

    def end(self, seconds=PATIENCE):
        """The exit status, once the program has ended."""
        limit = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < limit:
            self.fill(0.1)
        if self.process.poll() is None:
            self.close()
            raise Failed(f"the program goes on; the terminal has {self.seen[-800:]!r}")
        os.close(self.master)
        self.master = None
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.master is not None:
            os.close(self.master)
            self.master = None
