// onnx.mjs - a capsnetd weights file as an ONNX model, forward and decoder,
// fp32, any batch size:
//   node onnx.mjs WEIGHTS.safetensors MODEL.onnx
//
// images [n, height, width, channels] -> lengths [n, classes],
// poses [n, classes, pose], pictures [n, height * width * channels] of the
// longest capsule.  The protobuf is written here, field by field, by the
// numbers of onnx.proto: it needs no library.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

// ---- safetensors -------------------------------------------------------------

function halfToFloat(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const READERS = {
  F32: { bytes: 4, at: (view, i) => view.getFloat32(i, true) },
  F16: { bytes: 2, at: (view, i) => halfToFloat(view.getUint16(i, true)) },
  BF16: { bytes: 2, at: (view, i) => {
    const word = new DataView(new ArrayBuffer(4));
    word.setUint32(0, view.getUint16(i, true) << 16 >>> 0);
    return word.getFloat32(0);
  } },
};

// -> { metadata, tensors: name -> { dims, data: Float32Array } }
function readSafetensors(path) {
  const raw = readFileSync(path);
  const size = Number(raw.readBigUInt64LE(0));
  const { __metadata__: metadata = {}, ...entries } = JSON.parse(raw.toString("utf8", 8, 8 + size));
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(entries)) {
    const { bytes, at } = READERS[dtype];
    const view = new DataView(raw.buffer, raw.byteOffset + 8 + size + begin, end - begin);
    const data = new Float32Array((end - begin) / bytes);
    for (let i = 0; i < data.length; i++) data[i] = at(view, i * bytes);
    tensors[name] = { dims: shape, data };
  }
  return { metadata, tensors };
}

// ---- protobuf ----------------------------------------------------------------
// A message is a list of fields; a field is a Buffer of its key and value.

function varint(value) {
  const out = [];
  for (let rest = BigInt.asUintN(64, BigInt(value)); ; rest >>= 7n) {
    out.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
    if (rest <= 127n) return Buffer.from(out);
  }
}
const integer = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);
const bytes = (field, value) => Buffer.concat([varint(field << 3 | 2), varint(value.length), value]);
const text = (field, value) => bytes(field, Buffer.from(value));
const message = (field, ...fields) => bytes(field, Buffer.concat(fields));

const FLOAT = 1, INT64 = 7;         // TensorProto.DataType
const ATTRIBUTE_INT = 2, ATTRIBUTE_INTS = 7; // AttributeProto.AttributeType

function tensor(field, name, type, dims, data) {
  return message(field, ...dims.map((d) => integer(1, d)), integer(2, type), text(8, name),
    bytes(9, Buffer.from(data.buffer, data.byteOffset, data.byteLength)));
}

function attribute(name, value) {
  return message(5, text(1, name), ...(Array.isArray(value)
    ? [...value.map((v) => integer(8, v)), integer(20, ATTRIBUTE_INTS)]
    : [integer(3, value), integer(20, ATTRIBUTE_INT)]));
}

// A graph input or output; a string dimension is a free one.
function value(field, name, dims) {
  const shape = dims.map((d) => message(1, typeof d === "string" ? text(2, d) : integer(1, d)));
  return message(field, text(1, name),
    message(2, message(1, integer(1, FLOAT), message(2, ...shape))));
}

class Graph {
  nodes = [];
  initializers = [];
  count = 0;

  node(op, inputs, attributes = {}, output = `${op}_${++this.count}`) {
    this.nodes.push(message(1, ...inputs.map((i) => text(1, i)), text(2, output), text(4, op),
      ...Object.entries(attributes).map(([name, v]) => attribute(name, v))));
    return output;
  }

  floats(name, dims, data) {
    this.initializers.push(tensor(5, name, FLOAT, dims, Float32Array.from(data)));
    return name;
  }

  integers(values) {
    const name = `integers_${++this.count}`;
    this.initializers.push(tensor(5, name, INT64, [values.length], BigInt64Array.from(values, BigInt)));
    return name;
  }

  reshape(x, dims) {
    return this.node("Reshape", [x, this.integers(dims)]);
  }
}

// ---- The network -------------------------------------------------------------

// v = s |s| / (1 + |s|^2) along the last axis.
function squash(graph, s) {
  const squared = graph.node("ReduceSum", [graph.node("Mul", [s, s]), graph.integers([-1])], { keepdims: 1 });
  const scale = graph.node("Div", [graph.node("Sqrt", [squared]), graph.node("Add", [squared, "one"])]);
  return graph.node("Mul", [s, scale]);
}

// images -> u_hat [n, classes, capsules, pose]
function predictions(graph, m, tensors) {
  for (const name of ["conv1.weight", "conv1.bias", "primary.weight", "primary.bias"])
    graph.floats(name, tensors[name].dims, tensors[name].data);
  const stride = Number(m.primary_stride), dims = Number(m.primary_dims);
  const [capsules, classes, pose] = tensors["digit.weight"].dims;
  let x = graph.node("Transpose", ["images"], { perm: [0, 3, 1, 2] });
  x = graph.node("Relu", [graph.node("Conv", [x, "conv1.weight", "conv1.bias"])]);
  x = graph.node("Conv", [x, "primary.weight", "primary.bias"], { strides: [stride, stride] });
  x = graph.reshape(x, [0, Number(m.primary_types), dims, -1]); // [n, type, dim, position]
  x = graph.node("Transpose", [x], { perm: [1, 3, 0, 2] });     // [type, position, n, dim]
  const u = squash(graph, graph.reshape(x, [capsules, -1, dims]));
  // One product per capsule: [n, dims] x [dims, classes * pose].
  const w = new Float32Array(tensors["digit.weight"].data.length), outputs = classes * pose;
  for (let i = 0; i < w.length; i++) {
    const d = i % dims, o = Math.floor(i / dims) % outputs, capsule = Math.floor(i / dims / outputs);
    w[(capsule * dims + d) * outputs + o] = tensors["digit.weight"].data[i];
  }
  graph.floats("digit.weight", [capsules, dims, outputs], w);
  const uHat = graph.reshape(graph.node("MatMul", [u, "digit.weight"]), [capsules, -1, classes, pose]);
  return graph.node("Transpose", [uHat], { perm: [1, 2, 0, 3] });
}

// Routing by agreement: sums over capsules and over poses are matrix products.
function route(graph, uHat, iterations, classes, pose, capsules) {
  graph.floats("uniform", [1, classes, 1, capsules], new Float32Array(classes * capsules).fill(1 / classes));
  let c = "uniform", b = null;
  for (let iteration = 1; ; iteration++) {
    const v = squash(graph, graph.node("MatMul", [c, uHat])); // [n, classes, 1, pose]
    if (iteration === iterations) return graph.reshape(v, [0, classes, pose]);
    const agreement = graph.node("MatMul", [uHat, graph.reshape(v, [0, classes, pose, 1])]);
    b = b ? graph.node("Add", [b, agreement]) : agreement;    // [n, classes, capsules, 1]
    c = graph.reshape(graph.node("Softmax", [b], { axis: 1 }), [0, classes, 1, capsules]);
  }
}

function decode(graph, tensors, lengths, poses, classes, pose) {
  const best = graph.node("ArgMax", [lengths], { axis: 1, keepdims: 1 });
  graph.floats("identity", [classes, classes],
    Array.from({ length: classes * classes }, (_, i) => Number(i % (classes + 1) === 0)));
  const mask = graph.reshape(graph.node("Gather", ["identity", best]), [-1, classes, 1]);
  let x = graph.reshape(graph.node("Mul", [poses, mask]), [0, classes * pose]);
  for (const layer of [0, 2, 4]) {
    const [weight, bias] = [`decoder.${layer}.weight`, `decoder.${layer}.bias`];
    graph.floats(weight, tensors[weight].dims, tensors[weight].data);
    graph.floats(bias, tensors[bias].dims, tensors[bias].data);
    x = graph.node("Gemm", [x, weight, bias], { transB: 1 });
    x = layer < 4 ? graph.node("Relu", [x]) : graph.node("Sigmoid", [x], {}, "pictures");
  }
}

// The model of a weights file: { bytes, shape: { classes, pose, pixels } }.
export function onnxModel(path) {
  const { metadata: m, tensors } = readSafetensors(path);
  const [capsules, classes, pose] = tensors["digit.weight"].dims;
  const [height, width, channels] = [m.height, m.width, m.channels].map(Number);
  const pixels = height * width * channels;
  const graph = new Graph();
  graph.floats("one", [], [1]);
  const uHat = predictions(graph, m, tensors);
  const v = route(graph, uHat, Number(m.routing_iterations), classes, pose, capsules);
  const poses = graph.node("Identity", [v], {}, "poses");
  const squared = graph.node("ReduceSum", [graph.node("Mul", [v, v]), graph.integers([-1])], { keepdims: 0 });
  const lengths = graph.node("Sqrt", [squared], {}, "lengths");
  decode(graph, tensors, lengths, poses, classes, pose);
  const model = Buffer.concat([
    integer(1, 8), text(2, "capsnetd"), // ir_version, producer_name
    message(7, ...graph.nodes, text(2, m.name ?? "capsnet"), ...graph.initializers,
      value(11, "images", ["n", height, width, channels]), value(12, "lengths", ["n", classes]),
      value(12, "poses", ["n", classes, pose]), value(12, "pictures", ["n", pixels])),
    message(8, text(1, ""), integer(2, 17)), // opset_import
  ]);
  return { bytes: model, shape: { height, width, channels, classes, pose, pixels } };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  if (process.argv.length !== 4) {
    console.error("usage: node onnx.mjs WEIGHTS.safetensors MODEL.onnx");
    process.exit(2);
  }
  writeFileSync(process.argv[3], onnxModel(process.argv[2]).bytes);
}
