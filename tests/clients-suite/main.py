"""Runs every part: main.py DIRECTORY-OF-BINARIES SCRATCH."""

import subprocess
import sys

import bad_input
import grpc_only
import lives
import oracle
import remedies
from clients import GRPC, Connect, Curl
from harness import PATIENCE, Daemon, check, equal, finish, part, raw


def pages(port):
    """The pages beside the API."""
    for page in ("/healthz", "/readyz"):
        answer = raw(port, "GET", page)
        equal(f"{page}: status and text", (answer.status, answer.body), (200, b"ok\n"))
    equal("a page that is not there", raw(port, "GET", "/no-such").status, 404)
    for headers in ({}, {"Accept": "application/openmetrics-text; version=1.0.0"}):
        answer = raw(port, "GET", "/metrics", headers=headers)
        equal("/metrics: status", answer.status, 200)
        text = answer.body.decode()
        check("/metrics: counts VMs", 'roost_vms{state="STOPPED"}' in text, text[:300])
        if "openmetrics" in answer.header("content-type"):
            check("/metrics: OpenMetrics ends with its mark", text.endswith("# EOF\n"), text[-80:])
            check("/metrics: OpenMetrics names a counter's family without its ending",
                  "# TYPE grpc_server_handled counter\n" in text, text[-3000:])
    plain = raw(port, "GET", "/metrics", headers={"Accept": "text/plain"})
    told = plain.body.decode()
    method = 'grpc_service="roost.compute.v1.VMService",grpc_method="GetVM"'
    for line in ('grpc_server_handled_total{%s,grpc_code="OK"} ' % method,
                 'grpc_server_handled_total{%s,grpc_code="NotFound"} ' % method,
                 'grpc_server_handling_seconds_bucket{%s,le="+Inf"} ' % method,
                 'roost_nodes{state="READY"} 1'):
        check(f"/metrics has {line}", "\n" + line in told, told[-3000:])
    run = subprocess.run(["promtool", "check", "metrics"], input=plain.body, capture_output=True,
                         timeout=PATIENCE, check=False)
    check("promtool check metrics", run.returncode == 0 and not run.stderr.strip(),
          (run.stdout + run.stderr).decode())


def main(binaries, scratch):
    with part("row V1 by curl"):
        lives.row_v1(binaries, scratch)
    with Daemon(binaries, scratch) as daemon:
        port = daemon.port
        streaming = [Connect(port, "json"), Connect(port, "proto"), GRPC(port)]
        for client in [Curl(port), *streaming]:
            with part(f"a VM's life: {client.name}"):
                lives.Life(client, "life-" + client.name.replace(" ", "-")).run()
        for client in streaming:
            with part(f"watch: {client.name}"):
                lives.watch(client, port, "watch-" + client.name.replace(" ", "-"))
            with part(f"the node's service: {client.name}"):
                lives.node_life(client)
        for client in (streaming[0], streaming[2]):
            with part(f"pages: {client.name}"):
                lives.pages(client, port)
        with part("gRPC: health, reflection, errors"):
            grpc_only.health(streaming[2])
            grpc_only.reflection(streaming[2])
            grpc_only.errors(streaming[2])
            grpc_only.busy_watch(streaming[2], port)
        with part("metrics and health pages"):
            pages(port)
        with part("json_format as the judge"):
            oracle.run(port)
        with part("bad input: fields"):
            bad_input.fields(port)
        with part("bad input: envelopes"):
            bad_input.envelopes(port)
        with part("bad input: sizes"):
            bad_input.sizes(daemon)
        with part("bad input: op ids"):
            bad_input.op_ids(port)
        with part("bad input: references"):
            bad_input.references(port)
        with part("bad input: races"):
            bad_input.races(port)
        with part("bad input: foreign pages"):
            bad_input.rebinding(port)
        with part("remedies"):
            remedies.run(binaries, scratch, daemon, streaming[2])
        with part("log"):
            bad_input.log(daemon)
    equal("M7: SIGTERM ends it in order", daemon.process.returncode, 0)
    with part("bad input: command lines"):
        bad_input.starts(binaries, scratch)
    return finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
