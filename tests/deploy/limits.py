#!/usr/bin/env python3
"""limits.py SERVER WEIGHTS - a replica within the limits that the manifests set, by the plan of
memory that the manifest asks for, or by auto's and the full one, reloads under full batches
without being killed; so do two models, of which those have the full plan that there is room for.

WEIGHTS is the folder of the shipped files.  In control groups, as bench.py; bf16 and int8, where
the CPU multiplies them, in the smallest limits, too.
"""
import http.client
import pathlib
import re
import sys
import tempfile

from bench import TOP, Replica, limits_of, reload, send_many
from cgroup import available


SMALL = "deploy/kubernetes/overlays/small/kustomization.yaml"


def memory_of(path):
    """What a manifest sets --memory to; None: nothing."""
    found = re.search(r"name: CAPSNETD_MEMORY\s+value: (\w+)", (TOP / path).read_text())
    return found and found.group(1)


def check(server, weights, path, precision, memory):
    cpus, mib = limits_of(path)
    replica = Replica(server, weights, cpus, mib, "--precision", precision, "--memory", memory)
    assert replica.line, f"{path}: it did not start"
    plan, connection = replica.memory_plan(), http.client.HTTPConnection(replica.address, timeout=60)
    for _ in range(3):
        send_many(connection)
    reload(replica, connection, 3)
    send_many(connection)
    connection.close()
    after, peak = replica.process.poll() is None, replica.group.peak_mib()
    killed = replica.stop()
    print(f"{path}: {precision}, {memory}: {plan}, {mib} MiB, peak {peak:.0f}")
    assert memory in ("auto", plan) and after and not killed and not peak > 0.9 * mib


def check_two(server, weights, file, memory, mib, expected):
    """A model of weights/ twice, the second time under another name."""
    shipped = pathlib.Path(weights) / file
    name = re.search(rb'"name": ?"([^"]*)"', shipped.read_bytes()).group(1)
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as copy:
        copy.write(shipped.read_bytes().replace(b'"' + name + b'"', b'"' + name[::-1] + b'"', 1))
        copy.flush()
        replica = Replica(server, str(shipped), 2, mib, "--weights", copy.name, "--memory", memory)
        plans = re.findall(r"(full|low) memory", replica.line)
        connection = http.client.HTTPConnection(replica.address, timeout=60)
        for _ in range(3):
            for model in (name, name[::-1]):
                send_many(connection, f"/classify?model={model.decode()}")
        reload(replica, connection, 3)
        connection.close()
        after, peak = replica.process.poll() is None, replica.group.peak_mib()
        killed = replica.stop()
    print(f"{file} twice, {memory}: {' and '.join(plans)}, {mib} MiB, peak {peak:.0f}")
    assert plans == expected and after and not killed and not peak > 0.9 * mib


def main():
    if not available():
        sys.exit("it makes control groups, which here it cannot (it needs root)")
    with open("/proc/cpuinfo", encoding="ascii") as cpu:
        flags = cpu.read()
    for path in ("deploy/compose.yaml", "deploy/kubernetes/base/deployment.yaml",
                 "deploy/kubernetes/overlays/production/kustomization.yaml", "deploy/kserve/servingruntime.yaml",
                 SMALL):
        for memory in [memory_of(path)] if memory_of(path) else ["auto", "full"]:
            check(*sys.argv[1:], path, "f32", memory)
    check_two(*sys.argv[1:], "capsnet-mnist.safetensors", "full", 640, ["full", "full"])
    # What larger batches are computed with stays: the slim network's are, on any CPU.
    for mib, expected in ((130, ["low", "low"]), (143, ["full", "low"]), (170, ["full", "full"])):
        check_two(*sys.argv[1:], "capsnet-mnist-slim.safetensors", "auto", mib, expected)
    for precision, flag in (("bf16", "avx512_bf16"), ("int8", "avx512_vnni")):
        if flag in flags:
            check(*sys.argv[1:], SMALL, precision, "auto")


if __name__ == "__main__":
    main()
