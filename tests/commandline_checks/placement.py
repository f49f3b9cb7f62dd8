"""Placement by hand: `roostd --dev --nodes 3`, as a stranger tries it."""

import json

from desk import Desk
from harness import claim

DAEMON = ("--nodes", "3")


def checks(runner, programs, base):
    kept = (*DAEMON, "--state-dir", f"{base}/state")
    with Desk(programs, base, *kept) as desk:
        for body in (nodes, racks, apart, together, explicit, cordons, taints, why, whatif, images,
                     rebalance, bad, refusals):
            runner.check(f"placement: {body.__doc__}", body, desk)
        clear(desk)
        desk.ok("node", "cordon", "node2", "--reason", "new disks")
        desk.ok("run", "-d", "--name", "stays", "--node", "node3")
    with Desk(programs, base, *kept) as desk:
        runner.check("placement: cordon, labels and decisions survive a restart", survived, desk)
    with Desk(programs, base, *DAEMON, "--placement", "pack") as desk:
        runner.check("placement: a daemon that packs fills one node", packs, desk)
    runner.check("placement: the daemons ended in order", lambda: claim(desk.status == 0))


def clear(desk):
    desk.ok("rm", "-f", "--purge", "-l", "")
    for node in desk.json("node", "ls"):
        desk.ok("node", "uncordon", node["name"])
        keys = [f"{taint['key']}-" for taint in node.get("taints", [])]
        if keys:
            desk.ok("node", "taint", node["name"], *keys)


def place(desk, name):
    """The name of the node that a VM is on."""
    found = {node["id"]: node["name"] for node in desk.json("node", "ls")}
    return found[desk.json("get", name)["status"]["nodeId"]]


def run(desk, name, *flags):
    return desk.ok("run", "-d", "--name", name, *flags)


def fails(desk, *words, code, says):
    result = desk(*words)
    claim(result.code == code, words, f"wanted {code} ->", result)
    for word in says:
        claim(word in result.err, f"no {word!r} in", result)
    return result.err


def nodes(desk):
    """three nodes are listed and inspected"""
    found = desk.json("node", "ls")
    claim([node["name"] for node in found] == ["node1", "node2", "node3"], found)
    claim(all(node["state"] == "READY" for node in found), found)
    one = desk.json("node", "inspect", "node1")
    claim(one["promisable"] == {"cores": "16", "memoryMib": "12288"}, one)
    claim(desk.json("node", "inspect", one["id"][:8])["name"] == "node1")
    claim("READY" in desk.ok("node", "ls", "-o", "wide"))


def racks(desk):
    """labels are set, and VMs spread over them"""
    for node, rack in (("node1", "r1"), ("node2", "r1"), ("node3", "r2")):
        desk.ok("node", "label", node, f"rack={rack}", "old=yes")
        desk.ok("node", "label", node, "old-")
    claim(desk.json("node", "inspect", "node3")["labels"] == {"rack": "r2"})
    claim(len(desk.json("node", "ls", "-l", "rack=r1")) == 2)
    for index in range(4):
        run(desk, f"s{index}", "-l", "app=s", "--spread-over", "rack")
    on_two = sum(place(desk, f"s{index}") == "node3" for index in range(4))
    claim(on_two == 2, "VMs on the rack with one node:", on_two)
    clear(desk)


def apart(desk):
    """anti-affinity gives each its own node, and the fourth is refused with what would help"""
    for index in range(3):
        run(desk, f"web-{index}", "-l", "app=web", "--anti-affinity", "app=web")
    claim(len({place(desk, f"web-{index}") for index in range(3)}) == 3)
    fails(desk, "run", "-d", "--name", "web-3", "-l", "app=web", "--anti-affinity", "app=web",
          code=125, says=["none of 3 nodes", "3 × "])
    # As a wish it is no obstacle, but these keep everybody like them away.
    fails(desk, "run", "-d", "--name", "web-3", "-l", "app=web", code=125, says=["3 × "])
    run(desk, "other", "--anti-affinity", "app=web:80")
    clear(desk)


def together(desk):
    """affinity to a VM by name, and to labels"""
    run(desk, "db", "--node", "node2", "-l", "app=db")
    run(desk, "near", "--affinity", "db")
    run(desk, "nearer", "--affinity", "app=db")
    claim(place(desk, "near") == place(desk, "nearer") == "node2")
    run(desk, "far", "--anti-affinity", "db", "--not-node", "node1")
    claim(place(desk, "far") == "node3")
    placed = desk.json("get", "far")["spec"]["placement"]
    claim(placed["affinities"][0]["vm"] == desk.json("get", "db")["id"], placed)
    clear(desk)


def explicit(desk):
    """a node that was named is honoured or refused, never moved"""
    run(desk, "here", "--node", "node3")
    claim(place(desk, "here") == "node3")
    fails(desk, "run", "-d", "--name", "large", "--node", "node3", "-c", "16", code=125,
          says=["too few cores", "it would fit after"])
    fails(desk, "run", "-d", "--name", "nowhere", "--node", "node9", code=125,
          says=["no node 'node9'", "roost node ls"])
    claim(desk.ok("ls", "-q", "--node", "node3") == "here\n")
    clear(desk)


def cordons(desk):
    """nothing new comes to a cordoned node, and what is there starts there"""
    run(desk, "there", "--node", "node1")
    desk.ok("node", "cordon", "node1", "--reason", "new disks")
    claim(desk.json("node", "inspect", "node1")["cordonReason"] == "new disks")
    for index in range(4):
        run(desk, f"v{index}")
        claim(place(desk, f"v{index}") != "node1")
    desk.ok("kill", "there")
    desk.ok("start", "there")
    fails(desk, "run", "-d", "--name", "x", "--node", "node1", code=125,
          says=["CORDONED", "uncordon node1"])
    desk.ok("node", "uncordon", "node1")
    run(desk, "x", "--node", "node1")
    clear(desk)


def taints(desk):
    """a taint keeps away whoever does not tolerate it"""
    desk.ok("node", "taint", "node1", "gpu=yes")
    run(desk, "plain", "--prefer-node", "node1:100")
    claim(place(desk, "plain") != "node1")
    run(desk, "tolerant", "--prefer-node", "node1:100", "--toleration", "gpu")
    claim(place(desk, "tolerant") == "node1")
    desk.ok("node", "taint", "node1", "gpu-")
    claim("taints" not in desk.json("node", "inspect", "node1"))
    clear(desk)


def why(desk):
    """why says the decision, why not there, and what would change that"""
    desk.ok("node", "cordon", "node1")
    run(desk, "vm", "--not-node", "node2")
    text = desk.ok("why", "vm", "--not-on", "node1")
    for words in ("on node3: 1 of 3 nodes fit", "1 × CORDONED", "1 × excluded", "1. node3: ",
                  "node1 would not do: CORDONED", "hint: uncordon node1"):
        claim(words in text, f"no {words!r} in", text)
    found = desk.json("why", "vm", "--not-on", "node2")
    claim(found["notOn"]["constraint"] == "excludedNodes", found)
    claim("drop the rule" in found["notOn"]["change"], found)
    claim(found["decision"]["fitting"] == "1" and found["decision"]["nodes"] == "3", found)
    fails(desk, "why", "nobody", code=3, says=["nobody"])
    clear(desk)


def whatif(desk):
    """what a forecast says is what then happens"""
    flags = ("-l", "app=w", "--spread-over", "rack")
    run(desk, "first", "-c", "4", "-m", "2g")
    answer = desk.json("whatif", "add", "6", "--shape", "3c1g", *flags)
    claim(answer["placed"] == "6", answer)
    for index, step in enumerate(answer["steps"]):
        run(desk, f"w{index}", "-c", "3", "-m", "1g", *flags)
        there = desk.json("get", f"w{index}")["status"]["nodeId"]
        claim(there == step["toNodeId"], f"w{index} came to {there} and not", step)
    before = desk.ok("ls", "-o", "json")
    for words in (["whatif", "drain", "node1"], ["whatif", "lose", "node2"]):
        text = desk.ok(*words)
        claim("would have a place" in text, text)
    claim(desk.ok("ls", "-o", "json") == before, "a question changed something")
    result = desk("whatif", "add", "40", "--shape", "4c4g")
    claim(result.code == 7 and "would have none" in result.out, result)
    claim("hint: " in result.out, result)
    text = desk.ok("whatif", "resize", "first", "--shape", "5c2g", "-o", "wide")
    claim("first stays" in text, text)
    clear(desk)


def parts(scored):
    return {part["name"]: int(part["points"]) for part in scored["parts"]}


def images(desk):
    """a VM goes where its image is, why says so, and where none has it, the first one's word counts"""
    for index in range(3):
        run(desk, f"i{index}", "node2-only")
        claim(place(desk, f"i{index}") == "node2")
        decision = desk.json("why", f"i{index}")["decision"]
        # Decided at once, not by asking those that have it not.
        claim(decision["fitting"] == "3" and not decision.get("removed"), decision)
        found = {node["nodeName"]: parts(node).get("locality", 0) for node in decision["best"]}
        claim(found == {"node1": 0, "node2": 1000000, "node3": 0}, found)
    claim("locality 1000000" in desk.ok("why", "i0"), desk.ok("why", "i0"))
    claim("placement" not in desk.json("get", "i0")["spec"], "the wish has become the VM's own")
    answer = desk.json("whatif", "add", "4", "--image", "node3-only")
    claim([node["nodeName"] for node in answer["arrivals"]] == ["node3"], answer)
    # All have the default image: room decides.
    for index in range(2):
        run(desk, f"d{index}")
        claim(place(desk, f"d{index}") != "node2")
    desk.ok("node", "cordon", "node2")
    fails(desk, "run", "-d", "--name", "x", "--pull", "never", "node2-only", code=125,
          says=["no image 'node2-only'"])
    clear(desk)


def rebalance(desk):
    """advice about which VMs had better be elsewhere: nothing moves by it, and it holds when followed"""
    claim("every VM is well where it is" in desk.ok("whatif", "rebalance"))
    for index in range(4):
        run(desk, f"r{index}", "-c", "3", "--node", "node1")
    run(desk, "image", "-c", "3", "--node", "node2", "node2-only")
    before = desk.ok("ls", "-o", "json")
    found = desk.json("whatif", "rebalance")["moves"]
    claim(found, "no advice")
    claim(all(move["fromNodeName"] == "node1" and move["reason"] == "GAIN" for move in found), found)
    claim(all(int(move["gain"]) >= 100000 for move in found), found)
    text = desk.ok("whatif", "rebalance")
    claim(f"{found[0]['vmName']}: node1 to {found[0]['toNodeName']}, " in text, text)
    names = desk.ok("whatif", "rebalance", "-o", "name").split()
    claim(names == [move["vmName"] for move in found], names)
    claim("fromNodeName: node1" in desk.ok("whatif", "rebalance", "-o", "yaml"))
    claim(len(desk.json("whatif", "rebalance", "--limit", "1")["moves"]) == 1)
    claim(not desk.json("whatif", "rebalance", "--min-gain", "10000000").get("moves"))
    claim(desk.ok("ls", "-o", "json") == before, "a question changed something")
    for move in found:
        desk.ok("rm", "-f", "--purge", move["vmName"])
        run(desk, move["vmName"], "-c", "3", "--node", move["toNodeName"])
    claim(not desk.json("whatif", "rebalance").get("moves"), desk.ok("whatif", "rebalance"))
    # A rule that is broken by now comes first, and is said.
    run(desk, "picky", "--node", "node3", "--require-label", "!old")
    desk.ok("node", "label", "node3", "old=yes")
    text = desk.ok("whatif", "rebalance")
    claim("picky: node3 to " in text and "labels are not !old" in text, text)
    desk.ok("node", "label", "node3", "old-")
    clear(desk)


BAD = (
    (["run", "-d", "--anti-affinity", "a=b c"], 125, "spec.placement.affinities[0].selector"),
    (["run", "-d", "--anti-affinity", "app=web:0"], 125, "--anti-affinity"),
    (["run", "-d", "--anti-affinity", "nobody"], 125, "nobody"),
    (["run", "-d", "--spread-over", "rack:x"], 125, "--spread-over"),
    (["run", "-d", "--spread-over", "ra ck"], 125, "spec.placement.spreads[0].over"),
    (["run", "-d", "--toleration", "a:never"], 125, "--toleration"),
    (["run", "-d", "--require-label", "a b=c"], 125, "spec.placement.required_labels"),
    (["run", "-d", "--node", "node1", "--not-node", "node1"], 125, "excluded"),
    (["run", "-d", "--affinity", "a=b", "--anti-affinity", "a=b"], 125, "together"),
    (["run", "-d", *["--anti-affinity", "a=b"] * 17], 125, "at most 16"),
    (["run", "-d", *["--not-node", "node1"] * 65], 125, "at most 64"),
    (["node", "cordon", "node9"], 3, "no node 'node9'"),
    (["node", "cordon", "node1", "--reason", "x" * 1025], 2, "reason"),
    (["node", "label", "node1", "a b=c"], 2, "set[a b]"),
    (["node", "label", "node1", "a"], 2, "'a' is not key=value"),
    (["node", "label", "node1", "a=b", "a-"], 2, "set as well"),
    (["node", "taint", "node1", "=x"], 2, "taint"),
    (["whatif", "add", "0"], 2, "add.count"),
    (["whatif", "add", "100001"], 2, "add.count"),
    (["whatif", "add", "1", "--shape", "large"], 2, "--shape"),
    (["whatif", "drain", "node9"], 3, "no node 'node9'"),
    (["whatif", "add", "1", "--image", "a b"], 2, "spec.image"),
    (["whatif", "rebalance", "--limit", "1001"], 2, "limit"),
    (["whatif", "rebalance", "--limit", "-1"], 2, "limit"),
    (["whatif", "rebalance", "--min-gain", "10000001"], 2, "minimum_gain"),
    (["why", "nobody", "--not-on", "node1"], 3, "nobody"),
)


def bad(desk):
    """each bad word is refused by its name, and nothing is made"""
    for words, code, says in BAD:
        fails(desk, *words, code=code, says=[says])
    claim(json.loads(desk.ok("ls", "-o", "json")) == [])
    claim(all(node["labels"].get("a") is None for node in desk.json("node", "ls")))


def refusals(desk):
    """a full fleet says how many nodes lack what, and the change that it names does help"""
    for node in ("node1", "node2", "node3"):
        for index in range(4):
            run(desk, f"{node}-{index}", "-c", "4", "-m", "256", "--node", node)
    said = fails(desk, "run", "-d", "--name", "more", "-c", "2", code=125,
                 says=["3 × too few cores", "it would fit after: free or add 2 cores on node"])
    node = said.partition("2 cores on ")[2].split()[0].strip(".,")
    desk.ok("rm", "-f", f"{node}-0")
    run(desk, "more", "-c", "2")
    claim(place(desk, "more") == node)
    # Several at once, each reported.
    result = desk("rm", "-f", "-l", "")
    claim(result.code == 0 and result.out.count("removed") == 12, result)


def survived(desk):
    found = {node["name"]: node for node in desk.json("node", "ls")}
    claim(found["node2"]["state"] == "CORDONED", found)
    claim(found["node2"]["cordonReason"] == "new disks", found)
    claim(found["node3"]["labels"] == {"rack": "r2"}, found)
    claim(desk.json("why", "stays")["decision"]["isExplicit"], "the decision is gone")
    run(desk, "again", "--not-node", "node3")
    claim(place(desk, "again") == "node1")


def packs(desk):
    for index in range(3):
        run(desk, f"p{index}")
    claim(len({place(desk, f"p{index}") for index in range(3)}) == 1)
