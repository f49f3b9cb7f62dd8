"""A machine that goes on in another process, by hand: what the pause of a live fork has to cost."""

import json
import socket
import subprocess
import time

PATIENCE_SECONDS = 30


class Control:
    """QEMU's monitor (QMP)."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rw")
        self.lines.readline()
        self.order("qmp_capabilities")

    def order(self, name, **arguments):
        """Gives one order and waits for its answer."""
        self.lines.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.lines.flush()
        while True:
            answer = json.loads(self.lines.readline())
            if "error" in answer:
                raise OSError(f"QEMU refused {name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def leave_memory_out(self):
        """What is in a shared file stays there: a state has the devices only."""
        self.order("migrate-set-capabilities",
                   capabilities=[{"capability": "x-ignore-shared", "state": True}])

    def wait(self, order, *wanted):
        """Asks `order` until its status is one of `wanted`."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            status = self.order(order).get("status")
            if status in wanted:
                return
            if status == "failed" or time.monotonic() > end:
                raise OSError(f"{order} says {status}")
            time.sleep(0.0005)

    def close(self):
        self.lines.close()
        self.socket.close()


def carry(machine):
    """Makes `machine`, a bare one that runs, go on in a second process, which maps the first one's
    memory copy-on-write and writes to an overlay of its disk. Returns the seconds of the machine's
    standing still, as who gives the orders sees them.

    All that can be done before is done before, and nothing is synced or kept.
    """
    folder = machine.folder
    overlay = f"{folder}/next.qcow2"
    # Unchecked, for the disk under it is in use.
    subprocess.run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", f"{folder}/root.qcow2",
                    "-F", "qcow2", overlay, str(machine.disk_bytes)], check=True)
    arguments = [one.replace(f"{folder}/root.qcow2", overlay).replace("share=on", "share=off")
                 for one in machine.arguments] + ["-S", "-incoming", "defer"]
    pid = machine.spawn(arguments, "next-")
    source = successor = None
    try:
        source, successor = Control(f"{folder}/qmp.sock"), Control(f"{folder}/next-qmp.sock")
        source.leave_memory_out()
        successor.leave_memory_out()
        source.order("migrate-set-parameters", **{"max-bandwidth": 100 << 30})
        # As we do: a guest that is told that it has moved announces itself before anything else.
        successor.order("migrate-set-parameters", **{"announce-rounds": 0})
        successor.order("migrate-incoming", uri=f"unix:{folder}/state.sock")
        begun = time.perf_counter()
        source.order("stop")
        source.order("migrate", uri=f"unix:{folder}/state.sock")
        source.wait("query-migrate", "completed")
        successor.wait("query-status", "paused", "prelaunch", "postmigrate")
        successor.order("cont")
        stood = time.perf_counter() - begun
    except BaseException:
        machine.kill(pid)
        raise
    finally:
        for control in (source, successor):
            if control:
                control.close()
    machine.succeeded_by(pid)
    return stood
