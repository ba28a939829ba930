#!/usr/bin/env python3
"""bench.py SERVER WEIGHTS - `make bench-deploy`: what a replica delivers within the
limits that the manifests set, and how much memory it needs.

Each replica runs in a control group (cgroup.py) with the CPU quota and the memory limit
read from the manifests, as an engine would run it; wrk sends 28x28 PNGs over 64
connections, through HAProxy (deploy/haproxy's rules) where there are several.  All on
this machine, loopback: a row whose CPUs are more than the machine's is left out.

BENCH_SECONDS (5) a row.  Needs root, wrk, and HAProxy for more than one replica.
"""
import contextlib
import http.client
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from cgroup import Group, available

TOP = pathlib.Path(__file__).resolve().parents[2]
SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))
PNG = (TOP / "tests/digits/digit-7.png").read_bytes()
BATCH = 64
MANY = (b"--x\r\nContent-Disposition: form-data; name=i; filename=i.png\r\n\r\n" + PNG + b"\r\n") * BATCH + b"--x--\r\n"
UNLIMITED_MIB = 8192


def limits_of(path):
    """(CPUs, MiB) of the first limits: in a manifest."""
    text = (TOP / path).read_text().split("limits:", 1)[1]
    cpus, milli = re.search(r'cpus?: "?([\d.]+)(m?)"?', text).groups()
    mib = re.search(r"memory: (\d+)Mi?\b", text).group(1)
    return float(cpus) / (1000 if milli else 1), int(mib)


class Replica:
    number = 0

    def __init__(self, server, weights, cpus, mib, *options):
        Replica.number += 1
        self.group = Group(f"capsnetd-bench-{os.getpid()}-{Replica.number}", cpus, mib)
        self.process = self.group.start(
            [server, "--listen", "127.0.0.1:0", "--weights", weights, "--log-level", "error", *options],
            stdout=subprocess.PIPE, text=True)
        self.line = self.process.stdout.readline()
        self.address = self.line.split("//")[-1].strip()

    def memory_plan(self):
        return re.search(r"(full|low) memory", self.line).group(1)

    def resident_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        killed = self.group.was_killed()
        self.group.remove()
        return killed


# ---- Memory ------------------------------------------------------------------------
def reload(replica, connection, times):
    """Reloads under full batches; each must have come into effect."""
    for i in range(1, times + 1):
        replica.process.send_signal(signal.SIGHUP)
        for _ in range(1000):
            send_many(connection)
            connection.request("GET", "/metrics")
            if f'capsnetd_reloads_total{{result="ok"}} {i}\n'.encode() in connection.getresponse().read():
                break
        else:
            sys.exit("a reload never came into effect")


def send_many(connection, path="/classify"):
    connection.request("POST", path, MANY, {"Content-Type": "multipart/form-data; boundary=x"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200


def measure_memory(server, weights, precision, plan):
    """(resident MiB under full batches, the group's peak, its peak with reloads)."""
    replica = Replica(server, weights, 1, UNLIMITED_MIB, "--precision", precision, "--memory", plan)
    connection = http.client.HTTPConnection(replica.address, timeout=60)
    for _ in range(5):
        send_many(connection)
    resident, peak = replica.resident_mib(), replica.group.peak_mib()
    reload(replica, connection, 3)
    with_reload = replica.group.peak_mib()
    connection.close()
    replica.stop()
    return resident, peak, with_reload


def memory_table(server, weights, precisions):
    print("memory, MiB: full batches of 64, then three reloads under them")
    print(f"{'':14} {'resident':>9} {'peak':>6} {'with reloads':>13}")
    for precision in precisions:
        for plan in ("auto", "full", "low"):
            figures = measure_memory(server, weights, precision, plan)
            print(f"{precision + ', ' + plan:14} {figures[0]:9.0f} {figures[1]:6.0f} {figures[2]:13.0f}", flush=True)


# ---- Requests ------------------------------------------------------------------------
@contextlib.contextmanager
def balancer(folder, replicas):
    """The address before the replicas: HAProxy's, by the rules of deploy/haproxy."""
    if len(replicas) == 1:
        yield replicas[0].address
        return
    rules = (TOP / "deploy/haproxy/haproxy.cfg").read_text().split("frontend metrics")[0]
    rules = re.sub(r" *default-server (init-state|resolvers).*\n", "", rules)
    servers = "".join(f"    server r{i} {r.address} maxconn 128\n" for i, r in enumerate(replicas))
    rules = re.sub(r" *server-template.*\n", servers, rules).replace("bind :8080", "bind 127.0.0.1:18090")
    config = pathlib.Path(folder, "haproxy.cfg")
    config.write_text(rules)
    process = subprocess.Popen(["haproxy", "-db", "-f", str(config)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    time.sleep(1.5)
    try:
        yield "127.0.0.1:18090"
    finally:
        process.terminate()
        process.wait(30)


def run_wrk(folder, address):
    """(requests/s, p50, p99, answers that were not 200)."""
    script = pathlib.Path(folder, "one.lua")
    script.write_text(f'local f = assert(io.open("{TOP}/tests/digits/digit-7.png", "rb"))\n'
                      'wrk.method, wrk.body = "POST", f:read("*a")\n')
    out = subprocess.run(["wrk", "-t1", "-c64", f"-d{SECONDS:g}s", "--latency", "-s", str(script),
                          f"http://{address}/classify"], capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
    p50, p99 = (re.search(rf"^ +{p}% +(\S+)", out, re.MULTILINE).group(1) for p in (50, 99))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return rate, p50, p99, int(bad.group(1)) if bad else 0


def capacity_row(folder, server, weights, name, limits, precision, n):
    cpus, mib = limits
    label = f"{name}: {cpus:g} CPU, {mib} MiB, {precision}"
    if n * cpus > os.cpu_count():
        print(f"{label:44} {n:8}  left out: this machine has {os.cpu_count()} CPUs")
        return
    if n > 1 and not shutil.which("haproxy"):
        print(f"{label:44} {n:8}  left out: HAProxy is not installed")
        return
    replicas = [Replica(server, weights, cpus, mib, "--precision", precision) for _ in range(n)]
    plan = replicas[0].memory_plan()
    with balancer(folder, replicas) as address:
        rate, p50, p99, bad = run_wrk(folder, address)
    peak = max(r.group.peak_mib() for r in replicas)
    killed = sum(r.stop() for r in replicas)
    print(f"{label:44} {n:8} {plan:>5} {rate:9.0f} {p50:>9} {p99:>9} {bad:8} {peak:9.0f} {killed:7}", flush=True)


def capacity_table(server, weights, precisions):
    manifests = {"compose": "deploy/compose.yaml", "kubernetes": "deploy/kubernetes/base/deployment.yaml",
                 "small": "deploy/kubernetes/overlays/small/kustomization.yaml",
                 "production": "deploy/kubernetes/overlays/production/kustomization.yaml",
                 "kserve": "deploy/kserve/servingruntime.yaml"}
    named = {}
    for name, path in manifests.items():
        named.setdefault(limits_of(path), []).append(name)
    print(f"requests, 64 connections, {SECONDS:g} s")
    print(f"{'limits':44} {'replicas':>8} {'plan':>5} {'req/s':>9} {'p50':>9} {'p99':>9} {'not 200':>8} {'peak MiB':>9} {'killed':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for limits, names in named.items():
            for precision in precisions:
                for n in (1, 2, 4) if precision == "f32" else (1,):
                    capacity_row(folder, server, weights, ", ".join(names), limits, precision, n)


def main():
    server, weights = sys.argv[1:]
    if not available():
        sys.exit("bench-deploy: SKIPPED: it makes control groups, which here it cannot (it needs root)")
    with open("/proc/cpuinfo", encoding="ascii") as cpu:
        text = cpu.read()
    name, flags = re.search(r"model name\s*: (.*)", text).group(1), text
    precisions = ["f32"] + ["bf16"] * ("avx512_bf16" in flags) + ["int8"] * ("avx512_vnni" in flags)
    print(f"== {os.cpu_count()} CPUs of {name}")
    memory_table(server, weights, precisions)
    capacity_table(server, weights, precisions)


if __name__ == "__main__":
    main()
