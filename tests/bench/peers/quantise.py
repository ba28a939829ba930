"""quantise.py WEIGHTS DATA FOLDER: FOLDER/f32.onnx, the weights file as ONNX, and
FOLDER/int8.onnx, what ONNX Runtime's own static quantiser makes of it: QDQ, per
channel, calibrated on training images, for the convolutions and dense layers
(README.md tells what became of the rest)."""
import sys
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (CalibrationDataReader, QuantFormat, QuantType,
                                      quantize_static)
from onnxruntime.quantization.shape_inference import quant_pre_process

from capsnet_onnx import onnx_model
from measure import mnist_images

CALIBRATION_IMAGES, BATCH = 512, 32


class Images(CalibrationDataReader):
    def __init__(self, images):
        self.batches = iter(np.split(images, len(images) // BATCH))

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch}


def main():
    weights, data, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    onnx.save(onnx_model(weights), folder / "f32.onnx")
    quant_pre_process(folder / "f32.onnx", folder / "inferred.onnx")
    quantize_static(folder / "inferred.onnx", folder / "int8.onnx",
                    Images(mnist_images(data, "train", CALIBRATION_IMAGES)),
                    quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    op_types_to_quantize=["Conv", "Gemm"])


main()
