#!/usr/bin/env python3
"""metrics.py SERVER WEIGHTS FOLDER - holds alerts and dashboard against /metrics.

Starts the server, asks it for something of each kind, and checks that every
series that the alert rules, the dashboard and the KEDA trigger name is there,
with the labels that they select by.  Writes to FOLDER: metrics.txt, for `promtool
check metrics`, and queries.yml, the dashboard's queries as rules, for `promtool
check rules`.  Exit status 1 when something is missing.
"""
import json
import pathlib
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

TOP = pathlib.Path(__file__).resolve().parents[2]
# Of the scrape, not of the server; and of our own rules.
SCRAPED = {"up", "ALERTS"}
SCRAPE_LABELS = {"job", "instance", "le"}
NAME = r"\b((?:capsnetd|process)_[a-z_]+|up)\b(?!\s*=)(?:\{([^}]*)\})?"


def ask(url, body=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body)) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def scrape(server, weights):
    """The text of /metrics after a good request, a bad one and a reload."""
    process = subprocess.Popen([server, "--listen", "127.0.0.1:0", "--weights", weights],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url = process.stdout.readline().split()[-1]
        ask(f"{url}/classify", (TOP / "tests/digits/paper-3.png").read_bytes())
        ask(f"{url}/classify", b"no picture")
        return ask(f"{url}/metrics")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def labels_by_name(text):
    found = {}
    for name, labels in re.findall(r"^([a-z_]+)(?:\{([^}]*)\})? ", text, re.M):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def queries():
    """(where, query) of everything that asks Prometheus."""
    dashboard = json.loads((TOP / "deploy/grafana/capsnetd.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f'dashboard, {panel["title"]}', target["expr"]
    for variable in dashboard["templating"]["list"]:
        if "definition" in variable:
            yield "dashboard, variables", variable["definition"]
    alerts = (TOP / "deploy/prometheus/alerts.yml").read_text()
    for rule in re.split(r"- alert: ", alerts)[1:]:
        name, expression = rule.split("\n", 1)
        yield f"alert {name}", re.search(r"expr: (.*?)\n        (?:for|labels):", expression, re.S)[1]
    keda = (TOP / "deploy/kubernetes/components/keda/scaledobject.yaml").read_text()
    yield "KEDA", re.search(r"query: (.*)", keda)[1]
    tests = (TOP / "deploy/prometheus/alerts_test.yml").read_text()
    for series in re.findall(r"series: '(.*)'", tests):
        yield "alerts_test.yml", series


def main():
    server, weights, folder = sys.argv[1:]
    text = scrape(server, weights)
    pathlib.Path(folder, "metrics.txt").write_text(text)
    served, faults, n = labels_by_name(text), [], 0
    rules = []
    for where, query in queries():
        if where.startswith("dashboard,") and "label_values" not in query:
            plain = query.replace("$__rate_interval", "5m").replace("$instance", ".*")
            rules.append(f"      - record: dashboard:{len(rules)}\n        expr: {json.dumps(plain)}\n")
        for name, selector in re.findall(NAME, query):
            n += 1
            if name in SCRAPED:
                continue
            if name not in served:
                faults.append(f"{where}: the server has no {name}")
                continue
            for label in set(re.findall(r"(\w+)\s*[=!]~?\s*\"", selector)) - SCRAPE_LABELS - served[name]:
                faults.append(f"{where}: {name} has no label {label}")
    pathlib.Path(folder, "queries.yml").write_text(
        "groups:\n  - name: dashboard\n    rules:\n" + "".join(rules))
    used = {name for _, query in queries() for name, _ in re.findall(NAME, query)}
    print(f"metrics: {n} mentions of {len(used)} series, {len(faults)} missing")
    print("\n".join(f"  {fault}" for fault in faults))
    return 1 if faults or n < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
