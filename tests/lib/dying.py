"""Holds a process where it was killed, before the kernel clears away what it has: ptrace(2)."""

import ctypes
import os
import signal
import threading

from harness import Failed, read

SEIZE, CONTINUE = 0x4206, 7
TRACE_EXIT = 0x40
# Of waitpid: threads of others too.
ALL_CHILDREN = 0x40000000


class HeldAtItsEnd:
    """While this is open, `pid` does not come further than to the beginning of its end.

    Who traces a thread is one thread of ours: it alone may wait for it and let it go.
    """

    def __init__(self, pid):
        self.pid = pid
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.over, self.ready = threading.Event(), threading.Event()
        self.problem = None
        self.thread = threading.Thread(target=self.trace)

    def ptrace(self, request, thread, data=0):
        if self.libc.ptrace(request, thread, None, ctypes.c_void_p(data)) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def trace(self):
        threads = []
        try:
            for name in os.listdir(f"/proc/{self.pid}/task"):
                self.ptrace(SEIZE, int(name), TRACE_EXIT)
                threads.append(int(name))
        except OSError as error:
            self.problem = error
        self.ready.set()
        self.over.wait()
        for thread in threads:
            try:
                os.waitpid(thread, ALL_CHILDREN)
                self.ptrace(CONTINUE, thread)
            except OSError:
                # It has ended already.
                pass

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
