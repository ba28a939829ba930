"""cgroup.py - a control group with a CPU quota and a memory limit, as a container
engine makes one, for tests and benchmarks that need no engine.  Version 2 where the
memory controller is there, else version 1.  Root only; available() tells.
"""
import os
import pathlib
import subprocess

ROOT = pathlib.Path("/sys/fs/cgroup")
PERIOD_US = 100000


def is_v2():
    controllers = ROOT / "cgroup.controllers"
    return controllers.exists() and {"memory", "cpu"} <= set(controllers.read_text().split())


def available():
    if os.geteuid() != 0:
        return False
    return is_v2() or all(os.access(ROOT / c, os.W_OK) for c in ("memory", "cpu"))


class Group:
    """A group that holds one process tree; remove() it when that has ended."""

    def __init__(self, name, cpus, mib):
        self.v2 = is_v2()
        if self.v2:
            (ROOT / "cgroup.subtree_control").write_text("+cpu +memory")
            self.memory = self.cpu = ROOT / name
        else:
            self.memory, self.cpu = ROOT / "memory" / name, ROOT / "cpu" / name
        self.folders = {self.memory, self.cpu}
        for folder in self.folders:
            folder.mkdir()
        quota = int(cpus * PERIOD_US)
        if self.v2:
            (self.cpu / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            (self.memory / "memory.max").write_text(str(mib << 20))
            (self.memory / "memory.swap.max").write_text("0")
        else:
            (self.cpu / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.cpu / "cpu.cfs_quota_us").write_text(str(quota))
            (self.memory / "memory.limit_in_bytes").write_text(str(mib << 20))

    def start(self, command, **keywords):
        """subprocess.Popen of command, in the group from its first instruction."""
        enter = "".join(f"echo $$ > {folder}/cgroup.procs && " for folder in self.folders)
        return subprocess.Popen(["/bin/sh", "-c", f'{enter} exec "$@"', "sh", *command], **keywords)

    def peak_mib(self):
        name = "memory.peak" if self.v2 else "memory.max_usage_in_bytes"
        path = self.memory / name  # memory.peak: Linux 5.19 and later
        return int(path.read_text()) / (1 << 20) if path.exists() else float("nan")

    def was_killed(self):
        """How often the kernel killed in here for want of memory."""
        name = "memory.events" if self.v2 else "memory.oom_control"
        counts = dict(line.split() for line in (self.memory / name).read_text().splitlines())
        return int(counts.get("oom_kill", 0))

    def remove(self):
        for folder in self.folders:
            folder.rmdir()
