#!/usr/bin/env python3
"""The dashboard of Grafana and the alerts of Prometheus against a real server and a real Prometheus.

    tests/book/watching.py

Every metric that they name is one that docs/ explains; those that a plain server has are in its /metrics; Prometheus takes every
query. promtool checks the rules and runs their tests. SWITCHBOARD_BIN is the server.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = re.compile(r"\bswitchboard_[a-z0-9_]+")
PATIENCE_S = 30
# What Grafana puts in.
GRAFANA = {"$__rate_interval": "5m", "$job": ".*", "$instance": ".*"}


def main() -> None:
    rules = ROOT / "packaging/prometheus/alerts.yml"
    subprocess.run(["promtool", "check", "rules", rules], check=True)
    subprocess.run(["promtool", "test", "rules", rules.with_name("tests.yml")], check=True)
    alerts = [rule for group in yaml.safe_load(rules.read_text())["groups"] for rule in group["rules"]]
    tested = rules.with_name("tests.yml").read_text()
    for alert in alerts:
        assert re.search(rf"\b{alert['alert']}\b", tested), f"{alert['alert']} has no test"
    queries = {alert["alert"]: alert["expr"] for alert in alerts} | queries_of(ROOT / "packaging/grafana/switchboard.json")
    explained = metrics_of_the_docs()
    for title, query in queries.items():
        for name in NAME.findall(query):
            metric = re.sub(r"_(bucket|sum|count)$", "", name)
            assert metric in explained, f"{title}: docs/metrics.md and docs/scaling.md do not explain {metric}"
    with tempfile.TemporaryDirectory() as scratch, Programs(Path(scratch)) as address:
        for title, query in queries.items():
            ask(address, title, query)
        shown = ask(address, "names", 'count by (__name__) ({__name__=~"switchboard_.*"})')
        there = {re.sub(r"_(bucket|sum|count)$", "", one["metric"]["__name__"]) for one in shown}
    # What exists only with certificates, hooks or an engine is known from the pages, which the tests of the server hold.
    optional = ("switchboard_tls_", "switchboard_hook_", "switchboard_engine_")
    for title, query in queries.items():
        for name in NAME.findall(query):
            metric = re.sub(r"_(bucket|sum|count)$", "", name)
            assert metric in there or metric.startswith(optional), f"{title}: a server has no {metric}"
    print(f"{len(queries)} queries")
    print(f"{len(queries) + 2} passed, 0 failed in 0s")


def queries_of(dashboard: Path) -> dict[str, str]:
    board = json.loads(dashboard.read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]), "two panels have one id"
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places), "two panels have one place"
    found = {}
    for panel in panels:
        for target in panel["targets"]:
            query = target["expr"]
            for variable, value in GRAFANA.items():
                query = query.replace(variable, value)
            found[f"{panel['id']} {panel['title']} {target['refId']}"] = query
    return found


def metrics_of_the_docs() -> set[str]:
    text = (ROOT / "docs/metrics.md").read_text() + (ROOT / "docs/scaling.md").read_text()
    names = set()
    for entry in re.findall(r"^- (`switchboard_[^:\n]*)", text, re.MULTILINE):
        for part in re.findall(r"`([^`]+)`", entry):
            names.add(f"switchboard_chat{part}" if part.startswith("_") else part)
    return names


class Programs:
    """A server, and a Prometheus that reads it."""

    def __init__(self, scratch: Path) -> None:
        self.scratch, self.children = scratch, []

    def __enter__(self) -> str:
        server, prometheus = free_port(), free_port()
        config = self.scratch / "prometheus.yml"
        config.write_text(f"global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: switchboard, static_configs: [{{targets: ['127.0.0.1:{server}']}}]}}]\n")
        settings = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHBOARD_")}
        self.start([os.environ["SWITCHBOARD_BIN"], "--listen", f"127.0.0.1:{server}", "--data", str(self.scratch / "data")], settings)
        self.start(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.scratch}/tsdb", f"--web.listen-address=127.0.0.1:{prometheus}", "--log.level=error"], settings)
        address = f"http://127.0.0.1:{prometheus}"
        deadline = time.monotonic() + PATIENCE_S
        while not self.is_read(address):
            assert time.monotonic() < deadline, "Prometheus reads nothing from the server"
            time.sleep(0.2)
        return address

    def start(self, command: list[str], environment: dict[str, str]) -> None:
        self.children.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    @staticmethod
    def is_read(address: str) -> bool:
        try:
            return bool(ask(address, "up", "up == 1"))
        except (urllib.error.URLError, OSError):
            return False

    def __exit__(self, *_: object) -> None:
        for child in self.children:
            child.terminate()
        for child in self.children:
            child.wait()


def ask(address: str, title: str, query: str) -> list[dict]:
    try:
        with urllib.request.urlopen(f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=10) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        if error.code == 503:  # it has just started
            return []
        sys.exit(f"{title}: {query}\n{error.read().decode()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
