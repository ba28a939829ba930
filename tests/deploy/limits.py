#!/usr/bin/env python3
"""limits.py SERVER WEIGHTS - a replica within the limits that the manifests set takes the
fast plan, and reloads under full batches without being killed.

In control groups, as bench.py; bf16, where the CPU multiplies it, in the smallest limits.
"""
import http.client
import sys

from bench import Replica, limits_of, reload, send_many
from cgroup import available


def check(server, weights, path, precision):
    cpus, mib = limits_of(path)
    replica = Replica(server, weights, cpus, mib, "--precision", precision)
    assert replica.line, f"{path}: it did not start"
    plan, connection = replica.memory_plan(), http.client.HTTPConnection(replica.address, timeout=60)
    for _ in range(3):
        send_many(connection)
    reload(replica, connection, 3)
    send_many(connection)
    connection.close()
    after, peak = replica.process.poll() is None, replica.group.peak_mib()
    killed = replica.stop()
    print(f"{path}: {precision}, {plan}, {mib} MiB, peak {peak:.0f}")
    assert plan == "full" and after and not killed and not peak > 0.9 * mib


def main():
    if not available():
        sys.exit("it makes control groups, which here it cannot (it needs root)")
    with open("/proc/cpuinfo", encoding="ascii") as cpu:
        has_bf16 = "avx512_bf16" in cpu.read()
    for path in ("deploy/compose.yaml", "deploy/kubernetes/base/deployment.yaml",
                 "deploy/kubernetes/overlays/production/kustomization.yaml", "deploy/kserve/servingruntime.yaml"):
        check(*sys.argv[1:], path, "f32")
    if has_bf16:
        check(*sys.argv[1:], "deploy/kubernetes/overlays/small/kustomization.yaml", "bf16")


if __name__ == "__main__":
    main()
