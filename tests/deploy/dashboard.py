#!/usr/bin/env python3
"""dashboard.py - does every panel of the dashboard show something?

  dashboard.py ask PROMETHEUS SERVICE        both are URLs
  dashboard.py run PROMETHEUS SERVER WEIGHTS  the programs, started here on loopback

Sends the service good and bad requests, a few a second, while Prometheus scrapes it,
and asks Prometheus every query of deploy/grafana/capsnetd.json as Grafana would,
variables filled in, until each has given a number; 60 s at most.  Checks too that the
alert rules are loaded.  Exit status 1, and the panels without data, otherwise.
"""
import contextlib
import json
import math
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

TOP = pathlib.Path(__file__).resolve().parents[2]
BOARD = json.loads((TOP / "deploy/grafana/capsnetd.json").read_text())
SECONDS = 60


def fetch(url, body=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=10) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        return error.read()


def ask(prometheus, path, **query):
    return json.loads(fetch(f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(query)}"))["data"]


def queries():
    """(panel's title, query) with Grafana's variables as they are at the start."""
    for panel in BOARD["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "20s").replace("$instance", ".*")
            assert "$" not in query, f"{panel['title']}: a variable that nobody fills in: {query}"
            yield panel["title"], query


def has_number(prometheus, query):
    """As a panel asks: over a range, where a point that is not a number is a gap."""
    now = time.time()
    found = ask(prometheus, "query_range", query=query, start=now - 20, end=now, step=5)["result"]
    return any(not math.isnan(float(value)) for series in found for _, value in series["values"])


def watch(prometheus, service):
    picture = (TOP / "tests/digits/paper-3.png").read_bytes()
    waiting = list(queries())
    n, end = len(waiting), time.monotonic() + SECONDS
    while waiting and time.monotonic() < end:
        for body in (picture, picture, b"no picture"):
            fetch(f"{service}/classify", body)
        waiting = [(title, query) for title, query in waiting if not has_number(prometheus, query)]
        time.sleep(0.3)
    rules = [rule for group in ask(prometheus, "rules")["groups"] for rule in group["rules"]]
    assert rules and all(rule["health"] in ("ok", "unknown") for rule in rules), rules
    if waiting:
        sys.exit("panels without data:\n" + "\n".join(f"  {title}: {query}" for title, query in waiting))
    for variable in (v for v in BOARD["templating"]["list"] if v["type"] == "query"):
        series, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
        values = ask(prometheus, f"label/{label}/values", **{"match[]": series})
        assert values, f"the variable {variable['name']} has no value"
    print(f"{n} queries gave data; {len(rules)} alert rules are loaded")


@contextlib.contextmanager
def running(*command, **keywords):
    process = subprocess.Popen(command, **keywords)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def run(prometheus, server, weights):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, \
            running(server, "--listen", "127.0.0.1:0", "--weights", weights, "--log-level", "error",
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
        service = daemon.stdout.readline().split()[-1]
        target = service.removeprefix("http://")
        config = pathlib.Path(folder, "prometheus.yml")
        config.write_text(json.dumps({  # YAML, too
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(TOP / "deploy/prometheus/alerts.yml")],
            "scrape_configs": [{"job_name": "capsnetd", "static_configs": [{"targets": [target]}]}]}))
        with running(prometheus, f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
                     f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"):
            url = f"http://127.0.0.1:{port}"
            for _ in range(100):
                with contextlib.suppress(OSError):
                    if b"Ready" in fetch(f"{url}/-/ready"):
                        break
                time.sleep(0.2)
            watch(url, service)


if __name__ == "__main__":
    {"ask": watch, "run": run}[sys.argv[1]](*sys.argv[2:])
