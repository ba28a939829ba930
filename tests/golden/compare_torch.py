#!/usr/bin/python3
"""compare_torch.py WEIGHTS IMAGES [--url URL] [-n N]

Runs the PyTorch CapsNet on the first N images of an IDX file (plain or .gz)
and compares with a running capsnetd that serves the same weights: lengths and
poses of /pose within 1e-4, the picture of /reconstruct within half an 8-bit
step and 1e-4.  Exits with 1 when they differ more, or winners differ.

Gray models of the images' own size only.  Debian's python3-torch, python3-numpy.
"""
import argparse
import base64
import gzip
import json
import struct
import sys
import urllib.error
import urllib.request
import zlib

import numpy as np
import torch

from capsnet_torch import CapsNet, read_safetensors

BATCH = 32
TOLERANCE = 1e-4
PICTURE_TOLERANCE = 0.5 / 255 + 1e-4


def read_idx(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        raw = file.read()
    magic, n, height, width = struct.unpack_from(">4I", raw)
    if magic != 0x803:
        sys.exit(f"{path}: this is no IDX file of images")
    return np.frombuffer(raw, np.uint8, n * height * width, 16).reshape(n, height, width)


def encode_png(pixels):
    """8-bit gray [h][w], every row with filter 0."""
    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def paeth(a, b, c):
    """a left, b above, c above left: the one nearest to a + b - c."""
    return min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]


def decode_png(png):
    """8-bit gray, not interlaced, any filters -> [h][w]."""
    at, data = 8, b""
    while at < len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        body = png[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height, *rest = struct.unpack(">2I5B", body)
            assert rest == [8, 0, 0, 0, 0], "the server's PNG is not 8-bit gray"
        elif kind == b"IDAT":
            data += body
        at += 12 + size
    raw = zlib.decompress(data)
    out = np.zeros((height + 1, width + 1), int)  # row 0 and column 0 stand for "outside"
    for y in range(1, height + 1):
        kind, *row = raw[(y - 1) * (width + 1):y * (width + 1)]
        for x in range(1, width + 1):
            a, b, c = (int(v) for v in (out[y, x - 1], out[y - 1, x], out[y - 1, x - 1]))
            out[y, x] = (row[x - 1] + (0, a, b, (a + b) // 2, paeth(a, b, c))[kind]) & 255
    return out[1:, 1:]


def post(url, images):
    body = json.dumps({"images": [base64.b64encode(encode_png(i)).decode() for i in images]})
    request = urllib.request.Request(url + "?normalize=none", body.encode(), {
        "Content-Type": "application/json", "Accept": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        sys.exit(f"{url}: {error.code} {error.read().decode()}")
    except urllib.error.URLError as error:
        sys.exit(f"{url}: {error.reason}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("weights")
    parser.add_argument("images")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("-n", type=int, default=100)
    options = parser.parse_args()
    net = CapsNet(*read_safetensors(options.weights))
    pixels = read_idx(options.images)[:options.n]
    worst = {"lengths": 0.0, "poses": 0.0, "reconstruction": 0.0}
    winners_differ = 0
    for start in range(0, len(pixels), BATCH):
        batch = pixels[start:start + BATCH]
        with torch.no_grad():
            lengths, poses, _ = net.forward(torch.from_numpy(batch[..., None] / 255.0))
            winners = lengths.argmax(1)
            pictures = net.decode(poses, winners).reshape(batch.shape)
        served = post(options.url + "/pose", batch)["predictions"]
        found = {"lengths": (lengths, [p["lengths"] for p in served]),
                 "poses": (poses, [p["poses"] for p in served]),
                 "reconstruction": (pictures, [
                     decode_png(base64.b64decode(
                         post(options.url + "/reconstruct", [i])["image"])) / 255.0
                     for i in batch])}
        for name, (ours, theirs) in found.items():
            difference = np.abs(ours.numpy() - np.array(theirs)).max()
            worst[name] = float(np.maximum(worst[name], difference))  # keeps a NaN
        winners_differ += sum(p["class"] != w for p, w in zip(served, winners.tolist()))
    print(f"{len(pixels)} images, largest absolute differences:")
    for name, difference in worst.items():
        print(f"  {name:15} {difference:.3g}")
    print(f"  winners that differ: {winners_differ}")
    # A NaN compares as false, and so fails.
    good = len(pixels) > 0 and winners_differ == 0 and worst["lengths"] <= TOLERANCE \
        and worst["poses"] <= TOLERANCE and worst["reconstruction"] <= PICTURE_TOLERANCE
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
