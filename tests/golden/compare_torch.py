#!/usr/bin/python3
"""compare_torch.py WEIGHTS IMAGES [--url URL] [-n N]

Runs the PyTorch CapsNet on the first N images of an IDX file (plain or .gz)
and compares with a running capsnetd that serves the same weights, through its
Open Inference Protocol: capsule lengths, poses and reconstructions must agree
within 1e-4, and the winners must be the same.  Exits with 1 otherwise.

Gray models of the images' own size only.  Debian's python3-torch, python3-numpy.
"""
import argparse
import gzip
import json
import struct
import sys
import urllib.error
import urllib.request

import numpy as np
import torch

from capsnet_torch import CapsNet, read_safetensors

BATCH = 32
TOLERANCE = 1e-4


def read_idx(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        raw = file.read()
    magic, n, height, width = struct.unpack_from(">4I", raw)
    if magic != 0x803:
        sys.exit(f"{path}: this is no IDX file of images")
    return np.frombuffer(raw, np.uint8, n * height * width, 16).reshape(n, height, width)


def infer(url, images):
    """images [n][h][w], 0 to 255 -> output name -> array."""
    body = json.dumps({"inputs": [{"name": "image", "datatype": "UINT8",
                                   "shape": list(images.shape),
                                   "data": images.ravel().tolist()}]})
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            outputs = json.load(response)["outputs"]
    except urllib.error.HTTPError as error:
        sys.exit(f"{url}: {error.code} {error.read().decode()}")
    except urllib.error.URLError as error:
        sys.exit(f"{url}: {error.reason}")
    return {o["name"]: np.array(o["data"]).reshape(o["shape"]) for o in outputs}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("weights")
    parser.add_argument("images")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("-n", type=int, default=100)
    options = parser.parse_args()
    tensors, metadata = read_safetensors(options.weights)
    net = CapsNet(tensors, metadata)
    url = f"{options.url}/v2/models/{metadata['name']}/infer"
    pixels = read_idx(options.images)[:options.n]
    worst = {"probabilities": 0.0, "poses": 0.0, "reconstruction": 0.0}
    winners_differ = 0
    for start in range(0, len(pixels), BATCH):
        batch = pixels[start:start + BATCH]
        with torch.no_grad():
            lengths, poses, _ = net.forward(torch.from_numpy(batch[..., None] / 255.0))
            winners = lengths.argmax(1)
            pictures = net.decode(poses, winners).reshape(batch.shape)
        served = infer(url, batch)
        for name, ours in (("probabilities", lengths), ("poses", poses),
                           ("reconstruction", pictures)):
            difference = np.abs(ours.numpy() - served[name]).max()
            worst[name] = float(np.maximum(worst[name], difference))  # keeps a NaN
        winners_differ += int((served["class"] != winners.numpy()).sum())
    print(f"{len(pixels)} images, largest absolute differences:")
    for name, difference in worst.items():
        print(f"  {name:15} {difference:.3g}")
    print(f"  winners that differ: {winners_differ}")
    # A NaN compares as false, and so fails.
    good = len(pixels) > 0 and winners_differ == 0 and all(
        difference <= TOLERANCE for difference in worst.values())
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
