"""The runner: checks, daemons, op ids, and answers in one shape whichever client asked."""

import base64
import contextlib
import http.client
import json
import os
import re
import secrets
import socket
import subprocess
import threading
import time

from google.protobuf import json_format
from google.rpc import error_details_pb2
from roost.ops.v1 import details_pb2

# Nothing that is waited for is a claim about time: what never comes fails a little later.
PATIENCE = 60

VMS = "roost.compute.v1.VMService"
NODE = "roost.node.v1.NodeDaemonService"
OPS = "roost.ops.v1.OperationService"

# What HTTP status each Connect code has, by the Connect protocol.
STATUS = {
    "canceled": 499, "invalid_argument": 400, "failed_precondition": 400, "out_of_range": 400,
    "unauthenticated": 401, "permission_denied": 403, "not_found": 404, "already_exists": 409,
    "aborted": 409, "resource_exhausted": 429, "unimplemented": 501, "unavailable": 503,
    "deadline_exceeded": 504, "internal": 500, "unknown": 500, "data_loss": 500,
}

_lock = threading.Lock()
_counts = {"passed": 0, "failed": 0}


def check(name, holds, detail=""):
    """Counts a check; prints it when it does not hold."""
    with _lock:
        _counts["passed" if holds else "failed"] += 1
    if not holds:
        print(f"FAILED: {name}" + (f": {str(detail)[:600]}" if detail != "" else ""), flush=True)
    return bool(holds)


def equal(name, seen, wanted):
    """Checks that `seen` is `wanted`."""
    return check(name, seen == wanted, f"saw {seen!r}, wanted {wanted!r}")


@contextlib.contextmanager
def part(name):
    """One part of the suite: an exception in it is one failed check, and the next part runs."""
    start = time.monotonic()
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the other parts shall run
        import traceback

        where = traceback.extract_tb(error.__traceback__)[-1]
        last = [f for f in traceback.extract_tb(error.__traceback__) if "clients-suite" in f.filename]
        at = last[-1] if last else where
        check(f"{name} runs to its end", False,
              f"{type(error).__name__}: {error} at {os.path.basename(at.filename)}:{at.lineno}")
    print(f"-- {name}: {time.monotonic() - start:.1f} s", flush=True)


def finish():
    """Prints the sum; the exit code."""
    print(f"{_counts['passed']} passed, {_counts['failed']} failed")
    return 1 if _counts["failed"] else 0


ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def op_id(age_seconds=0):
    """A new op id whose action began `age_seconds` ago."""
    bits = (int((time.time() - age_seconds) * 1000) << 80) | secrets.randbits(80)
    return "op-" + "".join(ALPHABET[(bits >> shift) & 31] for shift in range(125, -1, -5))


def free_port():
    """A port that nobody has at this moment, below those that the kernel gives to connections."""
    while True:
        port = 10_000 + secrets.randbelow(8_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Daemon:
    """A `roostd --dev`, ended by its pid."""

    def __init__(self, binaries, scratch, port=None, arguments=(), environment=None, named=True):
        self.port = port or free_port()
        self.log_path = os.path.join(scratch, f"roostd-{self.port}.log")
        self.socket_path = os.path.join(scratch, f"roost-{self.port}.sock")
        command = [os.path.join(binaries, "roostd"), "--dev", "--log-level", "debug"]
        if named:
            command += ["--listen", f"127.0.0.1:{self.port}", "--socket", self.socket_path]
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen(
            command + list(arguments), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env=clean_environment(environment))

    def __enter__(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"roostd ended with {self.process.returncode}: {self.tail()}")
            try:
                if raw(self.port, "GET", "/readyz").status == 200:
                    return self
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"roostd does not serve: {self.tail()}")

    def __exit__(self, *_):
        self.end()

    def end(self):
        """Ends it in order; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        return self.process.returncode

    def tail(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()[-800:]

    def lines(self):
        """Its log, one object a line."""
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return [json.loads(line) for line in log if line.startswith("{")]


def clean_environment(more=None):
    """This environment without Roost's own settings, and with `more`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ROOST_")}
    return kept | (more or {})


class Answer:
    """An HTTP answer."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body) if self.body else {}

    def header(self, name):
        return self.headers.get(name.lower())


def raw(port, verb, path, body=None, headers=None, timeout=30):
    """One HTTP/1.1 request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(verb, path, body=body, headers=headers or {})
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


def post(port, method, body, op=None, service=VMS, headers=None, kind="application/json"):
    """One Connect call; `body` is an object, text or bytes."""
    if not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    all_headers = {"Content-Type": kind} | ({"roost-op-id": op} if op else {}) | (headers or {})
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    return raw(port, "POST", f"/{service}/{method}", data, all_headers)


class Refusal(Exception):
    """An error as a client got it, whichever client."""

    def __init__(self, code, message, details, header=None):
        super().__init__(message)
        self.code, self.message, self.header = code, message, header
        self.reason = self.domain = self.remedy = self.op = None
        self.commands, self.metadata, self.fields = [], {}, {}
        for name, value in details:
            if name == "google.rpc.ErrorInfo":
                info = error_details_pb2.ErrorInfo.FromString(value)
                self.reason, self.domain = info.reason, info.domain
                self.metadata = dict(info.metadata)
            elif name == "google.rpc.BadRequest":
                bad = error_details_pb2.BadRequest.FromString(value)
                self.fields = {v.field: v.description for v in bad.field_violations}
            elif name == "roost.ops.v1.Remediation":
                help_ = details_pb2.Remediation.FromString(value)
                self.remedy, self.commands = help_.text, list(help_.commands)
            elif name == "roost.ops.v1.OpInfo":
                self.op = details_pb2.OpInfo.FromString(value).op_id

    @staticmethod
    def of(answer):
        """The error in a Connect unary answer."""
        document = answer.json
        details = []
        for detail in document.get("details", []):
            text = detail["value"]
            details.append((detail["type"], base64.b64decode(text + "=" * (-len(text) % 4))))
        return Refusal(document["code"], document["message"], details, answer.header("roost-op-id"))


def ask(port, method, body, **more):
    """One Connect JSON call that must succeed: the answer's object."""
    answer = post(port, method, body, **more)
    if answer.status != 200:
        raise Refusal.of(answer)
    return answer.json


def describes(name, refusal, code, reason, fields=(), op=None):
    """Checks an error whole: code, reason, the fields it names, remedy, op id in every place."""
    good = equal(f"{name}: code", refusal.code, code)
    good &= equal(f"{name}: reason", (refusal.reason, refusal.domain), (reason, "roost"))
    for field in fields:
        good &= check(f"{name}: names {field}", field in refusal.fields,
                      f"{refusal.fields} / {refusal.message}")
    short = f"(op-{(refusal.op or '')[-6:]})"
    good &= check(f"{name}: the text ends with the op id", refusal.message.endswith(short),
                  refusal.message)
    good &= equal(f"{name}: the header is the detail's op id", refusal.header, refusal.op)
    if op:
        good &= equal(f"{name}: the op id is the caller's", refusal.op, op)
    good &= check(f"{name}: the remedy is whole", is_whole(refusal.remedy), refusal.remedy)
    return good


def is_whole(remedy):
    """Whether everything that a command of it takes is filled in: a hole stands in capitals."""
    return remedy and "{" not in remedy and not re.search(
        r"\broost [^,:]*\b(CHANGE|IMAGE|NAME|OP|PATH|PID|REGISTRY|USERS|VM)\b", remedy)


def refused(name, answer, code, reason, fields=(), status=None, op=None):
    """Checks an HTTP answer that must be an error."""
    equal(f"{name}: status", answer.status, status or STATUS[code])
    try:
        refusal = Refusal.of(answer)
    except (ValueError, KeyError, AttributeError) as error:
        check(f"{name}: is a Connect error", False, f"{error}: {answer.status} {answer.body[:200]!r}")
        return None
    describes(name, refusal, code, reason, fields, op)
    return refusal


def everything(port):
    """Every VM there is, also in the trash, as the API tells it."""
    found, token = [], ""
    while True:
        page = ask(port, "ListVMs", {"project": "-", "show_deleted": True, "page_size": 1000,
                                     "page_token": token})
        found += page.get("vms", [])
        token = page.get("nextPageToken", "")
        if not token:
            return found


@contextlib.contextmanager
def unchanged(port, name):
    """Checks that what happens inside changes no VM."""
    before = everything(port)
    yield
    equal(f"{name} changes nothing", everything(port), before)


def spec(cores=1, memory=256, **more):
    """A spec as JSON has it."""
    return {"cpu": {"cores": cores}, "memory": {"size_mib": memory}} | more


def in_parallel(count, work):
    """`work(0…count-1)` at once; the results, or what was raised, in order."""
    results = [None] * count
    gate = threading.Barrier(count)

    def run(index):
        gate.wait()
        try:
            results[index] = work(index)
        except Exception as error:  # noqa: BLE001 - it is a result here
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def as_message(document, kind):
    """A JSON object as a message of type `kind`, strictly."""
    return json_format.ParseDict(document, kind())
