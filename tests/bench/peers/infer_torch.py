"""infer_torch.py f32|bf16 ...: PyTorch's turns (turns.py), the network of tests/golden
compiled for each batch size; bf16 is autocast's."""
import sys
from pathlib import Path

import numpy as np
import torch

from turns import arguments, take_turns

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "golden"))
from capsnet_torch import CapsNet, read_safetensors  # noqa: E402


def main():
    (precision,), weights, images_path, answers, threads = arguments()
    torch.set_num_threads(threads)
    tensors, metadata = read_safetensors(weights)
    net = CapsNet({name: tensor.float() for name, tensor in tensors.items()}, metadata)
    shape = [int(metadata[name]) for name in ("height", "width", "channels")]
    images = np.fromfile(images_path, np.float32).reshape(-1, *shape)

    @torch.compile(dynamic=False)
    def compiled(batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            lengths, poses, _ = net.forward(batch)
            return lengths, poses, net.decode(poses, lengths.argmax(1))

    def run(batch):
        return [output.float().numpy() for output in compiled(torch.from_numpy(batch))]
    with torch.inference_mode():
        take_turns(f"PyTorch {torch.__version__.split('+')[0]} {precision}", run, images, answers)


main()
