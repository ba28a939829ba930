"""measure.py - what the comparisons share: images, the environment, whoever else
works on this machine."""
import gzip
import os
import re
import resource
import subprocess
import time
from pathlib import Path

import numpy as np


def mnist_images(data, which, count):
    """The first images of MNIST's "train" or "t10k", [count][28][28][1], 0 to 1."""
    path = Path(data) / f"{which}-images-idx3-ubyte"
    raw = path.read_bytes() if path.exists() else gzip.decompress(Path(f"{path}.gz").read_bytes())
    height, width = (int.from_bytes(raw[at:at + 4], "big") for at in (8, 12))
    pixels = np.frombuffer(raw, np.uint8, count * height * width, 16)
    return pixels.reshape(count, height, width, 1).astype(np.float32) / 255


def print_machine(build):
    """Prints what this machine is and can do; how many processors are ours to use."""
    text = subprocess.run([Path(build) / "tests/bench/machine"], check=True, capture_output=True,
                          text=True).stdout
    print(text, end="")
    return int(re.search(r"(\d+) processors", text)[1])


def clean_environment():
    """Ours without settings for some other OpenBLAS, which slow down the one that
    NumPy and PyTorch bring."""
    return {name: value for name, value in os.environ.items()
            if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}


class Processors:
    """This machine's, from now on."""

    def __init__(self):
        self.at = self._now()

    @staticmethod
    def _now():
        with open("/proc/stat", encoding="ascii") as file:
            fields = [int(field) / os.sysconf("SC_CLK_TCK") for field in file.readline().split()[1:]]
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return (time.monotonic() * os.cpu_count(), fields[3] + fields[4],
                sum(u.ru_utime + u.ru_stime for u in used))

    def others_share(self):
        """What neither idled nor was used by this program and its ended children."""
        total, idle, own = (now - then for now, then in zip(self._now(), self.at))
        return max(0.0, 1 - (idle + own) / total)
