"""train_before.py BUILD DATA BEFORE: training with the build at hand beside an earlier
one, in turns: images/s, and the ratio.

BEFORE is a capsnet-train, or a git revision, which is built in build/before/.  Both are
run as users run them.  A turn is the difference between a long run and one of a single
step, so that neither reading the images nor writing the file counts.
"""
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Processors, print_machine

BATCH, STEPS = 128, 10
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 5))


def built(before):
    """The capsnet-train that BEFORE names."""
    if os.path.isfile(before):
        return Path(before)
    revision = subprocess.run(["git", "rev-parse", "--verify", f"{before}^{{commit}}"],
                              check=True, capture_output=True, text=True).stdout.strip()
    folder = Path("build/before") / revision
    folder.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(["git", "archive", revision], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    subprocess.run(["make", "--no-print-directory", "-C", folder, "build/capsnet-train"],
                   check=True, stdout=subprocess.DEVNULL, env={**os.environ, "MAKEFLAGS": ""})
    return folder / "build/capsnet-train"


def run(program, data, folder, steps, threads):
    """Seconds of a run of one epoch of that many steps: on the wall, the epoch's alone,
    and of processors, all of it."""
    log = folder / "log"
    log.unlink(missing_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([program, "train", "--data", data, "--out", folder / "out.safetensors",
                    "--checkpoint", folder / "checkpoint", "--log", log, "--epochs", "1", "--batch",
                    str(BATCH), "--limit", str(BATCH * steps), "--threads", str(threads),
                    "--no-pictures", "--error-threshold", "0.05"], check=True,
                   stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    epoch = json.loads(log.read_text())
    return (BATCH * steps / epoch["images_per_second"],
            sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime")))


def turn(program, data, folder, threads):
    """Seconds of STEPS steps: on the wall, and of processors."""
    short, long = (run(program, data, folder, steps, threads) for steps in (1, 1 + STEPS))
    return [b - a for a, b in zip(short, long)]


def main():
    build, data, before = sys.argv[1:]
    sys.stdout.reconfigure(line_buffering=True)
    programs = {f"before: {before}": built(before), "now": Path(build) / "capsnet-train"}
    threads = print_machine(build)
    processors = Processors()
    print(f"training in turns, {ROUNDS} rounds of {STEPS} steps of {BATCH}, {threads} threads; medians\n"
          f"  {'images/s':44} {'wall':>8} {'CPU':>8}   (CPU: if all {threads} processors were its own)")
    seconds = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for name, program in programs.items():
                seconds[name].append(turn(program, data, Path(folder), threads))
    rates = {}
    for name, turns in seconds.items():
        wall, cpu = map(statistics.median, zip(*turns))
        rates[name] = BATCH * STEPS / wall, BATCH * STEPS * threads / cpu
        print(f"  {name:44} {rates[name][0]:8.0f} {rates[name][1]:8.0f}")
    old, new = rates.values()
    print(f"  {'now to before':44} {new[0] / old[0]:8.2f} {new[1] / old[1]:8.2f}\n"
          f"other programs took {100 * processors.others_share():.0f} % of the machine's processors "
          "meanwhile\n")


main()
