// infer_onnx.mjs WEIGHTS IMAGES ANSWERS THREADS: ONNX Runtime's turns in
// `make bench-peers`; ../peer.h tells the protocol.
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { onnxModel } from "./onnx.mjs";

let ort;
try {
  ort = (await import("onnxruntime-node")).default;
} catch {
  console.log("skipped ONNX Runtime: it is not installed (make deps-bench-peers installs it)");
  process.exit(0);
}
const [weights, imagesPath, answersPath, threads] = process.argv.slice(2);
const { bytes, shape } = onnxModel(weights);
const session = await ort.InferenceSession.create(bytes, {
  intraOpNumThreads: Number(threads), interOpNumThreads: 1, executionMode: "sequential",
  graphOptimizationLevel: "all", logSeverityLevel: 3,
});
const raw = readFileSync(imagesPath);
const images = new Float32Array(raw.buffer, raw.byteOffset, raw.length / 4);

const run = (n) => session.run({ images: new ort.Tensor("float32",
  images.subarray(0, n * shape.pixels), [n, shape.height, shape.width, shape.channels]) });

async function turn(n) {
  let passes = 0, spent;
  if (n < 16) await run(n);
  const begin = process.hrtime.bigint();
  do {
    await run(n);
    passes++;
    spent = Number(process.hrtime.bigint() - begin);
  } while (spent < 10e6);
  return spent * 1e-9 / passes;
}

console.log(`ready ONNX Runtime ${ort.env.versions?.node ?? ""}`.trim());
for await (const line of createInterface({ input: process.stdin })) {
  const [word, count] = line.split(" ");
  if (word === "time") {
    console.log((await turn(Number(count))).toFixed(9));
  } else {
    const out = await run(Number(count));
    writeFileSync(answersPath, Buffer.concat(["lengths", "poses", "pictures"].map((name) => {
      const { data } = out[name];
      return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    })));
    console.log("done");
  }
}
