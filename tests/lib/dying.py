"""Holds a process where it was killed, before the kernel clears away what it has: ptrace(2)."""

import ctypes
import os
import signal
import threading

from harness import Failed, read

SEIZE = 0x4206
TRACE_EXIT = 0x40


class HeldAtItsEnd:
    """While this is open, `pid` does not come further than to the beginning of its end.

    Who traces is one thread of ours: when that ends, the kernel lets go of all that it traces.
    """

    def __init__(self, pid):
        self.pid = pid
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.over, self.ready = threading.Event(), threading.Event()
        self.problem = None
        self.thread = threading.Thread(target=self.trace)

    def seize(self, thread):
        if self.libc.ptrace(SEIZE, thread, None, ctypes.c_void_p(TRACE_EXIT)) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def trace(self):
        try:
            for name in os.listdir(f"/proc/{self.pid}/task"):
                self.seize(int(name))
        except OSError as error:
            self.problem = error
        self.ready.set()
        self.over.wait()

    def __enter__(self):
        self.thread.start()
        self.ready.wait()
        if self.problem:
            self.__exit__()
            raise Failed(f"cannot trace process {self.pid}: {self.problem}")
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def was_killed(self):
        status = read(f"/proc/{self.pid}/status").decode()
        pending = status.split("ShdPnd:")[1].split()[0]
        return int(pending, 16) >> (signal.SIGKILL - 1) & 1
