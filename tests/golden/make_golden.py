#!/usr/bin/python3
"""Writes the golden files beside itself: for each of two small networks its
weights, NAME.safetensors, and what PyTorch makes of a batch of 5 with them,
NAME-golden.safetensors.  README.md lists what is in them.

Needs Debian's python3-torch and python3-numpy; the tests need neither.
"""
import json
import os

import numpy as np
import torch

from capsnet_torch import CapsNet, read_safetensors, write_safetensors

ALPHA = 0.01
BATCH = 5

# gain: scale of digit.weight for each class, so that the capsule lengths cover
# (0,1) and routing is far from uniform (capsules vary in scale for that too);
# found by trial, and checked below.
NETWORKS = {
    # One 2x2 grid of capsules: the smallest PrimaryCaps.
    "small": {
        "height": 20, "width": 20, "channels": 1, "classes": 5, "conv1_kernel": 9,
        "conv1_channels": 16, "primary_kernel": 9, "primary_stride": 2, "primary_types": 4,
        "primary_dims": 8, "pose_dims": 16, "routing_iterations": 3, "decoder_hidden": (24, 40),
        "seed": 3, "gain": (0.15, 0.3, 0.5, 0.5, 0.5),
    },
    # Colour, not square, a 9x8 grid (more than one 6x6 tile), channel counts
    # that are no multiple of a vector.
    "colour": {
        "height": 34, "width": 31, "channels": 3, "classes": 4, "conv1_kernel": 9,
        "conv1_channels": 12, "primary_kernel": 9, "primary_stride": 2, "primary_types": 3,
        "primary_dims": 8, "pose_dims": 12, "routing_iterations": 2, "decoder_hidden": (20, 10),
        "seed": 5, "gain": (0.06, 0.15, 0.25, 0.25),
    },
}


def metadata_of(name, shape):
    """The fixed set of keys of a weights file; all values are strings."""
    sizes = {key: str(value) for key, value in shape.items() if isinstance(value, int)}
    return {"format": "capsnet-1", "name": "golden-" + name,
            "labels": json.dumps([chr(ord("a") + i) for i in range(shape["classes"])]),
            **sizes, "decoder_hidden": ",".join(map(str, shape["decoder_hidden"]))}


def make_weights(shape, random):
    """Normal weights scaled by their fan-in, as F32."""
    def draw(*dims, scale):
        return (random.standard_normal(dims) * scale).astype(np.float32)

    k1, kp = shape["conv1_kernel"], shape["primary_kernel"]
    c0, c1 = shape["channels"], shape["conv1_channels"]
    cp = shape["primary_types"] * shape["primary_dims"]
    ph = (shape["height"] - k1 + 1 - kp) // shape["primary_stride"] + 1
    pw = (shape["width"] - k1 + 1 - kp) // shape["primary_stride"] + 1
    pixels = shape["height"] * shape["width"] * c0
    capsules = shape["primary_types"] * ph * pw
    h0, h1 = shape["decoder_hidden"]
    poses = shape["classes"] * shape["pose_dims"]
    digit = draw(capsules, shape["classes"], shape["pose_dims"], shape["primary_dims"], scale=1)
    digit *= np.array(shape["gain"], np.float32)[None, :, None, None]
    digit *= np.exp(random.standard_normal((capsules, 1, 1, 1)) * 0.7).astype(np.float32)
    return {
        "conv1.weight": draw(c1, c0, k1, k1, scale=(2 / (c0 * k1 * k1)) ** 0.5),
        "conv1.bias": draw(c1, scale=0.1),
        "primary.weight": draw(cp, c1, kp, kp, scale=(2 / (c1 * kp * kp)) ** 0.5),
        "primary.bias": draw(cp, scale=0.1),
        "digit.weight": digit,
        "decoder.0.weight": draw(h0, poses, scale=(2 / shape["pose_dims"]) ** 0.5),
        "decoder.0.bias": draw(h0, scale=0.1),
        "decoder.2.weight": draw(h1, h0, scale=(2 / h0) ** 0.5),
        "decoder.2.bias": draw(h1, scale=0.1),
        "decoder.4.weight": draw(pixels, h1, scale=(2 / h1) ** 0.5),
        "decoder.4.bias": draw(pixels, scale=0.1),
    }


def make_images(shape, random):
    """A few soft strokes of ink on nothing, [n,h,w,c] in [0,1]."""
    y, x = np.mgrid[:shape["height"], :shape["width"]]
    images = np.zeros((BATCH, shape["height"], shape["width"], shape["channels"]), np.float32)
    for image in images:
        for _ in range(4):
            cy, cx = random.uniform(0.2, 0.8, 2) * (shape["height"], shape["width"])
            angle, colour = random.uniform(0, np.pi), random.uniform(0.3, 1, shape["channels"])
            along = (y - cy) * np.sin(angle) + (x - cx) * np.cos(angle)
            across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
            ink = np.exp(-(along / 5) ** 2 - (across / 1.5) ** 2)
            image += (ink[..., None] * colour).astype(np.float32)
    images[images < 0.05] = 0
    return np.clip(images, 0, 1)


def make(name, shape, folder):
    random = np.random.default_rng(shape["seed"])
    metadata = metadata_of(name, {k: v for k, v in shape.items() if k != "seed"})
    weights_path = os.path.join(folder, name + ".safetensors")
    write_safetensors(weights_path, make_weights(shape, random), metadata)

    tensors, metadata = read_safetensors(weights_path)
    for tensor in tensors.values():
        tensor.requires_grad_()
    net = CapsNet(tensors, metadata)
    images = torch.from_numpy(make_images(shape, random).astype(np.float64))
    labels = torch.from_numpy(np.arange(BATCH) * 3 % shape["classes"])
    lengths, poses, c = net.forward(images)
    winners = lengths.argmax(1)
    loss_reconstruction = net.decode(poses, labels)
    loss = net.loss(lengths, loss_reconstruction, images, labels, ALPHA)
    loss.backward()
    out = {"images": images, "labels": labels, "lengths": lengths, "poses": poses,
           "reconstruction": net.decode(poses, winners).reshape(images.shape),
           "loss_reconstruction": loss_reconstruction.reshape(images.shape), "loss": loss}
    out.update({"grad." + key: tensor.grad for key, tensor in tensors.items()})
    write_safetensors(os.path.join(folder, name + "-golden.safetensors"),
                      {key: value.detach().numpy() for key, value in out.items()},
                      {"alpha": str(ALPHA), "torch": torch.__version__})

    print(f"{name}: loss {loss:.6f}, lengths {lengths.min():.3f} to {lengths.max():.3f}, "
          f"c {c.min():.4f} to {c.max():.4f} (uniform {1 / shape['classes']:.2f}), "
          f"winners {winners.tolist()}, labels {labels.tolist()}")
    print(np.array2string(lengths.detach().numpy(), precision=3))
    for key, tensor in tensors.items():
        print(f"  grad.{key}: max {tensor.grad.abs().max():.2e}, "
              f"{(tensor.grad != 0).double().mean():.0%} not zero")
    if lengths.min() > 0.1 or lengths.max() < 0.9 or c.max() < 1.5 / shape["classes"]:
        raise SystemExit(f"{name}: too tame to prove anything; change its gains")


if __name__ == "__main__":
    for network, sizes in NETWORKS.items():
        make(network, sizes, os.path.dirname(os.path.abspath(__file__)))
