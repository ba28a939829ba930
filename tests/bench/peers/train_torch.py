"""train_torch.py BATCH THREADS: times the training step of tests/golden's CapsNet in
PyTorch, compiled, fp32, forward, backward and Adam, on noise.

Prints "seconds X Y NAME", a step's median on the wall and in all processors."""
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "golden"))
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
    adam = torch.optim.Adam(tensors.values(), lr=1e-4, fused=True)
    images, labels = torch.rand(batch, 28, 28, 1), torch.arange(batch) % 10

    @torch.compile(dynamic=False)
    def loss(images, labels):
        lengths, poses, _ = net.forward(images)
        return net.loss(lengths, net.decode(poses, labels), images, labels, 0.0005)
    wall, cpu = [], []
    for _ in range(STEPS + 2):
        start, start_cpu = time.perf_counter(), time.process_time()
        adam.zero_grad()
        loss(images, labels).backward()
        adam.step()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    # The first two compile and warm up.
    print(f"seconds {statistics.median(wall[2:]):.6f} {statistics.median(cpu[2:]):.6f} "
          f"PyTorch {torch.__version__.split('+')[0]}")


main()
