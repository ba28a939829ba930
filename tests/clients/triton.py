#!/usr/bin/env python3
"""triton.py URL PNG - the stock client of Triton, tritonclient[http], against a server.

Every way that the client has to send an image and to ask for outputs must give the
answer of the plainest one.  Prints a line a check; exits 1 when one failed.
"""
import sys

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

MODEL = "capsnet-mnist"
OUTPUTS = {"probabilities": 2, "poses": 3, "reconstruction": 3, "class": 1}
ON_REQUEST = ["coupling"]
LABELS = [str(i) for i in range(10)]
failed = 0


def check(what, is_good):
    global failed
    print(f"  {'ok     ' if is_good else 'FAILED '} {what}")
    failed += not is_good


def image_input(array, datatype, binary):
    given = http.InferInput("image", array.shape, datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return [given]


def same(answer, expected):
    return all(np.allclose(answer.as_numpy(name), expected[name], atol=1e-4) for name in OUTPUTS)


def check_metadata(client):
    check("live and ready", client.is_server_live() and client.is_server_ready()
          and client.is_model_ready(MODEL) and client.is_model_ready(MODEL, "1"))
    told = client.get_model_metadata(MODEL)
    check("metadata", told["inputs"][0]["shape"] == [-1, 28, 28]
          and [one["name"] for one in told["outputs"]] == list(OUTPUTS) + ON_REQUEST)
    extensions = client.get_server_metadata()["extensions"]
    check("extensions", {"binary_tensor_data", "classification", "model_configuration",
                         "statistics"} == set(extensions))
    config = client.get_model_config(MODEL)
    check("configuration", config == client.get_model_config(MODEL, "1")
          and config["max_batch_size"] >= 8 and config["input"][0]["dims"] == [28, 28])
    index = client.get_model_repository_index()
    check("repository index", [(one["name"], one["state"]) for one in index] == [(MODEL, "READY")])


def check_forms(client, digits, expected):
    binary = [http.InferRequestedOutput(name, binary_data=True) for name in OUTPUTS]
    text = [http.InferRequestedOutput(name, binary_data=False) for name in OUTPUTS]
    for outputs, how in ((None, "all outputs"), (binary, "binary outputs"), (text, "JSON outputs")):
        given = image_input(digits, "FP32", outputs is not text)
        check(f"FP32, {how}", same(client.infer(MODEL, given, outputs=outputs), expected))
    for datatype, kind in (("FP64", np.float64), ("FP16", np.float16)):
        given = image_input(digits.astype(kind), datatype, True)
        answer = client.infer(MODEL, given, outputs=binary)
        # Half floats have 11 bits of a pixel.
        check(f"{datatype}, binary", np.allclose(answer.as_numpy("probabilities"),
                                                 expected["probabilities"], atol=2e-3))
    for shape in ((-1, 28, 28, 1), (-1, 1, 28, 28)):
        for is_binary in (True, False):
            given = image_input(digits.reshape(shape), "FP32", is_binary)
            check(f"shape {shape}, {'binary' if is_binary else 'JSON'}",
                  same(client.infer(MODEL, given, outputs=binary), expected))
    for coding in ("gzip", "deflate"):
        given = image_input(digits, "FP32", True)
        answer = client.infer(MODEL, given, outputs=binary, request_compression_algorithm=coding,
                              response_compression_algorithm=coding)
        check(f"{coding}", same(answer, expected))


def check_labels(client, digits, expected):
    for is_binary in (True, False):
        outputs = [http.InferRequestedOutput("probabilities", binary_data=is_binary, class_count=3)]
        told = client.infer(MODEL, image_input(digits, "FP32", True), outputs=outputs)
        told = told.as_numpy("probabilities")
        is_good = told.shape == (len(digits), 3)
        for row, lengths in zip(told, expected["probabilities"]):
            for text, index in zip(row, np.argsort(-lengths)):
                text = text.decode() if isinstance(text, bytes) else text
                value, place, label = text.split(":", 2)
                is_good &= (abs(float(value) - lengths[index]) < 1e-4 and int(place) == index
                            and label == LABELS[index])
        check(f"class_count, {'binary' if is_binary else 'JSON'}", bool(is_good))


def check_coupling(client, digits):
    """[n][capsule][class], computed for who names it only."""
    given = image_input(digits, "FP32", True)
    check("coupling, not asked for", client.infer(MODEL, given).as_numpy("coupling") is None)
    for is_binary in (True, False):
        outputs = [http.InferRequestedOutput("coupling", binary_data=is_binary)]
        c = client.infer(MODEL, given, outputs=outputs).as_numpy("coupling")
        check(f"coupling, {'binary' if is_binary else 'JSON'}", c.shape == (len(digits), 1152, 10)
              and c.dtype == np.float32 and np.allclose(c.sum(axis=2), 1, atol=1e-5))


def check_many(client, digits, expected):
    """32 requests, 8 at once."""
    waiting = [client.async_infer(MODEL, image_input(digits, "FP32", True)) for _ in range(32)]
    check("async_infer, 8 at once", all(same(one.get_result(), expected) for one in waiting))


def check_statistics(client, images):
    told = client.get_inference_statistics()["model_stats"][0]
    steps = told["inference_stats"]
    check("statistics", told == client.get_inference_statistics(MODEL)["model_stats"][0]
          and told["inference_count"] >= images and 0 < told["execution_count"]
          and steps["success"]["count"] >= 32 and steps["compute_infer"]["ns"] > 0
          and steps["fail"]["count"] == 0)


def check_pngs(client, path):
    with open(path, "rb") as file:
        png = np.array([file.read()], dtype=np.object_)
    answers = [client.infer(MODEL, image_input(png, "BYTES", True)).as_numpy("class")[0]]
    check(f"BYTES of {path}", answers == [7])


def check_refusal(client, digits):
    try:
        client.infer("other", image_input(digits, "FP32", True))
        check("an unknown model is refused", False)
    except InferenceServerException as error:
        check("an unknown model is refused", "other" in error.message())


def main(url, png):
    client = http.InferenceServerClient(url, concurrency=8)
    random = np.random.default_rng(1)
    digits = random.random((4, 28, 28), dtype=np.float32)
    first = client.infer(MODEL, image_input(digits, "FP32", True))
    expected = {name: first.as_numpy(name) for name in OUTPUTS}
    check("ranks", all(expected[name].ndim == rank for name, rank in OUTPUTS.items()))
    check_metadata(client)
    check_forms(client, digits, expected)
    check_labels(client, digits, expected)
    check_coupling(client, digits)
    check_many(client, digits, expected)
    check_statistics(client, 36 * len(digits))
    check_pngs(client, png)
    check_refusal(client, digits)
    client.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
