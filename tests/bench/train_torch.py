#!/usr/bin/python3
"""train_torch.py BATCH THREADS: times the training step of tests/golden's
CapsNet in PyTorch, fp32, forward, backward and Adam, on noise.

Prints "seconds X Y", a step's median on the wall and in all processors, or why
not."""
import sys
import time
from pathlib import Path

try:
    import torch
except ImportError:
    print("PyTorch: SKIPPED: it is not installed (apt-get install python3-torch)")
    sys.exit(0)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "golden"))
sys.dont_write_bytecode = True
from capsnet_torch import CapsNet  # noqa: E402

STEPS = 5
SHAPES = {
    "conv1.weight": (256, 1, 9, 9), "conv1.bias": (256,),
    "primary.weight": (256, 256, 9, 9), "primary.bias": (256,),
    "digit.weight": (1152, 10, 16, 8),
    "decoder.0.weight": (512, 160), "decoder.0.bias": (512,),
    "decoder.2.weight": (1024, 512), "decoder.2.bias": (1024,),
    "decoder.4.weight": (784, 1024), "decoder.4.bias": (784,),
}


def main():
    batch, threads = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    tensors = {name: (0.02 * torch.randn(shape)).requires_grad_() for name, shape in SHAPES.items()}
    net = CapsNet(tensors, {"primary_stride": 2, "primary_dims": 8, "routing_iterations": 3})
    adam = torch.optim.Adam(tensors.values(), lr=1e-4)
    images, labels = torch.rand(batch, 28, 28, 1), torch.arange(batch) % 10
    wall, cpu = [], []
    for _ in range(STEPS + 1):
        start, start_cpu = time.perf_counter(), time.process_time()
        adam.zero_grad()
        lengths, poses, _ = net.forward(images)
        loss = net.loss(lengths, net.decode(poses, labels), images, labels, 0.0005)
        loss.backward()
        adam.step()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    # The first warms up.
    print(f"seconds {sorted(wall[1:])[STEPS // 2]:.6f} {sorted(cpu[1:])[STEPS // 2]:.6f}")


main()
