"""A person's desk: the programs, a home directory, and a `roostd --dev` on a socket and a port."""

import http.client
import json
import os
import pty
import subprocess

from harness import PATIENCE, Failed, Result, claim, free_port, is_alive, processes, read, until


class Desk:
    def __init__(self, programs, base, *flags):
        self.bin, self.base, self.flags = programs, base, flags
        self.home = f"{base}/home"
        os.makedirs(self.home, exist_ok=True)
        self.socket = f"{base}/roost.sock"
        self.port = free_port()
        self.status = None
        self.process = None

    def __enter__(self):
        with open(f"{self.base}/roostd.log", "ab") as log:
            self.process = subprocess.Popen(
                [f"{self.bin}/roostd", "--dev", "--listen", f"127.0.0.1:{self.port}",
                 "--socket", self.socket, *self.flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(),
            )
        try:
            until(lambda: self("daemon", "status").code == 0, 20, "the daemon to answer")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.status = self.process.wait()

    def environment(self, **more):
        """`None` leaves a variable out."""
        found = {
            "PATH": f"{self.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": self.home, "LANG": "C.UTF-8", "TERM": "xterm", "ROOST_SOCKET": self.socket,
        }
        found.update(more)
        return {name: value for name, value in found.items() if value is not None}

    def run(self, *words, input=b"", timeout=120, env=None):
        """Any program to its end."""
        process = subprocess.Popen(
            words, env=self.environment(**(env or {})), cwd=self.home, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        try:
            out, err = process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failed(f"{' '.join(words)}: not within {timeout} s") from None
        return Result(process.returncode, out, err)

    def __call__(self, *words, **options):
        return self.run(f"{self.bin}/roost", *words, **options)

    def ok(self, *words, **options):
        result = self(*words, **options)
        claim(result.code == 0, "roost", " ".join(words), "->", result)
        return result.out

    def json(self, *words, **options):
        return json.loads(self.ok(*words, "-o", "json", **options))

    def on_terminal(self, *words):
        """What roost writes to a terminal that is its standard error."""
        ours, theirs = pty.openpty()
        try:
            process = subprocess.Popen(
                [f"{self.bin}/roost", *words], env=self.environment(), cwd=self.home,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs,
            )
            os.close(theirs)
            text = b""
            while True:
                try:
                    piece = os.read(ours, 4096)
                except OSError:
                    break
                if not piece:
                    break
                text += piece
            claim(process.wait(PATIENCE) == 0, words, text)
            return text.decode()
        finally:
            os.close(ours)

    def rpcs(self, calls):
        """Connect calls over one connection: (method, body) each."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            for method, body in calls:
                connection.request(
                    "POST", f"/roost.compute.v1.VMService/{method}", json.dumps(body),
                    {"Content-Type": "application/json"},
                )
                answer = connection.getresponse()
                text = answer.read()
                claim(answer.status == 200, method, body, answer.status, text[:300])
        finally:
            connection.close()

    def no_other_daemon(self):
        others = [
            pid for pid, words in processes()
            if words[0].endswith("roostd") and pid != self.process.pid and is_alive(pid)
            and f"HOME={self.home}".encode() in read(f"/proc/{pid}/environ").split(b"\0")
        ]
        claim(not others, others)
        claim(not os.path.exists(f"{self.home}/.local/share/roost"), "a state directory was made")
