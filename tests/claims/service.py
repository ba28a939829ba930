"""The service as claims.py and figures.py ask it: requests, servers of their own,
MNIST's files.  Python's standard library only."""
import array
import base64
import concurrent.futures
import gzip
import http.client
import io
import json
import pathlib
import struct
import subprocess
import sys
import threading

BATCH = 64    # images a request, the server's default limit
CLIENTS = 4   # requests at a time
TIMEOUT_S = 60


class Trouble(Exception):
    """What went wrong, as one sentence."""


class Service:
    """One capsnetd; address is HOST:PORT.  Any number of threads may ask."""

    def __init__(self, address):
        self.address = address
        self.local = threading.local()

    def ask(self, method, path, body=None, headers=None):
        """The answer's headers and bytes; Trouble unless it is 200."""
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = http.client.HTTPConnection(
                self.address, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Trouble(f"No capsnetd answers at {self.address}: {error}.") from error
        if answer.status != 200:
            try:
                content = json.loads(content)["error"]["message"]
            except (ValueError, KeyError, TypeError):
                content = "no sentence"
            raise Trouble(f"{method} {path} was answered {answer.status}: {content}")
        return answer.headers, content

    def json(self, path, body=None):
        headers = {"Accept": "application/json"}
        return json.loads(self.ask("POST" if body else "GET", path, body, headers)[1])

    def classify(self, pictures, query):
        """The predictions for Pillow's images, in their order."""
        def part(start):
            texts = [base64.b64encode(png(p)).decode() for p in pictures[start:start + BATCH]]
            body = json.dumps({"images": texts})
            answer = self.ask("POST", f"/classify?{query}", body,
                              {"Content-Type": "application/json"})[1]
            return json.loads(answer)["predictions"]
        return [one for part_of in in_parts(part, len(pictures)) for one in part_of]

    def infer(self, model, pictures, outputs):
        """The outputs for Pillow's gray images of the model's size, as they are: a list
        with one dict of arrays of floats for each image, by the inference protocol."""
        def part(start):
            some = pictures[start:start + BATCH]
            pixels = b"".join(p.tobytes() for p in some)
            head = json.dumps({
                "inputs": [{"name": "image", "datatype": "UINT8",
                            "shape": [len(some), some[0].height, some[0].width],
                            "parameters": {"binary_data_size": len(pixels)}}],
                "outputs": [{"name": name, "parameters": {"binary_data": True}}
                            for name in outputs]}).encode()
            headers, answer = self.ask("POST", f"/v2/models/{model}/infer", head + pixels,
                                       {"Inference-Header-Content-Length": str(len(head)),
                                        "Content-Type": "application/octet-stream"})
            at = int(headers["Inference-Header-Content-Length"])
            results = [{} for _ in some]
            for output in json.loads(answer[:at])["outputs"]:
                size = output["parameters"]["binary_data_size"]
                each = size // len(some)
                for i, result in enumerate(results):
                    result[output["name"]] = array.array(
                        "f", answer[at + i * each:at + (i + 1) * each])
                at += size
            return results
        return [one for part_of in in_parts(part, len(pictures)) for one in part_of]


def in_parts(part, n):
    """part(start) for every BATCH of n, in order, CLIENTS at a time."""
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(part, range(0, n, BATCH)))


def png(picture):
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)
    return out.getvalue()


class Server(Service):
    """A capsnetd of one's own, for the length of a `with`."""

    def __init__(self, program, weights):
        self.process = subprocess.Popen(
            [program, "--listen", "127.0.0.1:0", "--log-level", "error", "--weights", str(weights)],
            stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if "http://" not in line:
            self.process.kill()
            raise Trouble(f"{program} did not start with {weights}.")
        super().__init__(line.split("http://")[1].split()[0].rstrip(".,;/"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def with_rounds(weights, rounds, copy):
    """Copies a weights file to one of another number of routing rounds, which has no
    weights of its own."""
    data = pathlib.Path(weights).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header["__metadata__"]["routing_iterations"] = str(rounds)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(copy).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size:])
    return copy


def test_images(folder, n):
    """MNIST's first n test images, [bytes of 28 * 28], and their classes."""
    def read(name, head):
        path = pathlib.Path(folder) / name
        try:
            return gzip.open(path).read()[head:]
        except OSError as error:
            raise Trouble(f"{path} cannot be read; make data brings it.") from error
    pixels = read("t10k-images-idx3-ubyte.gz", 16)
    labels = read("t10k-labels-idx1-ubyte.gz", 8)
    return [pixels[i * 784:(i + 1) * 784] for i in range(n)], list(labels[:n])


def run(main):
    """main(), whose trouble is one line and exit status 1."""
    try:
        main()
    except Trouble as trouble:
        sys.exit(str(trouble))
