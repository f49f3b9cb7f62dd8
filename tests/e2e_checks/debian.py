"""A Debian root made by mmdebstrap: a real libc, apt, users, and the kernel's modules."""

import os
import subprocess

from harness import claim


def debian_root():
    """The archive: made once, kept in the cache; needs the network only then."""
    known = os.environ.get("ROOST_TEST_DEBIAN")
    if known:
        return known
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    path = f"{cache}/roost/debian-bookworm.tar"
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        made = f"{path}.{os.getpid()}.tar"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", "--include=kmod", "bookworm", made],
            check=True, timeout=600,
        )
        os.replace(made, path)
    return path


def imported(place):
    place.ok("image", "import", "debian", "--rootfs", debian_root(), timeout=240)
    place.ok("run", "--name", "deb", "--image", "debian", "-m", "384", "-d")
    lines = place.sh("deb", "dpkg -l | grep -c ^ii; id nobody; apt-get --version | head -1").splitlines()
    claim(int(lines[0]) > 50, lines)
    claim("uid=65534(nobody)" in lines[1] and lines[2].startswith("apt 2."), lines)


def owners(place):
    out = place.sh("deb", "stat -c '%U:%G %a' /etc/shadow /tmp /usr/bin/passwd /var/mail /dev/null")
    wanted = ["root:shadow 640", "root:root 1777", "root:root 4755", "root:mail 2775"]
    claim(out.splitlines()[:4] == wanted, out)
    out = place.ok("exec", "-u", "nobody", "deb", "--", "sh", "-c",
                   "id -un; cat /etc/shadow 2>&1 || echo refused")
    claim(out.splitlines()[0] == "nobody" and "refused" in out, out)


def modules(place):
    place.sh("deb", "modprobe overlay && grep -qw overlay /proc/filesystems")
    place.sh("deb", "cd /tmp && mkdir l u w m && echo low > l/f"
             " && mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m && cat m/f")
    place.sh("deb", "modprobe nf_tables && grep -qw nf_tables /proc/modules")


def checks(runner, bench):
    place = bench.place("debian")
    runner.check("a Debian root by mmdebstrap runs: dpkg, apt and its users", imported, place)
    runner.check("owners, modes and set-id bits are as in the archive", owners, place)
    runner.check("the chosen kernel's modules load in the guest: overlay and nf_tables",
                 modules, place)
    runner.check("the Debian VM leaves nothing", place.clear)
