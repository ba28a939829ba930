"""capsnet_onnx.py - a capsnetd weights file as an ONNX model, forward and decoder,
fp32, any batch size.

images [n, height, width, channels] -> lengths [n, classes],
poses [n, classes, pose], pictures [n, height * width * channels] of the longest
capsule.
"""
import numpy as np
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open


def read_weights(path):
    """-> (name -> float32 array, metadata)"""
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}, file.metadata()


class _Graph:
    def __init__(self):
        self.nodes, self.constants = [], []

    def node(self, op, *inputs, output=None, **attributes):
        output = output or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, array, name=None):
        name = name or f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def integers(self, *values):
        return self.constant(np.array(values, np.int64))

    def reshape(self, x, *dims):
        return self.node("Reshape", x, self.integers(*dims))

    def squared_norm(self, x, keepdims):
        return self.node("ReduceSum", self.node("Mul", x, x), self.integers(-1), keepdims=keepdims)

    def squash(self, s):
        """v = s |s| / (1 + |s|^2) along the last axis"""
        squared = self.squared_norm(s, 1)
        one = self.constant(np.float32(1))
        return self.node("Mul", s, self.node("Div", self.node("Sqrt", squared),
                                             self.node("Add", squared, one)))


def _predictions(g, t, m):
    """images -> u_hat [n, classes, capsules, pose]"""
    stride, dims = int(m["primary_stride"]), int(m["primary_dims"])
    capsules, classes, pose = t["digit.weight"].shape[:3]
    weights = [g.constant(t[f"{layer}.{part}"], f"{layer}.{part}")
               for layer in ("conv1", "primary") for part in ("weight", "bias")]
    x = g.node("Transpose", "images", perm=[0, 3, 1, 2])
    x = g.node("Relu", g.node("Conv", x, *weights[:2]))
    x = g.node("Conv", x, *weights[2:], strides=[stride, stride])
    x = g.reshape(x, 0, int(m["primary_types"]), dims, -1)  # [n, type, dim, position]
    x = g.node("Transpose", x, perm=[1, 3, 0, 2])           # [type, position, n, dim]
    u = g.squash(g.reshape(x, capsules, -1, dims))
    # One product per capsule: [n, dims] x [dims, classes * pose].
    w = t["digit.weight"].reshape(capsules, classes * pose, dims).transpose(0, 2, 1)
    u_hat = g.node("MatMul", u, g.constant(w, "digit.weight"))
    return g.node("Transpose", g.reshape(u_hat, capsules, -1, classes, pose), perm=[1, 2, 0, 3])


def _route(g, u_hat, iterations, classes, pose, capsules):
    """Routing by agreement: sums over capsules and over poses are matrix products."""
    c = g.constant(np.full((1, classes, 1, capsules), 1 / classes, np.float32))
    b = None
    for iteration in range(iterations):
        v = g.squash(g.node("MatMul", c, u_hat))  # [n, classes, 1, pose]
        if iteration + 1 == iterations:
            return g.reshape(v, 0, classes, pose)
        agreement = g.node("MatMul", u_hat, g.reshape(v, 0, classes, pose, 1))
        b = g.node("Add", b, agreement) if b else agreement  # [n, classes, capsules, 1]
        c = g.reshape(g.node("Softmax", b, axis=1), 0, classes, 1, capsules)


def _decode(g, t, lengths, poses, classes, pose):
    best = g.node("ArgMax", lengths, axis=1, keepdims=1)
    mask = g.node("Gather", g.constant(np.eye(classes, dtype=np.float32)), best)
    x = g.reshape(g.node("Mul", poses, g.reshape(mask, -1, classes, 1)), 0, classes * pose)
    for layer in (0, 2, 4):
        weight, bias = (g.constant(t[f"decoder.{layer}.{part}"]) for part in ("weight", "bias"))
        x = g.node("Gemm", x, weight, bias, transB=1)
        x = g.node("Relu", x) if layer < 4 else g.node("Sigmoid", x, output="pictures")


def onnx_model(path):
    """The model of a weights file, as onnx.ModelProto."""
    t, m = read_weights(path)
    g = _Graph()
    capsules, classes, pose = t["digit.weight"].shape[:3]
    shape = [int(m[name]) for name in ("height", "width", "channels")]
    v = _route(g, _predictions(g, t, m), int(m["routing_iterations"]), classes, pose, capsules)
    poses = g.node("Identity", v, output="poses")
    lengths = g.node("Sqrt", g.squared_norm(v, 0), output="lengths")
    _decode(g, t, lengths, poses, classes, pose)

    def value(name, *dims):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *dims])
    graph = helper.make_graph(
        g.nodes, m.get("name", "capsnet"), [value("images", *shape)],
        [value("lengths", classes), value("poses", classes, pose), value("pictures", int(np.prod(shape)))],
        g.constants)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
