"""`roostd --store postgres://…`, against a real server: it is used, survives, is named, and its
password shows nowhere."""

import contextlib
import glob
import json
import os
import pwd
import shutil
import subprocess
import tempfile

from harness import COMMAND_SECONDS, PATIENCE, claim, read, until

SECRET = "s3cret-Word"


class Server:
    """A PostgreSQL with its data in a directory of its own, on a Unix socket there."""

    def __init__(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        claim(found, "no PostgreSQL here: apt-get install postgresql")
        self.bin = found[-1]
        self.directory = tempfile.mkdtemp(prefix="roost-pg-", dir="/tmp")
        self.prefix = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self.prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}",
                           "--clear-groups"]

    def __enter__(self):
        try:
            self.run("initdb", "-D", self.data, "-A", "trust", "--locale=C", "-E", "UTF8", "-N",
                     "-U", "postgres")
            with open(f"{self.data}/pg_hba.conf", "w", encoding="utf-8") as file:
                file.write("local all bob scram-sha-256\nlocal all all trust\n")
            self.start()
            self.sql(f"CREATE ROLE bob LOGIN PASSWORD '{SECRET}'")
            self.sql("CREATE ROLE eve LOGIN")
            self.sql("CREATE DATABASE roost OWNER bob")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def data(self):
        return f"{self.directory}/data"

    def start(self):
        options = f"-c listen_addresses='' -c unix_socket_directories={self.directory}"
        self.run("pg_ctl", "-D", self.data, "-w", "-l", f"{self.directory}/log", "-o", options,
                 "start")

    def stop(self, mode):
        self.run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def sql(self, text, database="postgres"):
        return self.run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h",
                        self.directory, "-U", "postgres", "-d", database, "-c", text)

    def run(self, tool, *words):
        with tempfile.TemporaryFile() as output:
            done = subprocess.run([*self.prefix, f"{self.bin}/{tool}", *words], timeout=COMMAND_SECONDS,
                                  stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                  cwd=self.directory, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
                                  check=False)
            output.seek(0)
            text = output.read().decode()
        claim(done.returncode == 0, tool, *words, text)
        return text.strip()

    def url(self, user="bob", database="roost", password=None):
        word = f":{password}" if password else ""
        return f"postgres://{user}{word}@/{database}?host={self.directory}"


class Node:
    """A `roostd` with a state directory of its own and simulated VMs."""

    def __init__(self, desk, name, *flags, **environment):
        self.desk, self.state = desk, f"{desk.base}/{name}"
        self.socket = f"{self.state}.sock"
        self.log = f"{self.state}.log"
        self.env = {"ROOST_SOCKET": self.socket, **environment}
        self.words = [f"{desk.bin}/roostd", "--state-dir", self.state, "--socket", self.socket,
                      "--driver", "simulated", *flags]
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.desk.environment(**self.env))
        return self

    def __enter__(self):
        self.start()
        try:
            self.answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def answers(self):
        def is_up():
            claim(self.process.poll() is None, read(self.log))
            return self.desk("daemon", "status", env=self.env).code == 0
        until(is_up, 30, "the daemon to answer")

    def ends(self):
        """What it says when it does not come up, and its status."""
        self.start()
        try:
            self.process.wait(COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            self.__exit__()
            claim(False, "it came up", read(self.log))
        return self.process.returncode, read(self.log).decode()

    def ok(self, *words):
        return self.desk.ok(*words, env=self.env)

    def events(self, *words):
        return json.loads(self.ok("events", "-o", "json", *words))


def in_it(desk, server):
    """Rows are in the database; the store is named; a killed daemon has them again, at once, and goes
    on with the events."""
    with Node(desk, "pg", ROOST_STORE=server.url(password=SECRET)) as node:
        node.ok("run", "--name", "kept", "-m", "128", "-d")
        claim(server.sql("SELECT count(*) FROM roost.row WHERE tbl = 'vms'", "roost") == "1")
        claim(not os.path.exists(f"{node.state}/roost.db"), "there is an SQLite file as well")
        store = json.loads(node.ok("daemon", "status", "-o", "json"))["store"]
        claim(store.startswith("PostgreSQL ") and "postgres://bob@/roost" in store, store)
        claim("PostgreSQL" in node.ok("doctor"), "doctor does not name it")
        told = node.events()
        node.process.kill()
        node.process.wait()
        node.start()
        node.answers()
        claim(node.ok("ls", "-a", "-q") == "kept\n")
        node.ok("stop", "--force", "kept")
        rest = node.events("--since", told[-1]["revision"])
        claim(rest[-1]["to"] == "SUCCEEDED" and rest[-1]["method"] == "StopVM", rest)
        claim(node.events() == told + rest == node.events("--since", "0"), told, rest)
        places = [[int(part) for part in each["id"].split(".")] for each in told + rest]
        claim(places == sorted(places) and len({*map(tuple, places)}) == len(places), places)
        shown = [*map(str, node.words), read(node.log).decode(), store]
        shown.append(read(f"/proc/{node.process.pid}/cmdline").decode())
        claim(not any(SECRET in text for text in shown), "the password is shown")


def away(desk, server):
    """While the server is away calls say so; when it is back all goes on."""
    with Node(desk, "pg", ROOST_STORE=server.url(password=SECRET)) as node:
        server.stop("fast")
        try:
            refused = desk("ls", "-a", env=node.env)
            claim(refused.code != 0 and "hint: start PostgreSQL" in refused.err, refused)
            claim(SECRET not in refused.err, refused)
        finally:
            server.start()
        until(lambda: desk("ls", "-a", "-q", env=node.env).out == "kept\n", 30, "the rows")


def second(desk, server):
    """Another daemon on the same database is refused by name, and the first goes on."""
    with Node(desk, "pg", ROOST_STORE=server.url(password=SECRET)) as node:
        code, said = Node(desk, "other", ROOST_STORE=server.url(password=SECRET)).ends()
        claim(code == 1 and "held by another control plane" in said, code, said)
        claim(f"pid {node.process.pid}" in said, said)
        claim(node.ok("ls", "-a", "-q") == "kept\n")
    # Given back in order: no waiting.
    with Node(desk, "other", ROOST_STORE=server.url(password=SECRET)):
        pass


def refused(desk, server):
    cases = [
        (["--store", server.url(password=SECRET)], {}, "ROOST_STORE", "ps shows"),
        (["--store", f"postgers://bob:{SECRET}@/roost"], {}, "", "neither sqlite nor"),
        ([], {"ROOST_STORE": f"postgres://bob:{SECRET}@host:port/x"}, "", "is not 1 to 65535"),
        ([], {"ROOST_STORE": server.url(password="wrong-Word")}, ".pgpass", "28P01"),
        (["--store", server.url(user="eve", database="postgres")], {},
         "GRANT CREATE ON DATABASE postgres TO eve", "permission denied"),
        (["--store", server.url(user="eve", database="nowhere")], {}, "createdb nowhere", "3D000"),
        (["--store", "postgres://bob@/roost?host=/nonexistent"], {}, "pg_isready", "No such file"),
    ]
    for number, (flags, environment, remedy, words) in enumerate(cases):
        code, said = Node(desk, f"bad{number}", *flags, **environment).ends()
        claim(code in (1, 2) and words in said and remedy in said, code, words, remedy, said)
        claim(SECRET not in said and "wrong-Word" not in said, "the password is shown", said)


def newer(desk, server):
    server.sql("UPDATE roost.meta SET schema = 99", "roost")
    try:
        code, said = Node(desk, "pg", ROOST_STORE=server.url(password=SECRET)).ends()
        claim(code == 1 and "schema 99" in said and "install the version" in said, code, said)
    finally:
        server.sql("UPDATE roost.meta SET schema = 1", "roost")


def checks(runner, desk):
    with Server() as server:
        for name, check in (
            ("rows are in PostgreSQL and survive kill -9 of the daemon", in_it),
            ("a server that goes away is said to be, and found again", away),
            ("a second control plane on one database is refused", second),
            ("each store that cannot be used is an error with what helps", refused),
            ("a newer schema is refused and left alone", newer),
        ):
            runner.check(f"store: {name}", lambda check=check: check(desk, server))
