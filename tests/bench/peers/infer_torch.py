#!/usr/bin/python3
"""infer_torch.py WEIGHTS IMAGES ANSWERS THREADS: PyTorch's turns in `make
bench-peers`, fp32, the network of tests/golden; ../peer.h tells the protocol."""
import sys
import time
from pathlib import Path

try:
    import numpy as np
    import torch
except ImportError:
    print("skipped PyTorch: it is not installed (make deps-bench-peers installs it)")
    sys.exit(0)

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "golden"))
sys.dont_write_bytecode = True
from capsnet_torch import CapsNet, read_safetensors  # noqa: E402


def main():
    weights, images_path, answers_path, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    tensors, metadata = read_safetensors(weights)
    net = CapsNet({name: tensor.float() for name, tensor in tensors.items()}, metadata)
    shape = [int(metadata[name]) for name in ("height", "width", "channels")]
    images = torch.from_numpy(np.fromfile(images_path, np.float32).reshape(-1, *shape))

    def run(n):
        lengths, poses, _ = net.forward(images[:n])
        return lengths, poses, net.decode(poses, lengths.argmax(1))

    def turn(n):
        passes = 0
        if n < 16:
            run(n)
        begin = time.perf_counter()
        while True:
            run(n)
            passes += 1
            spent = time.perf_counter() - begin
            if spent >= 0.01:
                return spent / passes

    print(f"ready PyTorch {torch.__version__}", flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            word, n = line.split()
            if word == "time":
                print(f"{turn(int(n)):.9f}", flush=True)
                continue
            with open(answers_path, "wb") as file:
                for output in run(int(n)):
                    file.write(output.contiguous().numpy().tobytes())
            print("done", flush=True)


main()
