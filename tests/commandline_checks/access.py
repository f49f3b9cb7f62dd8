"""Users over TCP: a control plane with --api-listen, tokens, contexts, gRPC and Connect over TLS."""

import base64
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess

from fleet import BEAT, Fleet, Process
from harness import PATIENCE, Result, claim, free_port, new_id, until

VM = "/roost.compute.v1.VMService"


class Served(Fleet):
    """A fleet that users call too, each from a home of their own."""

    def __init__(self, programs, base):
        super().__init__(programs, base)
        self.api = free_port()
        while self.api == self.port:
            self.api = free_port()

    def start_control(self):
        self.control = Process(
            self, "control", "--role", "control", "--listen", f"127.0.0.1:{self.port}",
            "--state-dir", f"{self.base}/control", "--heartbeat", str(BEAT),
            "--api-listen", f"127.0.0.1:{self.api}", "--api-name", "localhost",
            "--api-name", "fleet.example",
        )
        until(lambda: self.control.process.poll() is not None or self("node", "ls").code == 0
              if os.path.exists(self.socket) else False, 20, "the control plane to answer")
        claim(self.control.process.poll() is None, "the control plane ended")

    def access(self, *flags):
        """What is printed, once."""
        return self.ok("access", "create", *flags).strip()

    def secret(self, *flags):
        return json.loads(self.ok("access", "create", *flags, "-o", "json"))["token"]

    def user(self, name, *words, given=b""):
        """A command of a person elsewhere: nothing but a home of their own."""
        home = f"{self.base}/{name}"
        os.makedirs(home, exist_ok=True)
        done = subprocess.run(
            [f"{self.bin}/roost", *words], input=given, capture_output=True, timeout=120,
            check=False, cwd=home, env=self.environment(HOME=home),
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def fine(self, name, *words, given=b""):
        result = self.user(name, *words, given=given)
        claim(result.code == 0, name, words, "->", result)
        return result.out

    def call(self, path, token=None, body=None, method="POST", **headers):
        """A plain HTTPS client that trusts the fleet's authority, and checks the server's name."""
        context = ssl.create_default_context(cafile=f"{self.base}/authority.pem")
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.api, timeout=PATIENCE, context=context
        )
        try:
            sent = {"Content-Type": "application/json", **headers}
            if token:
                sent["Authorization"] = f"Bearer {token}"
            connection.request(method, path, json.dumps(body or {}), sent)
            answer = connection.getresponse()
            text = answer.read().decode()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text
        finally:
            connection.close()

    def refused(self, status, reason, path, *rest, **options):
        got, answer = self.call(path, *rest, **options)
        claim(got == status, path, f"wanted {status}, got {got}", answer)
        # What the details of an error say, in the binary form of their messages.
        details = [base64.b64decode(one["value"] + "==") for one in answer.get("details", [])]
        said = json.dumps(answer) + b" ".join(details).decode(errors="replace")
        claim(reason in said, f"no {reason} in", answer)
        return said


def altered(token):
    """Another digit in the secret."""
    parts = token.split(".")
    parts[2] = ("0" if parts[2][0] != "0" else "1") + parts[2][1:]
    return ".".join(parts)


def checks(runner, programs, base):
    with Served(programs, base) as fleet:
        token = fleet.token("--uses", "1")
        fleet.start_node("one", token)
        fleet.until_states({"one": "READY"})
        pem = fleet.ok("access", "authority")
        with open(f"{base}/authority.pem", "w", encoding="utf-8") as file:
            file.write(pem)

        def contexts():
            printed = fleet.access("--role", "operator", "--name", "ann")
            claim(printed.startswith("https://roost-access-1.") and
                  printed.endswith(f"@localhost:{fleet.api}"), printed)
            fleet.fine("ann", "context", "create", "prod", "--access", "-", given=printed.encode())
            file = f"{base}/ann/.config/roost/tokens/prod"
            claim(os.stat(file).st_mode & 0o777 == 0o600, oct(os.stat(file).st_mode))
            contexts_file = f"{base}/ann/.config/roost/contexts.json"
            with open(contexts_file, encoding="utf-8") as text:
                claim("roost-access-1" not in text.read(), "the token is in contexts.json")
            shown = fleet.fine("ann", "context", "ls", "-o", "json")
            claim("roost-access-1" not in shown, "the token is shown", shown)
            fleet.fine("ann", "run", "--context", "prod", "--name", "box", "-d")
            listed = fleet.fine("ann", "ls", "--context", "prod")
            claim("box" in listed, listed)
            claim("box" in fleet.ok("ls"), "the Unix socket's user does not see it")
            who = json.loads(fleet.fine("ann", "access", "whoami", "--context", "prod", "-o", "json"))
            claim(who["role"] == "OPERATOR" and who["principal"].startswith("token:"), who)
            own = json.loads(fleet.ok("access", "whoami", "-o", "json"))
            claim(own["principal"] == f"uid:{os.getuid()}" and own["role"] == "ADMIN", own)
            operations = fleet.json("ops", "ls")
            claim(any(op["principal"] == who["principal"] for op in operations), operations)

        runner.check("roost --context prod works from another home, with one printed string",
                     contexts)

        def roles():
            text = fleet.secret("--role", "viewer")
            claim(fleet.call(f"{VM}/ListVMs", text)[0] == 200, "a viewer may list")
            answer = fleet.refused(403, "PERMISSION_DENIED", f"{VM}/DeleteVM", text, {"id": "box"})
            for word in (f"{VM[1:]}/DeleteVM", "viewer", "operator"):
                claim(word in answer, f"no {word} in", answer)
            fleet.refused(403, "PERMISSION_DENIED",
                          "/roost.fleet.v1.AccessService/CreateAccessToken", text,
                          {"role": "ADMIN"})
            printed = fleet.access("--role", "viewer")
            fleet.fine("eve", "context", "create", "prod", "--access", "-", given=printed.encode())
            result = fleet.user("eve", "rm", "-f", "--context", "prod", "box")
            claim(result.code == 5 and "operator" in result.err, result)
            claim(fleet.state("box") == "RUNNING", "it was removed all the same")

        runner.check("too small a role is denied, over Connect and gRPC, naming method and roles",
                     roles)

        def trail():
            who = json.loads(fleet.fine("ann", "access", "whoami", "--context", "prod", "-o", "json"))
            ann, own = who["principal"], f"uid:{os.getuid()}"
            rows = fleet.json("audit", "--subject", "box")
            claim([(row["principal"], row["method"].split("/")[1]) for row in rows] ==
                  [(ann, "CreateVM")], "box was made, and nothing else done with it:", rows)
            claim(rows[0]["subject"]["kind"] == "vm" and rows[0]["operation"].startswith("op-"), rows)
            claim(all(row["principal"] == own for row in
                      fleet.json("audit", "--method", "CreateAccessToken")), "only this user may")
            fleet.fine("ann", "stop", "--context", "prod", "box")
            fleet.user("ann", "start", "--context", "prod", "nobody")

            def refused():
                rows = fleet.json("audit", "--by", ann, "--method", "StartVM")
                return rows if [row["refusal"] for row in rows] == ["VM_NOT_FOUND"] else None

            failed = until(refused, PATIENCE, "the refused start in the trail")
            operation = failed[0]["operation"]
            claim(fleet.json("audit", "--op", operation[-8:]) == failed, operation)
            # What was accepted is there whatever happens in the next moment.
            fleet.fine("ann", "start", "--context", "prod", "box")
            fleet.control.end(signal.SIGKILL)
            fleet.start_control()
            fleet.until_states({"one": "READY"})
            methods = [row["method"].split("/")[1] for row in
                       fleet.json("audit", "--subject", "box", "--by", ann)]
            claim(methods == ["CreateVM", "StopVM", "StartVM"], methods)
            result = fleet.user("ann", "audit", "--context", "prod")
            claim(result.code == 5 and "admin" in result.err, "an operator read the trail", result)
            for words, says in ((("--op", "x"), "last 6"), (("--since", "soon"), "not a duration")):
                result = fleet("audit", *words)
                claim(result.code == 2 and says in result.err, words, result)

        runner.check("the audit trail has who did what, also what was refused, and for admins only",
                     trail)

        def repeats():
            op = new_id()
            one = fleet.secret("--role", "viewer", "--op-id", op)
            claim(fleet.secret("--role", "viewer", "--op-id", op) == one, "another token")
            claim(len([1 for each in fleet.json("access", "ls") if each["id"] == one.split(".")[1]])
                  == 1, "it is there twice")
            fleet.fails("access", "create", "--role", "admin", "--op-id", op, code=4,
                        says=["CreateAccessToken"])
            fleet.fails("stop", "box", "--op-id", op, code=4, says=["CreateAccessToken"])
            claim(fleet.state("box") == "RUNNING", "it was stopped all the same")
            fleet.ok("access", "rm", one.split(".")[1])
            fleet.fails("access", "create", "--role", "viewer", "--op-id", op, code=3,
                        says=[one.split(".")[1]])
            op = new_id()
            joins = [fleet.ok("token", "create", "--op-id", op) for _ in range(2)]
            claim(joins[0] == joins[1], joins)

        runner.check("a token that is asked for twice under one op id is one token", repeats)

        def bad_tokens():
            good = fleet.secret("--role", "admin")
            listing = f"{VM}/ListVMs"
            fleet.refused(401, "UNAUTHENTICATED", listing)
            fleet.refused(401, "part of it is missing", listing, good[:-3])
            fleet.refused(401, "has been altered", listing, altered(good))
            fleet.refused(401, "ACCESS_TOKEN_INVALID", listing, token)
            fleet.refused(401, "more than 512 bytes", listing, "x" * 600)
            short = fleet.secret("--role", "admin", "--ttl", "1s")
            until(lambda: fleet.call(listing, short)[0] == 401, 10, "the token to expire")
            fleet.refused(401, "ACCESS_TOKEN_EXPIRED", listing, short)
            number = good.split(".")[1]
            claim(fleet.call(listing, good)[0] == 200, "it is good")
            fleet.ok("access", "rm", number)
            fleet.refused(401, "ACCESS_TOKEN_INVALID", listing, good)
            fleet.fails("access", "rm", number, code=3, says=[number])
            fleet.fails("access", "create", "--role", "admin", "--project", "web", code=2,
                        says=["every project"])
            fleet.fails("access", "create", "--role", "viewer", "--ttl", "400d", code=2, says=["366"])
            kept = b"".join(
                open(f"{base}/control/{name}", "rb").read()
                for name in os.listdir(f"{base}/control") if name.startswith("roost.db")
            )
            claim(good.split(".")[2].encode() not in kept, "the secret is in the store")
            claim(not fleet.control.said(good.split(".")[2]), "the secret is in the log")

        runner.check("no token, cut, altered, foreign, expired, removed: each refused by its reason",
                     bad_tokens)

        def projects():
            web = fleet.secret("--role", "operator", "--project", "web")
            own = fleet.call(f"{VM}/CreateVM", web,
                             {"name": "mine", "spec": {"cpu": {"cores": 1}, "memory": {"sizeMib": 256}}})
            claim(own[0] == 200 and own[1]["project"] == "web", own)
            names = {vm["name"] for vm in fleet.call(f"{VM}/ListVMs", web, {"project": "-"})[1]["vms"]}
            claim(names == {"mine"}, names)
            box = fleet.vm("box")["id"]
            for method in ("GetVM", "StopVM", "DeleteVM", "ForkVM", "CloneVM", "UpdateVM"):
                for reference in (box, box[:12], "box"):
                    fleet.refused(404, "VM_NOT_FOUND", f"{VM}/{method}", web,
                                  {"id": reference, "name": "x", "updateMask": "labels",
                                   "vm": {"labels": {"a": "b"}}})
            fleet.refused(403, "PERMISSION_DENIED", f"{VM}/GetVM", web,
                          {"id": "box", "project": "default"})
            op = next(op["id"] for op in fleet.json("ops", "ls")
                      if op["subjects"][0]["name"] == "box")
            operations = "/roost.ops.v1.OperationService"
            fleet.refused(404, "OPERATION_NOT_FOUND", f"{operations}/GetOperation", web, {"id": op})
            fleet.refused(404, "OPERATION_NOT_FOUND", f"{operations}/CancelOperation", web,
                          {"id": op[-8:]})
            listed = fleet.call(f"{operations}/ListOperations", web)[1]["operations"]
            claim({op["subjects"][0]["name"] for op in listed} == {"mine"}, listed)
            events = "/roost.ops.v1.EventService/ListEvents"
            told = fleet.call(events, web, {"sinceRevision": 0, "pageSize": 1000})[1]["events"]
            claim({(each["subject"]["name"], each["project"]) for each in told} == {("mine", "web")},
                  told)
            claim(not fleet.call(events, web, {"filter": {"vm": box}})[1].get("events"), "box is told of")
            for wish in ({"node": "n1"}, {"kinds": ["NODE_STATE"]}, {"project": "default"}):
                fleet.refused(403, "PERMISSION_DENIED", events, web, {"filter": wish})
            fleet.ok("stop", "box")
            fleet.ok("template", "create", "base", "--from", "box")
            fleet.ok("start", "box")
            base_id = fleet.json("template", "ls")[0]["id"]
            for reference in ("base", base_id):
                fleet.refused(404, "TEMPLATE_NOT_FOUND", f"{VM}/CreateVM", web,
                              {"name": "thief", "spec": {"template": reference}})
            fleet.refused(403, "web", "/roost.fleet.v1.NodeService/ListNodes", web)
            fleet.refused(403, "web", "/roost.image.v1.ImageService/DeleteImage", web, {"name": "x"})
            claim(fleet.call("/metrics", web, method="GET")[0] == 403, "metrics are the fleet's")
            claim(fleet.state("box") == "RUNNING", "it was touched")

        runner.check("a project's token sees and changes its project only, by name, id and prefix",
                     projects)

        def pages():
            viewer = fleet.secret("--role", "viewer")
            claim(fleet.call("/healthz", method="GET")[0] == 200, "healthz is for anybody")
            claim(fleet.call("/metrics", method="GET")[0] == 401, "metrics want a token")
            status, text = fleet.call("/metrics", viewer, method="GET")
            claim(status == 200 and "roost_vms" in text, status, text)
            claim('grpc_client_handled_total{grpc_service="roost.node.v1.NodeLinkService",'
                  'grpc_method="Apply",grpc_code="OK"}' in text, "calls to nodes:", text)
            listing = f"{VM}/ListVMs"
            fleet.refused(403, "FOREIGN_ORIGIN", listing, viewer, Host="evil.example")
            fleet.refused(403, "FOREIGN_ORIGIN", listing, viewer, Origin="https://evil.example")
            for host in ("fleet.example", f"Fleet.Example:{fleet.api}", "localhost"):
                status, answer = fleet.call(listing, viewer, Host=host)
                claim(status == 200, host, answer)
            status, answer = fleet.call(listing, viewer, **{"X-Long": "x" * (100 << 10)})
            claim(status in (400, 413, 431), "a header of 100 KiB", status, answer)

        runner.check("pages want a token too; Host and Origin are compared", pages)

        def plaintext():
            with socket.create_connection(("127.0.0.1", fleet.api), timeout=PATIENCE) as plain:
                plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                try:
                    answer = plain.recv(4096)
                except ConnectionResetError:
                    answer = b""
            claim(b"ok" not in answer and b"HTTP" not in answer, answer)
            context = ssl.create_default_context(cafile=f"{base}/authority.pem")
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            try:
                with socket.create_connection(("127.0.0.1", fleet.api), timeout=PATIENCE) as raw, \
                        context.wrap_socket(raw, server_hostname="localhost"):
                    raise AssertionError("TLS 1.2 was taken")
            except ssl.SSLError:
                pass
            # The listener for nodes is no other way in.
            printed = fleet.secret("--role", "admin")
            address = f"https://{printed}@127.0.0.1:{fleet.port}"
            fleet.fine("mal", "context", "create", "nodes", "--access", "-", given=address.encode())
            result = fleet.user("mal", "ls", "--context", "nodes")
            claim(result.code in (5, 6), result)

        runner.check("plaintext and TLS 1.2 are refused, and the nodes' listener is no other way in",
                     plaintext)

        def another_fleet():
            os.makedirs(f"{base}/other", exist_ok=True)
            with Served(programs, f"{base}/other") as other:
                theirs = other.access("--role", "admin")
                # Their token, our address: the secret is not sent.
                wrong = re.sub(r"@.*", f"@127.0.0.1:{fleet.api}", theirs)
                fleet.fine("bob", "context", "create", "wrong", "--access", "-",
                           given=wrong.encode())
                result = fleet.user("bob", "ls", "--context", "wrong")
                claim(result.code == 5 and "another fleet" in result.err, result)
                claim("roost-access" not in result.err, result)
                fleet.refused(401, "another fleet", f"{VM}/ListVMs",
                              theirs[len("https://"):].split("@")[0])
            fleet.fine("bob", "context", "rm", "wrong")
            claim(not os.path.exists(f"{base}/bob/.config/roost/tokens/wrong"), "its token stays")

        runner.check("a token of another fleet is not sent to this one, and not taken by it",
                     another_fleet)

        def badly_kept():
            printed = fleet.access("--role", "viewer")
            fleet.fine("cat", "context", "create", "prod", "--access", "-", given=printed.encode())
            file = f"{base}/cat/.config/roost/tokens/prod"
            os.chmod(file, 0o644)
            result = fleet.user("cat", "ls", "--context", "prod")
            claim(result.code == 1 and "chmod 600" in result.err, result)
            os.unlink(file)
            result = fleet.user("cat", "ls", "--context", "prod")
            claim(result.code == 5 and "no token" in result.err, result)
            for words, says in (
                (["--endpoint", "https://127.0.0.1:1"], "--access"),
                (["--endpoint", f"https://{printed[8:]}"], "ps shows"),
                (["--access", "-"], "part of it is missing"),
                ([], "--endpoint"),
            ):
                result = fleet.user("cat", "context", "create", "bad", *words,
                                    given=printed[8:-30].split("@")[0][:-3].encode())
                claim(result.code in (2, 5) and says in result.err, words, result)
            fleet.control.end()
            fleet.fine("cat", "context", "create", "again", "--access", "-", given=printed.encode())
            result = fleet.user("cat", "ls", "--context", "again")
            claim(result.code == 6 and "no control plane answers" in result.err, result)

        runner.check("a token that others may read, none, or a control plane that is away: said so",
                     badly_kept)
