"""A real registry (docker-registry) on a free loopback port, images made by hand, and a man between."""

import base64
import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import threading
import urllib.parse

from harness import claim, free_port, until

OCI = "application/vnd.oci.image"


def needs(program, package):
    path = shutil.which(program)
    claim(path, f"{program} is missing: apt-get install {package}")
    return path


class Registry:
    """docker-registry with a storage of its own; with users it wants a login."""

    def __init__(self, base, users=None):
        self.folder = base
        os.makedirs(f"{base}/storage")
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        settings = [
            "version: 0.1", "log: {level: error, accesslog: {disabled: true}}",
            f"storage: {{filesystem: {{rootdirectory: {base}/storage}}}}",
            f"http: {{addr: {self.host}}}",
        ]
        if users:
            settings.append(f"auth: {{htpasswd: {{realm: roost, path: {base}/htpasswd}}}}")
            with open(f"{base}/htpasswd", "wb") as file:
                for user, password in users.items():
                    line = [needs("htpasswd", "apache2-utils"), "-niB", user]
                    file.write(subprocess.run(line, input=password.encode(), check=True,
                                              capture_output=True).stdout.strip() + b"\n")
        with open(f"{base}/config.yml", "w", encoding="utf-8") as file:
            file.write("\n".join(settings) + "\n")
        program = needs("docker-registry", "docker-registry")
        with open(f"{base}/log", "wb") as log:
            self.process = subprocess.Popen([program, "serve", f"{base}/config.yml"],
                                            stdout=log, stderr=log, start_new_session=True)
        until(self.answers, 20, "docker-registry to answer")

    def answers(self):
        try:
            connection = http.client.HTTPConnection(self.host, timeout=2)
            connection.request("GET", "/v2/")
            return connection.getresponse().status in (200, 401)
        except OSError:
            return False

    def push(self, layout, name, *options):
        subprocess.run(
            [needs("skopeo", "skopeo"), "--insecure-policy", "copy", "--quiet", "--preserve-digests",
             "--dest-tls-verify=false", *options, f"oci:{layout}", f"docker://{self.host}/{name}"],
            check=True, timeout=120, capture_output=True,
        )

    def blob(self, digest):
        """The path where the registry keeps a blob."""
        digits = digest.split(":")[1]
        return (f"{self.folder}/storage/docker/registry/v2/blobs/sha256/"
                f"{digits[:2]}/{digits}/data")

    def end(self):
        self.process.terminate()
        self.process.wait(20)


class Layer:
    """A tar stream that is put together member by member."""

    def __init__(self):
        self.bytes = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.bytes, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, path, content=None, kind=None, link="", mode=0o644, owner=(0, 0), device=(0, 0),
            attributes=None):
        member = tarfile.TarInfo(path)
        member.type = kind or tarfile.REGTYPE
        member.mode, member.linkname, member.mtime = mode, link, 1700000000
        member.uid, member.gid = owner
        member.devmajor, member.devminor = device
        member.pax_headers = {f"SCHILY.xattr.{key}": value
                              for key, value in (attributes or {}).items()}
        data = content.encode() if isinstance(content, str) else content
        member.size = len(data) if data is not None else 0
        self.tar.addfile(member, io.BytesIO(data) if data is not None else None)
        return self

    def directory(self, path, mode=0o755, **rest):
        return self.add(path, kind=tarfile.DIRTYPE, mode=mode, **rest)

    def finished(self):
        self.tar.close()
        return self.bytes.getvalue()


class Layout:
    """An OCI layout on disk: what skopeo pushes."""

    def __init__(self, path):
        self.path = path
        os.makedirs(f"{path}/blobs/sha256")
        with open(f"{path}/oci-layout", "w", encoding="utf-8") as file:
            file.write('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, data, kind):
        digest = hashlib.sha256(data).hexdigest()
        with open(f"{self.path}/blobs/sha256/{digest}", "wb") as file:
            file.write(data)
        return {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    def image(self, layers, config=None, machine="amd64", plain=()):
        """Adds a manifest; layers whose index is in `plain` are not packed."""
        entries = []
        for index, layer in enumerate(layers):
            if index in plain:
                entries.append(self.blob(layer, "layer.v1.tar"))
            else:
                entries.append(self.blob(gzip.compress(layer, 6, mtime=0), "layer.v1.tar+gzip"))
        document = {
            "os": "linux", "architecture": machine, "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": [
                "sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]},
        }
        manifest = {
            "schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json",
            "config": self.blob(json.dumps(document).encode(), "config.v1+json"),
            "layers": entries,
        }
        entry = self.blob(json.dumps(manifest).encode(), "manifest.v1+json")
        entry["platform"] = {"os": "linux", "architecture": machine}
        return entry, manifest

    def index(self, entries):
        """Says what the layout holds: an image, or a choice of several."""
        if len(entries) > 1:
            document = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json",
                        "manifests": entries}
            entries = [self.blob(json.dumps(document).encode(), "index.v1+json")]
        with open(f"{self.path}/index.json", "w", encoding="utf-8") as file:
            json.dump({"schemaVersion": 2, "manifests": entries}, file)


def pump(source, target):
    """Hands on bytes until there are no more."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # The other side has gone: so do we.


class Between:
    """Forwards to a registry, as an address of its own or as an HTTP proxy, and interferes.

    `requests` has (path, headers) of all that came. `cut` is after how many bytes of a blob's body
    the connection ends, once each. With `users` it is a registry that wants tokens.
    """

    def __init__(self, registry, users=None, ranges=True):
        self.registry, self.users, self.ranges = registry, users, ranges
        self.requests = []
        self.cut = []
        self.lock = threading.Lock()
        between = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                between.answer(self)

            def do_CONNECT(self):
                between.tunnel(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def answer(self, handler):
        path = handler.path
        with self.lock:
            self.requests.append((path, dict(handler.headers.items())))
        if self.users is not None and not self.lets_in(handler, path):
            return
        headers = {name: value for name, value in handler.headers.items()
                   if name.lower() in ("accept", "range")}
        if not self.ranges:
            headers.pop("Range", None)
        connection = http.client.HTTPConnection(self.registry.host, timeout=30)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        handler.send_response(response.status)
        for name in ("Content-Type", "Docker-Content-Digest", "Content-Range"):
            if response.getheader(name):
                handler.send_header(name, response.getheader(name))
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        with self.lock:
            cut = self.cut.pop(0) if self.cut and "/blobs/" in path and len(body) > 4096 else None
        try:
            handler.wfile.write(body if cut is None else body[:cut])
        except OSError:
            return  # Who asked has gone away; that is what some checks are about.
        if cut is not None:
            handler.wfile.flush()
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_WR)

    def tunnel(self, handler):
        """As a proxy: whatever name is asked for, here is its server."""
        with self.lock:
            self.requests.append((f"CONNECT {handler.path}", {}))
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        with socket.create_connection(self.server.server_address) as inner:
            back = threading.Thread(target=pump, args=(inner, handler.connection))
            back.start()
            pump(handler.connection, inner)
            back.join()

    def lets_in(self, handler, path):
        """A token server and a registry that believes it."""
        given = handler.headers.get("Authorization", "")
        if path.startswith("/token"):
            user, _, password = base64.b64decode(given[6:]).decode().partition(":")
            if given and self.users.get(user) != password:
                self.say(handler, 401, {"errors": [{"code": "UNAUTHORIZED", "message": "no such"}]})
                return False
            scope = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query).get("scope", [""])[0]
            self.say(handler, 200, {"token": f"t.{user}.{scope}".replace(":", "-")})
            return False
        if given.startswith("Bearer t.") and not given.startswith("Bearer t.."):
            return True
        self.say(handler, 401, {"errors": [{"code": "DENIED", "message": "who are you"}]}, {
            "WWW-Authenticate": f'Bearer realm="http://{self.host}/token",service="s"'})
        return False

    @staticmethod
    def say(handler, status, document, headers=None):
        body = json.dumps(document).encode()
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def blobs(self):
        """(path, Range) of the blobs that were asked for."""
        with self.lock:
            return [(path, headers.get("Range")) for path, headers in self.requests
                    if "/blobs/" in path]

    def end(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
