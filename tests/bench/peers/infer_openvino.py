"""infer_openvino.py FOLDER f32|bf16|int8 ...: OpenVINO's turns (turns.py) with
quantise.py's files; bf16 is f32's file with that precision allowed."""
import numpy as np
import openvino as ov

from turns import arguments, take_turns


def main():
    (folder, precision), _, images_path, answers, threads = arguments()
    core = ov.Core()
    path = f"{folder}/{'int8' if precision == 'int8' else 'f32'}.onnx"
    config = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
              "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    shape = [dim.get_length() for dim in core.read_model(path).input(0).partial_shape[1:]]
    images = np.fromfile(images_path, np.float32).reshape(-1, *shape)
    requests = {}

    def request(n):
        """Compiled for batches of n images alone: faster than for any."""
        if n not in requests:
            model = core.read_model(path)
            model.reshape({"images": [n, *shape]})
            requests[n] = core.compile_model(model, "CPU", config).create_infer_request()
        return requests[n]

    def run(batch):
        outputs = request(len(batch)).infer({"images": batch}, share_inputs=True, share_outputs=True)
        return [outputs[name] for name in ("lengths", "poses", "pictures")]
    take_turns(f"OpenVINO {ov.__version__.split('-')[0]} {precision}", run, images, answers)


main()
