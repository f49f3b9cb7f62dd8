"""Images from a real registry: docker-registry, filled by skopeo, with a man between where it matters."""

import json
import os
import subprocess
import tarfile
import threading

from harness import claim, read
from registries import Between, Layer, Layout, Registry, needs

BUSYBOX = "/bin/busybox"
APPLETS = ("sh", "cat", "ls", "stat", "id", "pwd", "test", "echo", "true", "readlink", "mount")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
ENTRY = '#!/bin/sh\necho "entry:$*:$GREETING:$(pwd):$(id -un)"\n'
CONFIG = {"Entrypoint": ["/bin/entry"], "Cmd": ["from", "cmd"], "WorkingDir": "/work",
          "Env": ["GREETING=hello", "PATH=/bin"], "User": "nobody"}


def lower():
    layer = Layer()
    for path in ("bin", "etc", "dev", "proc", "sys", "tmp", "run", "root", "lib", "lib/modules", "work",
                 "dir", "opaque", "opaque/deep", "swap", "gone"):
        layer.directory(path)
    layer.add("bin/busybox", read(BUSYBOX), mode=0o755)
    for name in APPLETS:
        layer.add(f"bin/{name}", kind=tarfile.SYMTYPE, link="busybox", mode=0o777)
    layer.add("bin/entry", ENTRY, mode=0o755)
    layer.add("etc/passwd", PASSWD).add("etc/group", "root:x:0:\nnogroup:x:65534:\n")
    layer.add("etc/secret", "to be hidden").add("dir/old", "old").add("dir/kept", "kept")
    layer.add("opaque/a", "a").add("opaque/deep/b", "b").add("gone/x", "x")
    layer.add("swap/inside", "was a directory").add("file", "was a file")
    layer.add("set", read(BUSYBOX), mode=0o4755, owner=(1000, 1001))
    layer.add("big", "owner", owner=(2_000_000_000, 70_000), mode=0o640)
    layer.add("one", "linked").add("two", kind=tarfile.LNKTYPE, link="one")
    layer.add("null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666)
    layer.add("disk", kind=tarfile.BLKTYPE, device=(8, 300), mode=0o660, owner=(0, 6))
    layer.add("pipe", kind=tarfile.FIFOTYPE, mode=0o600)
    layer.add("noted", "x", attributes={"user.note": "grüezi", "security.mark": "mark"})
    layer.add("long/" + "n" * 200 + "/" + "ü" * 100, "long")
    layer.directory("sticky", mode=0o1777)
    return layer.finished()


def upper():
    layer = Layer()
    layer.add("etc/.wh.secret", "").add("dir/old", "new").add(".wh.gone", "")
    layer.add("opaque/new", "new").add("opaque/.wh..wh..opq", "")
    layer.add(".wh.swap", "").add("swap", "is a file").directory("file").add("file/x", "is a directory")
    layer.add("three", kind=tarfile.LNKTYPE, link="one")
    return layer.finished()


def make_image(bench, name="made", **more):
    layout = Layout(f"{bench.base}/{name}-layout")
    ours, manifest = layout.image([lower(), upper()], CONFIG, plain=(1,), **more)
    other, _ = layout.image([Layer().add("x", "arm").finished()], machine="arm64")
    layout.index([ours])
    return layout, ours, other, manifest


class Scene:
    """The registry, the image in it, and a place to pull to."""

    def __init__(self, bench):
        self.bench = bench
        self.place = bench.place("pulled")
        self.layout, self.ours, self.other, self.manifest = make_image(bench)
        self.registry = Registry(f"{bench.base}/docker-registry")
        try:
            self.registry.push(self.layout.path, "team/made:1")
        except Exception:
            self.registry.end()
            raise
        self.reference = f"{self.registry.host}/team/made:1"
        self.large = self.push_large()

    def push_large(self):
        """An image whose layer takes a while; returns the layer's descriptor."""
        layout = Layout(f"{self.bench.base}/large-layout")
        layer = Layer().directory("etc").add("random", os.urandom(6 << 20)).finished()
        entry, manifest = layout.image([layer])
        layout.index([entry])
        self.registry.push(layout.path, "team/large:1")
        return manifest["layers"][0]

    def image_files(self, place):
        return sorted(os.listdir(f"{place.state}/images"))


def pulled(scene):
    place = scene.place
    before = scene.image_files(place)
    place.ok("pull", scene.reference)
    images = {name: one for one in place.json("image", "ls") for name in one.get("names", [])}
    claim(scene.reference in images, sorted(images))
    found = images[scene.reference]
    wanted = f"{scene.registry.host}/team/made@{scene.ours['digest']}"
    claim(found["origins"] == [wanted], found)
    claim(len(scene.image_files(place)) == len(before) + 1, scene.image_files(place))
    claim(scene.reference in place.ok("image", "ls"), "the table has no tag")
    claim(os.listdir(f"{place.state}/blobs") == [], os.listdir(f"{place.state}/blobs"))


def config_counts(scene):
    run = ("run", "-m", "192", scene.reference)
    place = scene.place
    out = place.ok(*run)
    claim(out == "entry:from cmd:hello:/work:nobody\n", out)
    out = place.ok(*run, "--", "other words")
    claim(out == "entry:other words:hello:/work:nobody\n", out)
    out = place.ok("run", "-m", "192", "-e", "GREETING=ours", "-w", "/", "-u", "root",
                   "--entrypoint", "/bin/sh", scene.reference, "--", "-c", "echo $GREETING; pwd; id -u")
    claim(out == "ours\n/\n0\n", out)
    out = place.ok("run", "-m", "192", "--entrypoint", "", scene.reference, "--", "pwd")
    claim(out == "/work\n", out)


def contents(scene):
    place = scene.place
    place.ok("run", "--name", "made", "-m", "192", "-d", scene.reference)

    def guest(script):
        return place.ok("exec", "-u", "root", "-w", "/", "made", "--", "sh", "-c", script)

    out = guest("ls etc; echo; ls dir opaque; cat dir/old file/x swap; echo; test -e gone || echo none")
    claim("secret" not in out and "none" in out, out)
    claim("opaque:\nnew\n" in out and "newis a directory" in out and "is a file" in out, out)
    out = guest("stat -c '%a %u:%g %F' set big null disk pipe sticky").splitlines()
    wanted = ["4755 1000:1001 regular file", "640 2000000000:70000 regular file",
              "666 0:0 character special file", "660 0:6 block special file", "600 0:0 fifo",
              "1777 0:0 directory"]
    claim(out == wanted, out)
    out = guest("stat -c '%h %i' one two three; stat -c '%t,%T' null disk; cat two; cat long/*/*")
    lines = out.splitlines()
    claim(len(set(lines[:3])) == 1 and lines[0].startswith("3 "), lines)
    claim(lines[3:5] == ["1,3", "8,12c"] and lines[5] == "linkedlong", lines)
    place.ok("rm", "-f", "--purge", "made")
    root = f"{place.state}/images/{digest_of(scene).split(':')[1]}/root.ext4"
    listed = debugfs(root, "ea_get /noted user.note")
    claim("grüezi".encode().hex(" ") in listed or "grüezi" in listed, listed)
    listed = debugfs(root, "ea_get /noted security.mark")
    claim("6d 61 72 6b" in listed or '"mark"' in listed, listed)
    checked = subprocess.run([needs("e2fsck", "e2fsprogs"), "-fn", root], capture_output=True,
                             check=False, timeout=120)
    claim(checked.returncode == 0, checked.stdout.decode()[-500:])


def debugfs(image, command):
    return subprocess.run([needs("debugfs", "e2fsprogs"), "-R", command, image], check=True,
                          capture_output=True, timeout=30).stdout.decode()


def digest_of(scene, reference=None):
    wanted = reference or scene.reference
    for one in scene.place.json("image", "ls"):
        if wanted in one.get("names", []):
            return one["digest"]
    return None


def stored_once(scene):
    place = scene.place
    before = scene.image_files(place)
    # Another tag, and a choice of platforms that leads to the same image.
    scene.layout.index([scene.other, scene.ours])
    scene.registry.push(scene.layout.path, "team/many:2", "--all")
    many = f"{scene.registry.host}/team/many:2"
    place.ok("pull", many)
    claim(scene.image_files(place) == before, "stored twice")
    claim(digest_of(scene, many) == digest_of(scene), "two digests")
    pinned = f"{scene.registry.host}/team/made@{scene.ours['digest']}"
    claim(place.ok("run", "-m", "192", "--pull", "never", pinned).startswith("entry:"))
    place.ok("pull", pinned)
    claim(scene.image_files(place) == before, "stored twice")


def policies(scene):
    place = scene.bench.place("policies")
    run = ("run", "-m", "192")
    place.fails(*run, "--pull", "never", scene.reference, code=125, words=["made"])
    between = Between(scene.registry)
    try:
        reference = f"{between.host}/team/made:1"
        claim(place.ok(*run, reference).startswith("entry:"))
        first = len(between.blobs())
        claim(first == 3, between.blobs())
        asked = len(between.requests)
        claim(place.ok(*run, reference).startswith("entry:"))
        claim(len(between.requests) == asked, "missing asked although the image is here")
        claim(place.ok(*run, "--pull", "always", reference).startswith("entry:"))
        claim(len(between.requests) > asked, "always did not ask")
        claim(len(between.blobs()) == first, "always fetched what is here")
    finally:
        between.end()
    place.clear()


def moved_tag(scene):
    place = scene.place
    old = digest_of(scene)
    layout = Layout(f"{scene.bench.base}/moved-layout")
    entry, _ = layout.image([lower(), upper(), Layer().add("moved", "yes").finished()], CONFIG)
    layout.index([entry])
    scene.registry.push(layout.path, "team/made:1")
    place.ok("pull", scene.reference)
    claim(digest_of(scene) != old, "the tag did not move")
    digests = [one["digest"] for one in place.json("image", "ls")]
    claim(old in digests, "the former image is gone")
    scene.layout.index([scene.ours])
    scene.registry.push(scene.layout.path, "team/made:1")
    place.ok("pull", scene.reference)
    claim(digest_of(scene) == old, "the tag did not move back")


def resumed(scene):
    place = scene.bench.place("resumed")
    between = Between(scene.registry)
    try:
        between.cut = [3_000_000, 2_000_000]
        place.ok("pull", f"{between.host}/team/large:1")
        starts = [int(header[6:].split("-")[0]) for _, header in between.blobs() if header]
        # What was on its way when the connection broke may be lost, and is asked for once more.
        claim(len(starts) == 2 and 0 < starts[0] <= 3_000_000, between.blobs())
        claim(starts[0] < starts[1] <= starts[0] + 2_000_000, starts)
    finally:
        between.end()
    place.clear()


def resumed_by_the_next(scene):
    """A pull that fails keeps what it has; one whose registry knows no ranges too."""
    place = scene.bench.place("next")
    images = os.listdir(f"{place.state}/images")
    for ranges in (True, False):
        between = Between(scene.registry, ranges=ranges)
        try:
            between.cut = [4_000_000] + [0] * 20
            reference = f"{between.host}/team/large:1"
            place.fails("pull", reference, code=6, words=["cannot reach", "op-"])
            claim(os.listdir(f"{place.state}/images") == images, "something was published")
            kept = os.path.getsize(f"{place.state}/blobs/{scene.large['digest'].replace(':', '-')}")
            claim(0 < kept <= 4_000_000, kept)
            between.cut = []
            place.ok("pull", reference)
            claim(between.blobs()[-1][1] == f"bytes={kept}-{scene.large['size'] - 1}", between.blobs())
            claim(os.listdir(f"{place.state}/blobs") == [], "blobs are left")
            place.ok("image", "rm", reference)
        finally:
            between.end()
    place.clear()


def corrupted(scene):
    place = scene.bench.place("corrupted")
    layout = Layout(f"{scene.bench.base}/corrupted-layout")
    entry, manifest = layout.image([lower(), Layer().add("only-here", "x" * 5000).finished()], CONFIG)
    layout.index([entry])
    scene.registry.push(layout.path, "team/corrupted:1")
    reference = f"{scene.registry.host}/team/corrupted:1"
    images = os.listdir(f"{place.state}/images")
    for part in (manifest["layers"][1], manifest["config"], entry):
        path = scene.registry.blob(part["digest"])
        good = read(path)
        bad = bytearray(good)
        bad[len(bad) // 2] ^= 1
        with open(path, "wb") as file:
            file.write(bad)
        words = [part["digest"], "op-"] if part is not entry else ["op-"]
        result = place("pull", reference)
        claim(result.code != 0, "a corrupted blob was taken")
        claim(all(word in result.err for word in words), part, result)
        claim(os.listdir(f"{place.state}/images") == images, "something was published")
        left = os.listdir(f"{place.state}/blobs") if os.path.isdir(f"{place.state}/blobs") else []
        claim(not any(part["digest"].split(":")[1] in one for one in left), left)
        with open(path, "wb") as file:
            file.write(good)
    place.ok("pull", reference)
    place.clear()


def refused(scene):
    place = scene.place
    host = scene.registry.host
    place.fails("pull", f"{host}/team/made:none", code=3, words=[f"{host}/team/made:none", "op-"])
    place.fails("pull", f"{host}/team/nothing", code=3, words=["team/nothing"])
    place.fails("pull", "Not/A/Name", code=2, words=["Not/A/Name"])
    place.fails("pull", "127.0.0.1:1/x", code=6, words=["127.0.0.1:1"])
    result = place.fails("run", f"{host}/team/nothing", "--", "true", code=125, words=["nothing"])
    claim("op-" in result.err, result)

    def offered(name, layers, words, code=2, **more):
        path = f"{scene.bench.base}/refused-{name}"
        layout = Layout(path)
        entry, _ = layout.image(layers, **more)
        layout.index([entry])
        scene.registry.push(path, f"refused/{name}")
        place.fails("pull", f"{host}/refused/{name}", code=code, words=words)

    before = scene.image_files(place)
    offered("arm", [lower()], ["linux/arm64"], code=1, machine="arm64")
    offered("up", [Layer().add("../x", "x").finished()], [".."])
    offered("absolute", [Layer().add("/x", "x").finished()], ["absolute"])
    offered("through", [Layer().add("a", kind=tarfile.SYMTYPE, link="/etc").add("a/x", "x").finished()],
            ["a/x"])
    offered("notar", [b"x" * 1024], ["checksum"])
    offered("bomb", [Layer().add("zeros", bytes(64 << 20)).finished()[:40 << 20]], ["cut off"])
    claim(scene.image_files(place) == before, "something was published")


def at_once(scene):
    place = scene.bench.place("at-once")
    between = Between(scene.registry)
    try:
        reference = f"{between.host}/team/made:1"
        results = []
        place.ok("image", "ls")
        threads = [threading.Thread(target=lambda: results.append(place("pull", reference)))
                   for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        claim(all(result.code == 0 for result in results) and len(results) == 3,
              "; ".join(map(str, results)))
        claim(len({result.out for result in results}) == 1, results)
        claim(len(between.blobs()) == 3, between.blobs())
    finally:
        between.end()
    place.clear()


def cancelled(scene):
    """Ctrl-C of the client ends the pull, and leaves no image."""
    place = scene.bench.place("cancelled")
    asked, stop = threading.Event(), threading.Event()

    class Slow(Between):
        def answer(self, handler):
            if "/blobs/" in handler.path:
                asked.set()
                stop.wait(60)
            super().answer(handler)

    between = Slow(scene.registry)
    try:
        images = os.listdir(f"{place.state}/images")
        place.ok("image", "ls")
        client = place.popen("roost", "pull", f"{between.host}/team/made:1", stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        claim(asked.wait(60), "the pull asks for no blob")
        client.terminate()
        client.wait(60)
        stop.set()
        claim(os.listdir(f"{place.state}/images") == images, "something was published")
        place.ok("pull", f"{between.host}/team/made:1")
    finally:
        stop.set()
        between.end()
    place.clear()


def basic_login(scene):
    bench = scene.bench
    place = bench.place("login")
    registry = Registry(f"{bench.base}/closed", users={"me": "s3cret-word"})
    try:
        registry.push(scene.layout.path, "closed/made:1", "--dest-creds", "me:s3cret-word")
        reference = f"{registry.host}/closed/made:1"
        login = ("login", registry.host, "-u", "me", "--password-stdin")
        result = place.fails("pull", reference, code=5, words=[f"roost login {registry.host}", "op-"])
        place.fails(*login, input="wrong-word\n", code=5, words=["me", "op-"])
        claim(not os.path.exists(f"{place.state}/registries.json"), "a wrong password was stored")
        place.ok(*login, input="s3cret-word\n")
        mode = os.stat(f"{place.state}/registries.json").st_mode
        claim(mode & 0o777 == 0o600, oct(mode))
        place.ok("pull", reference)
        place.ok("logout", registry.host)
        place.ok("image", "rm", reference)
        result = place.fails("pull", reference, code=5)
        for folder, _, files in os.walk(place.state):
            for name in files:
                if not name.endswith((".ext4", ".img")):
                    claim(b"s3cret-word" not in read(f"{folder}/{name}"), f"{name} has the password")
        claim("s3cret-word" not in result.err)
    finally:
        registry.end()
    place.clear()


def token_login(scene):
    place = scene.bench.place("tokens")
    between = Between(scene.registry, users={"me": "p4ss", "": ""})
    try:
        reference = f"{between.host}/team/made:1"
        login = ("login", between.host, "-u", "me", "--password-stdin")
        place.fails("pull", reference, code=5, words=["login"])
        place.fails(*login, input="nope", code=5, words=["me"])
        place.ok(*login, input="p4ss")
        place.ok("pull", reference)
        tokens = [headers["Authorization"] for path, headers in between.requests
                  if "/blobs/" in path and "Authorization" in headers]
        claim(tokens and all(one == "Bearer t.me.repository-team/made-pull" for one in tokens), tokens)
    finally:
        between.end()
    place.clear()


def proxied(scene):
    between = Between(scene.registry)
    try:
        place = scene.bench.place("proxied", HTTP_PROXY=f"http://{between.host}", NO_PROXY="direct.test")
        place.ok("pull", "--plain-http", "registry.test:5000/team/made:1")
        claim(len(between.blobs()) == 3, between.requests)
        claim(between.requests[0][0] == "CONNECT registry.test:5000", between.requests[0])
        asked = len(between.requests)
        place.fails("pull", "--plain-http", "direct.test:5000/team/made:1", code=6)
        claim(len(between.requests) == asked, "NO_PROXY was not kept")
        names = json.loads(place.ok("image", "ls", "-o", "json"))
        claim(any("registry.test:5000/team/made:1" in one.get("names", []) for one in names), names)
        place.clear()
    finally:
        between.end()


def checks(runner, bench):
    scene = runner.check("docker-registry takes an image from skopeo", Scene, bench)
    if not scene:
        return
    try:
        check = runner.check
        check("pull brings an image, its tag and its digest, and leaves no blob", pulled, scene)
        check("a pulled image's entrypoint, command, variables, directory and user count",
              config_counts, scene)
        check("whiteouts, owners, modes, links, devices and attributes are as in the layers",
              contents, scene)
        check("two tags, an index and a digest of one image are one image", stored_once, scene)
        check("run --pull never, missing and always", policies, scene)
        check("a tag that moves in the registry moves here", moved_tag, scene)
        check("a download that breaks off goes on by Range", resumed, scene)
        check("a failed pull's bytes serve the next one, with and without ranges",
              resumed_by_the_next, scene)
        check("a corrupted layer, configuration or manifest is named and leaves nothing",
              corrupted, scene)
        check("what cannot be pulled is refused by name, with nothing left", refused, scene)
        check("three pulls of one image at once do the work once", at_once, scene)
        check("a pull whose client goes away leaves no image", cancelled, scene)
        check("login with a wrong password is refused, with the right one it pulls; logout ends it",
              basic_login, scene)
        check("a token server is asked with the credentials, and for this repository only",
              token_login, scene)
        check("HTTP_PROXY and NO_PROXY are kept", proxied, scene)
        check("the registry's place is empty afterwards", scene.place.clear)
    finally:
        scene.registry.end()
