#!/usr/bin/env python3
"""generated.py URL PNG FOLDER - the client in FOLDER that openapi-python-client has made
of the server's openapi.json, against the server.

Every operation of the document is called once with good arguments, and those that take a
body in every form that the client knows.  Prints a line a check; exits 1 when one failed.
"""
import base64
import importlib
import inspect
import io
import json
import pkgutil
import sys
import urllib.request

failed = 0


def check(what, is_good):
    global failed
    print(f"  {'ok     ' if is_good else 'FAILED '} {what}")
    failed += not is_good


def operations(client):
    """Each operation's function, by its module's name, which is the operation's id."""
    for room in pkgutil.iter_modules(client.api.__path__):
        package = importlib.import_module(f"{client.__name__}.api.{room.name}")
        for module in pkgutil.iter_modules(package.__path__):
            name = f"{package.__name__}.{module.name}"
            yield module.name, importlib.import_module(name).sync_detailed


def bodies(client, name, png):
    """The bodies to call an operation with; [None] for one that takes none."""
    models, File = client.models, client.types.File
    encoded = base64.b64encode(png).decode()
    raw = lambda: File(payload=io.BytesIO(png), file_name="digit.png", mime_type="image/png")
    if name in ("classify", "pose", "reconstruct"):
        form = models.Upload()
        form["digit"] = raw()
        images = models.Images(images=[encoded])
        pose = [models.Pose(class_=3, pose=[0.1] * 16)] if name == "reconstruct" else []
        return [raw(), form, images, *pose]
    if name.startswith("oip_infer"):
        tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [encoded]}
        request = {"inputs": [tensor], "outputs": [{"name": "class"}]}
        return [models.OipInference.from_dict(request),
                File(payload=io.BytesIO(json.dumps(request).encode()))]
    return [None]


def answered_well(name, answer):
    """Is the answer read, and is it the seven's?"""
    told = answer.parsed
    if name == "classify":
        return told.predictions[0].class_ == 7 and told.predictions[0].detected == [7]
    if name == "pose":
        return told.predictions[0].class_ == 7 and len(told.predictions[0].poses[7]) == 16
    if name == "reconstruct":
        return answer.content.startswith(b"\x89PNG")
    if name.startswith("oip_infer"):
        return told.outputs[0].data == [7]
    return told is not None or not answer.headers["content-type"].startswith("application/json")


def check_operations(client, session, png, ids):
    given = {"name": "capsnet-mnist", "version": "1"}
    called = set()
    for name, function in operations(client):
        wanted = inspect.signature(function).parameters
        arguments = {key: value for key, value in given.items() if key in wanted}
        if name == "page_file":
            arguments = {"file": client.models.PageFileFile("page.js")}
        called.add(name.replace("_", ""))
        for body in bodies(client, name, png):
            if body is not None:
                arguments["body"] = body
            answer = function(client=session, **arguments)
            form = f", {type(body).__name__}" if body is not None else ""
            check(f"{name}{form}", answer.status_code == 200 and answered_well(name, answer))
    check(f"all {len(ids)} operations are in the client",
          called == {one.lower() for one in ids})


def check_refusals(client, session):
    models, File = client.models, client.types.File
    classify = importlib.import_module(f"{client.__name__}.api.capsules.classify").sync_detailed
    answer = classify(client=session, body=File(payload=io.BytesIO(b"\x89PNG\r\n\x1a\n" + bytes(90))))
    check("what is no PNG is refused", answer.status_code == 400
          and answer.parsed.error.code == models.ErrorErrorCode.INVALID_PNG)
    model = importlib.import_module(f"{client.__name__}.api.open_inference_protocol.oip_model")
    answer = model.sync_detailed("other", client=session)
    check("an unknown model is refused", answer.status_code == 404 and "other" in answer.parsed.error)


def main(url, png, folder):
    sys.path.insert(0, folder)
    client = importlib.import_module("capsnetd_client")
    for part in ("api", "models", "types"):
        importlib.import_module(f"capsnetd_client.{part}")
    with urllib.request.urlopen(f"{url}/openapi.json") as file:
        document = json.load(file)
    with open(png, "rb") as file:
        bytes_of_png = file.read()
    ids = [operation["operationId"] for path in document["paths"].values()
           for method, operation in path.items() if method in ("get", "post")]
    session = client.Client(base_url=url, raise_on_unexpected_status=True)
    check_operations(client, session, bytes_of_png, ids)
    check_refusals(client, session)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
