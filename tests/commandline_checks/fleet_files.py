"""Fleet files by hand: plan, apply, status, as a stranger tries them."""

from desk import Desk
from harness import claim, until
from placement import fails

DAEMON = ("--nodes", "3")
SHOP = """\
fleet: shop
groups:
  - name: web
    replicas: 3
    cpus: 1
    memory: 256
    labels: {app: web}
    anti-affinity: app=web
  - name: cache
    memory: 1g
    restart: on-failure:3
    power: running
"""


def checks(runner, programs, base):
    with Desk(programs, base, *DAEMON, "--state-dir", f"{base}/state") as desk:
        for body in (applied, kept, changed, tokens, generations, stuck, standard_input, bad):
            runner.check(f"fleet files: {body.__doc__}", body, desk, base)
        desk.ok("apply", "-f", write(base, SHOP))
    with Desk(programs, base, *DAEMON, "--state-dir", f"{base}/state") as desk:
        runner.check("fleet files: they survive a restart, and end with an empty list", ended, desk,
                     base)
    runner.check("fleet files: the daemon ended in order", lambda: claim(desk.status == 0))


def write(base, text):
    path = f"{base}/fleet.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def names(desk, state="RUNNING"):
    return sorted(vm["name"] for vm in desk.json("ls", "-a") if vm["status"]["state"] == state)


def applied(desk, base):
    """plan says what is made and where; apply makes it; status has it at 100 %."""
    path = write(base, SHOP)
    planned = desk.json("plan", "-f", path)
    claim([one["name"] for one in planned["changes"]] == ["cache", "web-1", "web-2", "web-3"],
          planned)
    claim(sorted(one["node"] for one in planned["changes"][1:]) == ["node1", "node2", "node3"],
          planned)
    claim(not names(desk), "a plan made VMs")
    text = desk.ok("plan", "-f", path)
    claim("create" in text and "0 of 4 VMs are as the file says; generation 1" in text, text)
    desk.ok("apply", "-f", path)
    claim(names(desk) == ["cache", "web-1", "web-2", "web-3"], names(desk))
    nodes = {vm["status"]["nodeId"] for vm in desk.json("ls", "-l", "app=web")}
    claim(len(nodes) == 3, nodes)
    (fleet,) = desk.json("status")
    claim(fleet["convergencePercent"] == 100 and fleet["generation"] == "1", fleet)
    claim("converged" in desk.ok("status", "shop"))
    claim(desk.json("get", "web-1")["fleet"] == "shop")
    claim(desk.json("plan", "-f", path).get("changes", []) == [])


def kept(desk, _):
    """what is stopped is started again, what is removed is made again."""
    desk.ok("kill", "web-1")
    desk.ok("rm", "-f", "web-2")
    until(lambda: names(desk) == ["cache", "web-1", "web-2", "web-3"], 20, "the fleet to be back")


def changed(desk, base):
    """labels change in place, memory by a restart, a network by a new VM."""
    before = {vm["name"]: vm["id"] for vm in desk.json("ls")}
    path = write(base, SHOP.replace("{app: web}", "{app: web, tier: front}")
                 .replace("memory: 1g", "memory: 2g"))
    kinds = {one["name"]: one["kind"] for one in desk.json("plan", "-f", path)["changes"]}
    claim(kinds == {"cache": "RESTART", "web-1": "UPDATE", "web-2": "UPDATE", "web-3": "UPDATE"},
          kinds)
    desk.ok("apply", "-f", path)
    after = {vm["name"]: vm for vm in desk.json("ls")}
    claim({name: vm["id"] for name, vm in after.items()} == before, "VMs were replaced")
    claim(after["web-3"]["labels"] == {"app": "web", "tier": "front"}, after["web-3"])
    claim(after["cache"]["spec"]["memory"]["sizeMib"] == "2048", after["cache"])
    path = write(base, SHOP.replace("power: running", "network: none"))
    kinds = {one["name"]: one["kind"] for one in desk.json("plan", "-f", path)["changes"]}
    claim(kinds["cache"] == "REPLACE", kinds)
    desk.ok("apply", "-f", path)
    claim(desk.json("get", "cache")["id"] != before["cache"], "cache was not replaced")


def tokens(desk, base):
    """a plan that no longer holds is refused with what is different."""
    path = write(base, SHOP.replace("replicas: 3", "replicas: 2"))
    token = desk.json("plan", "-f", path)["token"]
    desk.ok("apply", "-f", write(base, SHOP.replace("replicas: 3", "replicas: 1")))
    path = write(base, SHOP.replace("replicas: 3", "replicas: 2"))
    fails(desk, "apply", "-f", path, "--token", token, code=4,
          says=["web-2: nothing before, create now", "roost plan -f"])
    desk.ok("apply", "-f", path, "--token", desk.json("plan", "-f", path)["token"])
    claim(names(desk) == ["cache", "web-1", "web-2"], names(desk))


def generations(desk, base):
    """older generations, and other content under the same, are refused."""
    path = write(base, SHOP)
    desk.ok("apply", "-f", path, "--generation", "50")
    desk.ok("apply", "-f", path, "--generation", "50")
    fails(desk, "apply", "-f", path, "--generation", "49", code=4, says=["is at generation 50, and this is 49"])
    other = write(base, SHOP.replace("replicas: 3", "replicas: 1"))
    fails(desk, "apply", "-f", other, "--generation", "50", code=4, says=["with other content"])
    claim(desk.json("status", "shop")["generation"] == "50")
    fails(desk, "status", "none", code=3, says=["no fleet 'none'", "roost status"])


def stuck(desk, base):
    """what has no room is told, and goes on when there is; what is another's is left alone."""
    desk.ok("run", "-d", "--name", "mine")
    path = write(base, "fleet: big\ngroups:\n  - {name: huge, memory: 900g}\n  - name: mine\n")
    result = desk("apply", "-f", path, "--timeout", "2s")
    claim(result.code == 124, result)

    def left():
        return {one["name"]: one for one in desk.json("status", "big")["changes"]}

    # While it is tried again there is no word of it.
    until(lambda: "NO_CAPACITY" in left()["huge"].get("trouble", ""), 20, "its trouble to be told")
    claim(left()["mine"]["kind"] == "BLOCKED", left())
    desk.ok("apply", "-f", write(base, "fleet: big\ngroups: []\n"))
    claim("mine" in names(desk), "somebody else's VM is gone")
    desk.ok("rm", "-f", "mine")


def standard_input(desk, _):
    """JSON on standard input is a fleet file too."""
    words = '{"fleet": "json", "groups": [{"name": "one", "replicas": 0}]}'
    result = desk("apply", "-f", "-", input=words.encode())
    claim(result.code == 0, result)
    claim(desk.json("status", "json")["generation"] == "1")


# What is wrong, and where it is said to be.
BAD = {
    "fleet: shop\ngroups:\n  - name: web\n    replica: 3\n": ["4:5", "'replica' is no key"],
    "fleet: shop\ngroups:\n  - name: web\n    replicas: many\n": ["4:15", "'many' is no number"],
    "fleet: shop\ngroups:\n  - name: web\n    memory: much\n": ["4:13", "much"],
    "fleet: shop\ngroups:\n  - name: web\n    labels: [a]\n": ["4:13", "mapping"],
    "fleet: shop\ngroups:\n  - name: web\n    restart: maybe\n": ["4:14", "maybe"],
    "fleet: shop\ngroups:\n  - name: web\n    power: fast\n": ["4:12", "running or stopped"],
    "fleet: shop\ngroups:\n  - name: web\n    name: db\n": ["name"],
    "fleet: shop\ngroups:\n  - name: web\n  - name: web\n": ["4:5", "twice"],
    "fleet: shop\ngroups: web\n": ["2:9", "list"],
    "groups: []\n": ["1:1", "'fleet' is missing"],
    "fleet: shop\n  groups: []\n": ["2:"],
    "fleet: [\n": ["2:1"],
    "": ["empty"],
    "fleet: Shop\ngroups: []\n": ["state.name"],
    "fleet: shop\ngroups:\n  - name: web\n    replicas: 2001\n": ["state.groups[0].replicas"],
    "fleet: shop\ngroups:\n  - name: web\n    node: node9\n    memory:\n": ["5:12", "no value"],
}


def bad(desk, base):
    """bad files are refused with line and column, and nothing is changed."""
    before = desk.ok("status")
    for text, says in BAD.items():
        fails(desk, "apply", "-f", write(base, text), code=2, says=says)
    fails(desk, "plan", "-f", f"{base}/none.yaml", code=3, says=["there is no"])
    fails(desk, "plan", "-f", base, code=2, says=["directory"])
    large = write(base, "#" * (1 << 20) + "\nfleet: shop\ngroups: []\n")
    fails(desk, "plan", "-f", large, code=2, says=["1 MiB"])
    with open(large, "wb") as file:
        file.write(b"fleet: \xff\n")
    fails(desk, "plan", "-f", large, code=2, says=["UTF-8"])
    claim(desk.ok("status") == before, "something was published")


def ended(desk, base):
    """they survive a restart, and end with an empty list."""
    until(lambda: desk.json("status", "shop")["convergencePercent"] == 100, 20, "the fleet")
    claim(names(desk) == ["cache", "web-1", "web-2", "web-3"], names(desk))
    desk.ok("apply", "-f", write(base, "fleet: shop\ngroups: []\n"))
    claim(names(desk) == [], names(desk))
