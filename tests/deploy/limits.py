#!/usr/bin/env python3
"""limits.py SERVER WEIGHTS - a replica within the limits that the manifests set takes the
fast plan for its first model, or the plan that the manifest asks for, and reloads under full
batches without being killed; so does one of two models whose second has room for the small
plan only.

WEIGHTS is a file or a folder.  In control groups, as bench.py; bf16 and int8, where the CPU
multiplies them, have the fast plan in the smallest limits, too.
"""
import http.client
import pathlib
import re
import sys
import tempfile

from bench import TOP, Replica, limits_of, reload, send_many
from cgroup import available


# Where large batches are computed in the transform domain on any CPU: what is full stays full.
SPECTRAL = ("--cpu-level", "openblas")
SMALL = "deploy/kubernetes/overlays/small/kustomization.yaml"


def memory_of(path):
    """What a manifest sets --memory to; None: nothing."""
    found = re.search(r"name: CAPSNETD_MEMORY\s+value: (\w+)", (TOP / path).read_text())
    return found and found.group(1)


def check(server, weights, path, precision, memory=None, options=()):
    cpus, mib = limits_of(path)
    replica = Replica(server, weights, cpus, mib, "--precision", precision, "--memory", memory or "auto", *options)
    assert replica.line, f"{path}: it did not start"
    plan, connection = replica.memory_plan(), http.client.HTTPConnection(replica.address, timeout=60)
    for _ in range(3):
        send_many(connection)
    reload(replica, connection, 3)
    send_many(connection)
    connection.close()
    after, peak = replica.process.poll() is None, replica.group.peak_mib()
    killed = replica.stop()
    print(f"{path}: {' '.join((precision, *options))}, {plan}, {mib} MiB, peak {peak:.0f}")
    expected = memory or ("full" if options == SPECTRAL else plan)
    assert plan == expected and after and not killed and not peak > 0.9 * mib


def check_two(server, weights, mib, expected):
    """The shipped model twice, the second time under another name; three times at most, since what
    is full stays so by what is measured."""
    path = pathlib.Path(weights)
    shipped = path / "capsnet-mnist.safetensors" if path.is_dir() else path
    name = re.search(rb'"name": ?"([^"]*)"', shipped.read_bytes()).group(1)
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as copy:
        copy.write(shipped.read_bytes().replace(b'"' + name + b'"', b'"' + name[::-1] + b'"', 1))
        copy.flush()
        for tries_left in (2, 1, 0):
            replica = Replica(server, str(shipped), 2, mib, "--weights", copy.name, *SPECTRAL)
            plans = re.findall(r"(full|low) memory", replica.line)
            if plans == expected or not tries_left:
                break
            replica.stop()
        connection = http.client.HTTPConnection(replica.address, timeout=60)
        for _ in range(3):
            for model in (name, name[::-1]):
                send_many(connection, f"/classify?model={model.decode()}")
        reload(replica, connection, 3)
        connection.close()
        after, peak = replica.process.poll() is None, replica.group.peak_mib()
        killed = replica.stop()
    print(f"two models: {' and '.join(plans)}, {mib} MiB, peak {peak:.0f}")
    assert plans == expected and after and not killed and not peak > 0.9 * mib


def main():
    if not available():
        sys.exit("it makes control groups, which here it cannot (it needs root)")
    with open("/proc/cpuinfo", encoding="ascii") as cpu:
        flags = cpu.read()
    for path in ("deploy/compose.yaml", "deploy/kubernetes/base/deployment.yaml",
                 "deploy/kubernetes/overlays/production/kustomization.yaml", "deploy/kserve/servingruntime.yaml",
                 SMALL):
        for options in ((), SPECTRAL):
            check(*sys.argv[1:], path, "f32", memory_of(path), options)
    check_two(*sys.argv[1:], 440, ["full", "low"])
    check_two(*sys.argv[1:], 640, ["full", "full"])
    for precision, flag in (("bf16", "avx512_bf16"), ("int8", "avx512_vnni")):
        if flag in flags:
            check(*sys.argv[1:], SMALL, precision)


if __name__ == "__main__":
    main()
