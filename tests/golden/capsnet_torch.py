"""An independent CapsNet: plain PyTorch, written from the paper (Sabour, Frosst,
Hinton, NIPS 2017), sharing nothing with the C code but the weights file.

Everything is computed in double precision; gradients are autograd's, through
every routing iteration.  Letters are the paper's: u, W, u_hat, b, c, s, v.
"""
import json
import struct

import numpy as np
import torch
import torch.nn.functional as F


# ---- safetensors -----------------------------------------------------------

def write_safetensors(path, tensors, metadata=None):
    """tensors: name -> array, stored as F32 in the order given."""
    header, blobs, offset = {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    for name, tensor in tensors.items():
        blob = np.ascontiguousarray(tensor, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(np.shape(tensor)),
                        "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read_safetensors(path):
    """Returns (name -> float64 tensor, metadata)."""
    with open(path, "rb") as file:
        raw = file.read()
    size, = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8:8 + size])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "BF16":  # the upper half of an F32
            array = (np.frombuffer(raw[begin:end], "<u2").astype("<u4") << 16).view("<f4")
        else:
            array = np.frombuffer(raw[begin:end], {"F32": "<f4", "F16": "<f2"}[entry["dtype"]])
        tensors[name] = torch.from_numpy(array.astype(np.float64)).reshape(entry["shape"])
    return tensors, metadata


# ---- The network -----------------------------------------------------------

def norm(s):
    """|s| along the last axis, kept; its gradient at 0 is 0, not NaN."""
    squared = (s * s).sum(-1, keepdim=True)
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, torch.ones_like(squared)).sqrt(),
                       torch.zeros_like(squared))


def squash(s):
    """v = s |s| / (1 + |s|^2): equation 1 without its division by zero."""
    length = norm(s)
    return s * length / (1 + length * length)


class CapsNet:
    def __init__(self, tensors, metadata):
        self.tensors = tensors
        self.stride = int(metadata["primary_stride"])
        self.dims = int(metadata["primary_dims"])
        self.iterations = int(metadata["routing_iterations"])

    def forward(self, images):
        """images [n,h,w,c] -> lengths [n,classes], poses [n,classes,pose],
        c [n,capsules,classes] of the last routing iteration."""
        t = self.tensors
        n = images.shape[0]
        x = images.permute(0, 3, 1, 2)
        x = F.relu(F.conv2d(x, t["conv1.weight"], t["conv1.bias"]))
        x = F.conv2d(x, t["primary.weight"], t["primary.bias"], stride=self.stride)
        x = x.reshape(n, -1, self.dims, x.shape[2] * x.shape[3])  # [n,type,dim,y*x]
        u = squash(x.permute(0, 1, 3, 2).reshape(n, -1, self.dims))
        u_hat = torch.einsum("ijpd,nid->nijp", t["digit.weight"], u)
        b = torch.zeros(u_hat.shape[:3], dtype=u_hat.dtype)
        for iteration in range(self.iterations):
            c = torch.softmax(b, 2)
            v = squash((c[..., None] * u_hat).sum(1))
            if iteration + 1 < self.iterations:
                b = b + torch.einsum("nijp,njp->nij", u_hat, v)
        return norm(v)[..., 0], v, c

    def decode(self, poses, classes):
        """poses [n,classes,pose], the class of each to decode -> [n,h*w*c]."""
        t = self.tensors
        mask = F.one_hot(classes, poses.shape[1]).to(poses.dtype)
        x = (poses * mask[..., None]).flatten(1)
        x = F.relu(F.linear(x, t["decoder.0.weight"], t["decoder.0.bias"]))
        x = F.relu(F.linear(x, t["decoder.2.weight"], t["decoder.2.bias"]))
        return torch.sigmoid(F.linear(x, t["decoder.4.weight"], t["decoder.4.bias"]))

    def loss(self, lengths, reconstruction, images, labels, alpha):
        """Margin loss (equation 4) + alpha times the squared pixel error, each
        summed within an image and averaged over the batch."""
        target = F.one_hot(labels, lengths.shape[1]).to(lengths.dtype)
        margin = target * F.relu(0.9 - lengths) ** 2 \
            + 0.5 * (1 - target) * F.relu(lengths - 0.1) ** 2
        error = (images.flatten(1) - reconstruction) ** 2
        return margin.sum(1).mean() + alpha * error.sum(1).mean()
