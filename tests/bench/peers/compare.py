"""compare.py BUILD WEIGHTS DATA: our engine beside the programs that people run such a
network with, all from one weights file, and how far that is from the goals.

Each contender is a process of its own (turns.py); one works at a time, and they take
turns, round after round.  Figures are medians.  On one core a pass counts by its
processor time, which is what it takes on the wall where nobody disturbs: so programs
of others on this machine weigh little.  On several cores it counts on the wall, for
threads that wait may spin, and there others' programs do weigh: the last line says
how much they took.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from measure import Processors, clean_environment, mnist_images, print_machine

HERE = Path(__file__).resolve().parent
BATCHES = (1, 16, 64)
IMAGES = 512                   # of the test set; 64 are timed
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 9))
F32_TOLERANCE = 1e-4
CHANGED_TOLERANCE = 0.01       # of the answers at lower precision; more is nonsense


class Contender:
    """A process that answers turns.py's questions; is_there is False where it cannot."""

    def __init__(self, maker, precision, command, files, threads):
        self.maker, self.precision, self.files = maker, precision, files
        self.process = subprocess.Popen(
            [*map(str, command), *map(str, files), str(threads)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=clean_environment())
        word, _, rest = self._line().partition(" ")
        self.is_there, self.name = word == "ready", rest
        if not self.is_there:
            print(f"{maker} {precision}: SKIPPED: {rest}")
            self.close()

    def _line(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.maker} {self.precision}: it ended before it answered")
        return line.strip()

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self._line()

    def turn(self, n):
        """Seconds of a pass over n images: on the wall, and of processors."""
        wall, cpu = map(float, self.ask("time", n).split())
        time.sleep(0.02)  # its idle threads spin for a moment
        return wall, cpu

    def answers(self, count, batch, shape):
        self.ask("answers", count, batch)
        raw = np.fromfile(self.files[2], np.float32)
        ends = np.cumsum([count * width for width in shape])
        return [part.reshape(count, -1) for part in np.split(raw, ends[:-1])]

    def most_mib(self):
        """Resident memory at its highest so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Comparison:
    def __init__(self, build, weights, data, folder):
        self.build, self.weights, self.folder = build, weights, folder
        subprocess.run([sys.executable, HERE / "quantise.py", weights, data, folder], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())
        self.images = mnist_images(data, "t10k", IMAGES)
        self.images.tofile(folder / "images")
        self.rates = {}   # (maker, precision, threads, n) -> images a second

    def open(self, maker, precision, threads):
        python = [sys.executable, "-B"]
        command = {
            "ours": [self.build / "tests/bench/contender", precision],
            "ONNX Runtime": [*python, HERE / "infer_onnxruntime.py", self.folder, precision],
            "OpenVINO": [*python, HERE / "infer_openvino.py", self.folder, precision],
            "PyTorch": [*python, HERE / "infer_torch.py", precision],
        }[maker]
        files = [self.weights, self.folder / "images", self.folder / "answers"]
        return Contender(maker, precision, command, files, threads)

    def open_all(self, threads):
        all_of_them = [self.open(maker, precision, threads) for maker, precisions in
                       (("ours", ("f32", "bf16", "int8")), ("ONNX Runtime", ("f32", "int8")),
                        ("OpenVINO", ("f32", "bf16", "int8")), ("PyTorch", ("f32", "bf16")))
                       for precision in precisions]
        return [c for c in all_of_them if c.is_there]

    def check(self, contenders):
        """All answers beside ours in f32; ends the program where they are nonsense."""
        pixels = int(np.prod(self.images.shape[1:]))
        shape = (10, 160, pixels)
        print(f"\nfarthest from our f32 answers, {IMAGES} test images in batches of 64, "
              "32 by themselves\n"
              f"  {'':32} {'lengths':>9} {'poses':>9} {'pictures':>9} {'classes changed':>16}")
        right = contenders[0].answers(IMAGES, 64, shape)
        for c in contenders:
            apart, changed = np.zeros(3), 0
            for count, batch in ((IMAGES, 64), (32, 1)):
                given = c.answers(count, batch, shape)
                apart = np.maximum(apart, [np.abs(a - b[:count]).max() for a, b in zip(given, right)])
                changed = max(changed, (given[0].argmax(1) != right[0][:count].argmax(1)).sum())
            print(f"  {c.name:32} {apart[0]:9.1e} {apart[1]:9.1e} {apart[2]:9.1e} {changed:16}")
            agrees = changed <= CHANGED_TOLERANCE * IMAGES and \
                (c.precision != "f32" or apart.max() <= F32_TOLERANCE)
            if not agrees or np.isnan(apart).any():
                sys.exit(f"{c.name}: it disagrees by too much: no timing means anything")

    def time_all(self, contenders, threads):
        by = 1 if threads == 1 else 0  # processor time, or the wall's
        print(f"\nforward pass with decoder, {threads} thread{'s' if threads > 1 else ''}, images/s by "
              f"{('the wall', 'processor time')[by]}\n"
              f"  {'':32} " + " ".join(f"{f'batch {n}':>9}" for n in BATCHES) + f" {'MiB':>6}")
        for n in BATCHES:
            seconds = [[] for _ in contenders]
            for c in contenders:
                c.turn(n)  # whatever is compiled or allocated at first
            for _ in range(ROUNDS):
                for c, s in zip(contenders, seconds):
                    s.append(c.turn(n)[by])
            for c, s in zip(contenders, seconds):
                self.rates[c.maker, c.precision, threads, n] = n / statistics.median(s)
        for c in contenders:
            rates = [self.rates[c.maker, c.precision, threads, n] for n in BATCHES]
            print(f"  {c.name:32} " + " ".join(f"{rate:9.0f}" for rate in rates)
                  + f" {c.most_mib():6.0f}", flush=True)

    def scaling(self, precision, threads):
        """How many times faster on that many threads: the median of rounds, each on the
        wall, one right after the other, for some seconds: for half of one the processors
        of a virtual machine may be one core's."""
        one, many = (self.open("ours", precision, count) for count in (1, threads))
        pairs = [(one.turn(64)[0], many.turn(64)[0]) for _ in range(6 * ROUNDS + 1)]
        one.close()
        many.close()
        return statistics.median(a / b for a, b in pairs)

    # ---- The goals -----------------------------------------------------------

    def best(self, batches, is_ours, is_f32=None, maker=None):
        """(images/s on one core, who at which batch) of the fastest of those."""
        return max((rate, f"{who} {precision}, batch {n}")
                   for (who, precision, threads, n), rate in self.rates.items()
                   if threads == 1 and n in batches and (who == "ours") == is_ours
                   and is_f32 in (None, precision == "f32") and maker in (None, who))

    def goals(self, threads):
        onnx = {"is_ours": False, "is_f32": True, "maker": "ONNX Runtime"}
        peer, f32, reduced = {"is_ours": False}, {"is_f32": True}, {"is_f32": False}
        for goal, ours, ours_at, theirs, theirs_at in (
                (5, f32, (64,), onnx, BATCHES), (10, reduced, (64,), onnx, BATCHES),
                (5, reduced, (1,), onnx, (1,)),
                (4, {}, (64,), peer, BATCHES), (2.5, {}, (1,), peer, (1,))):
            rate, who = self.best(ours_at, True, **ours)
            other, whom = self.best(theirs_at, **theirs)
            self.print_goal(f"{who}, to {whom}", rate / other, goal)
        if threads > 1:
            for precision in ("f32", self.best((64,), True, False)[1].split()[1].rstrip(",")):
                self.print_goal(f"ours {precision}, batch 64: {threads} cores to one",
                                self.scaling(precision, threads), 0.95 * threads)

    @staticmethod
    def print_goal(what, ratio, goal):
        print(f"  {what:64} {ratio:6.2f} {goal:6.2f}   {'met' if ratio >= goal else 'NOT met'}",
              flush=True)


def main():
    build, weights, data = map(Path, sys.argv[1:])
    sys.stdout.reconfigure(line_buffering=True)
    processors = Processors()
    threads = print_machine(build)
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(build, weights, data, Path(folder))
        for count in sorted({1, threads}):
            contenders = comparison.open_all(count)
            if count == 1:
                comparison.check(contenders)
            comparison.time_all(contenders, count)
            for contender in contenders:
                contender.close()
        print(f"\n  {'goals (one core unless it says otherwise)':64} {'ratio':>6} {'least':>6}")
        comparison.goals(threads)
    print(f"other programs took {100 * processors.others_share():.0f} % of the machine's processors "
          "meanwhile")


main()
