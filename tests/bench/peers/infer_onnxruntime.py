"""infer_onnxruntime.py FOLDER f32|int8 ...: ONNX Runtime's turns (turns.py) with
quantise.py's files."""
import numpy as np
import onnxruntime as ort

from turns import arguments, take_turns


def main():
    (folder, precision), _, images_path, answers, threads = arguments()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(f"{folder}/{precision}.onnx", options, ["CPUExecutionProvider"])
    images = np.fromfile(images_path, np.float32).reshape(-1, *session.get_inputs()[0].shape[1:])
    take_turns(f"ONNX Runtime {ort.__version__} {precision}",
               lambda batch: session.run(["lengths", "poses", "pictures"], {"images": batch}),
               images, answers)


main()
