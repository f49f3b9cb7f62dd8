#!/usr/bin/env python3
"""Roost's scheduler beside Ganeti's: do they agree on what fits, how fast, how many packed.

    compare.py PATH-TO-roost-schedbench [--clusters 1000] [--sizes 10,20,100,200] [--seconds 20]

Needs ganeti-htools (hail, hspace). Prints lines of the form `name key=value …`; ends with 1 when
a difference in feasibility is not one of the explained kinds.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time

HAIL = "/usr/lib/ganeti/iallocators/hail"
RATIO = 4.0
# The largest instance that the policy below allows; no drawn request is beyond it.
POLICY = ("128,1,1024,1,1,1|128,1,1024,1,1,1;1048576,64,104857600,16,8,64|plain|"
          f"{RATIO}|32.0")


class Cluster:
    """A few nodes, what is on them, and one request. Memory in MiB, disk in GiB."""

    def __init__(self, chance):
        self.nodes = []
        for _ in range(chance.randint(1, 8)):
            self.nodes.append({
                "cores": chance.choice([2, 4, 8]), "memory": chance.choice([4096, 8192, 16384]),
                "disk": chance.choice([40, 80, 160]), "own": chance.choice([0, 512, 1024])})
        self.vms = []
        for _ in range(chance.randint(0, 40)):
            node = chance.randrange(len(self.nodes))
            vm = self.shape(chance)
            if all(left > amount for left, amount in zip(self.free(node), vm)):
                self.vms.append((node, *vm))
        self.ask = self.shape(chance)
        if chance.random() < 0.3:
            # What just fits, or just does not: where rules differ.
            cores, memory, disk = self.free(chance.randrange(len(self.nodes)))
            step = chance.choice([0, 0, 1])
            self.ask = (max(1, min(cores, 64)), max(128, memory + step * 128), max(1, disk))

    @staticmethod
    def shape(chance):
        return (chance.randint(1, 6), chance.choice([256, 512, 1024, 2048, 4096]),
                chance.choice([1, 5, 10, 20]))

    def free(self, node):
        on = [vm for vm in self.vms if vm[0] == node]
        facts = self.nodes[node]
        return (int(facts["cores"] * RATIO) - sum(vm[1] for vm in on),
                facts["memory"] - facts["own"] - sum(vm[2] for vm in on),
                facts["disk"] - sum(vm[3] for vm in on))

    def for_us(self):
        lines = [f"node {n['cores']} {n['memory']} {n['disk']} {n['own']} {RATIO}"
                 for n in self.nodes]
        lines += ["vm " + " ".join(map(str, vm)) for vm in self.vms]
        return "\n".join(lines + ["ask " + " ".join(map(str, self.ask))])

    def for_ganeti(self):
        nodes, vms = [], []
        for index, facts in enumerate(self.nodes):
            _, memory, disk = self.free(index)
            flag = "M" if index == 0 else "N"
            nodes.append(f"n{index}|{facts['memory']}|{facts['own']}|{memory}|"
                         f"{facts['disk'] * 1024}|{disk * 1024}|{facts['cores']}|{flag}|uuid-1|1"
                         "||N|0|0|1.0")
        for index, (node, cores, memory, disk) in enumerate(self.vms):
            vms.append(f"i{index}|{memory}|{disk * 1024}|{cores}|running|Y|n{node}||plain||1|1|N")
        return "\n\n".join(["g1|uuid-1|preferred||", "\n".join(nodes), "\n".join(vms), "",
                            f"|{POLICY}\ng1|{POLICY}"]) + "\n"

    def request(self):
        cores, memory, disk = self.ask
        return json.dumps({
            "cluster_name": "c", "cluster_tags": [], "enabled_hypervisors": ["kvm"], "version": 2,
            "ipolicy": {}, "nodegroups": {}, "nodes": {}, "instances": {},
            "request": {
                "type": "allocate", "name": "x", "memory": memory, "vcpus": cores,
                "disk_space_total": disk * 1024, "disks": [{"size": disk * 1024, "mode": "w"}],
                "spindle_use": 1, "disk_template": "plain", "tags": [], "nics": [],
                "os": "debian", "hypervisor": "kvm", "required_nodes": 1}})

    def explanation(self):
        """Why Ganeti refuses every node that we would take, or nothing."""
        cores, memory, disk = self.ask
        reasons = set()
        for node, facts in enumerate(self.nodes):
            free = self.free(node)
            if free[0] < cores or free[1] < memory or free[2] < disk:
                continue
            if free[1] == memory or free[2] == disk:
                # Ganeti wants something left over: it refuses a VM that takes all.
                reasons.add("the_last_byte")
            elif cores > facts["cores"]:
                # Ganeti gives no VM more virtual cores than the node has real ones.
                reasons.add("wider_than_the_node")
            else:
                return None
        return "+".join(sorted(reasons)) or None


def ask_ganeti(cluster, work, checks):
    data, request = f"{work}/data", f"{work}/request"
    with open(data, "w", encoding="ascii") as file:
        file.write(cluster.for_ganeti())
    with open(request, "w", encoding="ascii") as file:
        file.write(cluster.request())
    command = [HAIL, "-t", data, request] + ([] if checks else ["--no-capacity-checks"])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if not done.stdout:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def agreement(bench, count, seed):
    """Whether each says that one more VM fits, over drawn clusters; the unexplained number."""
    chance = random.Random(seed)
    clusters = [Cluster(chance) for _ in range(count)]
    ours = subprocess.run([bench, "fits"], input="\n".join(c.for_us() for c in clusters) + "\n",
                          capture_output=True, text=True, timeout=600, check=True).stdout.split()
    if len(ours) != count:
        raise RuntimeError(f"{len(ours)} answers to {count} clusters")
    tally = {"agree_fits": 0, "agree_refused": 0}
    unexplained = 0
    with tempfile.TemporaryDirectory() as work:
        for index, (cluster, answer) in enumerate(zip(clusters, ours)):
            theirs = ask_ganeti(cluster, work, True)
            fits = answer != "none"
            if fits == theirs["success"]:
                tally["agree_fits" if fits else "agree_refused"] += 1
                continue
            why = cluster.explanation() if fits else None
            if fits and why is None and ask_ganeti(cluster, work, False)["success"]:
                # Ganeti keeps room so that any one node may fail; for us that is a what-if.
                why = "n_plus_1"
            if why:
                tally[why] = tally.get(why, 0) + 1
            else:
                unexplained += 1
                print(f"unexplained cluster={index} ours={answer} theirs={theirs['info']!r}\n"
                      + cluster.for_us())
    print("agreement clusters=%d %s unexplained=%d" % (
        count, " ".join(f"{key}={value}" for key, value in sorted(tally.items())), unexplained))
    return unexplained


def empty_cluster(nodes):
    """Equal nodes of 32 cores, 192 GiB of memory and 10 TB of disk."""
    lines = [f"n{index:04}|196608|0|196608|10240000|10240000|32|{'M' if index == 0 else 'N'}"
             "|uuid-1|1000||N|0|0|1.0" for index in range(nodes)]
    # Ganeti bounds the instances of a node by its spindles: a thousand, so that only room does.
    policy = POLICY
    return "\n\n".join(["g1|uuid-1|preferred||", "\n".join(lines), "", "",
                        f"|{policy}\ng1|{policy}"]) + "\n"


def fill(bench, nodes, seconds):
    """The same cluster filled with VMs of 4 GiB, 2 virtual CPUs and 10 GiB, by both."""
    ours = subprocess.run([bench, "fill", str(nodes), "2", "4096"], capture_output=True, text=True,
                          timeout=600, check=True).stdout.strip()
    placed, rate = map(int, re.search(r"placed=(\d+) per_s=(\d+)", ours).groups())
    with tempfile.NamedTemporaryFile("w", suffix=".data") as data:
        data.write(empty_cluster(nodes))
        data.flush()
        # It also fills the cluster with the largest instances first (one a node here): counted.
        command = ["hspace", "-t", data.name, "--disk-template=plain", "--machine-readable=yes",
                   "--standard-alloc=10240,4096,2", "--tiered-alloc=10240,196000,2",
                   "--no-capacity-checks"]
        bound = ""
        try:
            start = time.monotonic()
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds,
                                  check=False)
        except subprocess.TimeoutExpired:
            # A whole filling takes too long at this size: so many only.
            bound = " (stopped at 40 each)"
            start = time.monotonic()
            done = subprocess.run(command + ["--max-length=40"], capture_output=True, text=True,
                                  timeout=10 * seconds, check=False)
        took = time.monotonic() - start
    counts = dict(re.findall(r"HTS_(TRL|FIN)_INST_CNT=(\d+)", done.stdout))
    if "FIN" not in counts:
        raise RuntimeError(done.stdout[-300:] + done.stderr[-300:])
    packed = int(counts["FIN"])
    theirs = (packed + int(counts.get("TRL", 0))) / took
    print(f"fill nodes={nodes} ours={placed} hspace={packed}{bound} ours_per_s={rate} "
          f"hspace_per_s={theirs:.1f} ratio={rate / theirs:.0f}", flush=True)
    return placed >= packed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("bench")
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--sizes", default="10,20,100,200")
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    if not os.access(HAIL, os.X_OK):
        parser.error("hail is missing: apt-get install ganeti-htools")
    bad = agreement(options.bench, options.clusters, options.seed)
    for nodes in [int(one) for one in options.sizes.split(",") if one]:
        if not fill(options.bench, nodes, options.seconds):
            print(f"packed fewer than hspace at {nodes} nodes")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
