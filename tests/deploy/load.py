#!/usr/bin/env python3
"""A bounded load on one address, for the tests of the image and of compose.

Clients send one PNG a request to /classify over kept-alive connections and
check each answer's label.  Prints one line of JSON:

  requests, ok      requests sent, and answered with 200 and the right label
  statuses          how many answers of every status
  wrong             answers of 200 with another label
  refused           connections that were not accepted
  broken            connections that ended before the whole answer was there
  p50_ms, p99_ms, max_ms   of the good answers
  stale             kept-alive connections found closed before a byte of the answer;
                    as HTTP clients do, the request is sent anew, once
  per_s             good answers per second

It stops by itself.
"""
import argparse
import collections
import http.client
import json
import pathlib
import threading
import time
import urllib.parse


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("image", help="a PNG whose name ends in its digit, as in paper-3.png")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--per-connection", type=int, default=100,
                        help="requests after which a client takes a new connection")
    parser.add_argument("--images", type=int, default=1, help="images of a request")
    parser.add_argument("--pause-ms", type=float, default=0, help="between a client's requests")
    return parser.parse_args()


class Client(threading.Thread):
    def __init__(self, arguments, until):
        super().__init__(daemon=True)
        self.arguments, self.until = arguments, until
        self.url = urllib.parse.urlsplit(arguments.url)
        path = pathlib.Path(arguments.image)
        self.label = path.stem[-1]
        png = path.read_bytes()
        if arguments.images == 1:
            self.body, self.headers = png, {}
        else:
            part = b"--x\r\nContent-Disposition: form-data; name=i; filename=i.png\r\n\r\n" + png + b"\r\n"
            self.body = part * arguments.images + b"--x--\r\n"
            self.headers = {"Content-Type": "multipart/form-data; boundary=x"}
        self.statuses = collections.Counter()
        self.wrong = self.refused = self.broken = self.stale = 0
        self.milliseconds = []

    def run(self):
        connection, used = None, 0
        while time.monotonic() < self.until:
            if connection is None or used == self.arguments.per_connection:
                connection, used = self.connect(connection), 0
                if connection is None:
                    time.sleep(0.02)
                    continue
            used += 1
            if not self.ask(connection, is_fresh=used == 1):
                connection = None
            time.sleep(self.arguments.pause_ms / 1000)

    def connect(self, old):
        if old:
            old.close()
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=30)
        try:
            connection.connect()
        except OSError:
            self.refused += 1
            return None
        return connection

    def ask(self, connection, is_fresh):
        """Sends one request; false when the connection is of no further use."""
        start = time.monotonic()
        try:
            connection.request("POST", "/classify", self.body, self.headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            is_stale = isinstance(error, (http.client.RemoteDisconnected, ConnectionError))
            if is_fresh or not is_stale:
                self.broken += 1
                return False
            self.stale += 1
            connection = self.connect(connection)
            return connection is not None and self.ask(connection, is_fresh=True) and False
        took = 1000 * (time.monotonic() - start)
        self.statuses[answer.status] += 1
        if answer.status == 200:
            labels = [p["label"] for p in json.loads(body)["predictions"]]
            if labels == [self.label] * self.arguments.images:
                self.milliseconds.append(took)
            else:
                self.wrong += 1
        return not answer.will_close


def main():
    arguments = parse_arguments()
    start = time.monotonic()
    clients = [Client(arguments, start + arguments.seconds) for _ in range(arguments.clients)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    took = time.monotonic() - start
    times = sorted(t for client in clients for t in client.milliseconds)
    statuses = sum((client.statuses for client in clients), collections.Counter())

    def total(name):
        return sum(getattr(client, name) for client in clients)

    def percentile(share):
        return round(times[min(len(times) - 1, int(share * len(times)))], 1) if times else None

    print(json.dumps({
        "requests": sum(statuses.values()) + total("broken"), "ok": len(times),
        "statuses": {str(s): n for s, n in sorted(statuses.items())},
        "wrong": total("wrong"), "refused": total("refused"), "broken": total("broken"), "stale": total("stale"),
        "p50_ms": percentile(0.5), "p99_ms": percentile(0.99),
        "max_ms": round(times[-1], 1) if times else None,
        "per_s": round(len(times) / took, 1)}))


if __name__ == "__main__":
    main()
