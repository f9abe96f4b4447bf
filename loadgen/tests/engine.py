#!/usr/bin/env python3
"""What an engine costs a node: processor time for each post beside that of the same load in memory, by thread, and the time
from a post to its delivery beside the engine's own round trip.

  loadgen/tests/engine.py [--bin DIRECTORY] [--rounds N] [--seconds S] [PART...]

PART: any of spread, together, shared, idle [default: all]
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

# name -> arguments of loadgen chat. Each user has a room of its own; posts carry keys.
LOADS = {
    # 1 post a call, few calls in a pipeline
    "spread": ["--connections", "64", "--rooms", "64", "--rate", "8000"],
    # 1 post a call, 64 calls in a pipeline
    "together": ["--connections", "64", "--rooms", "64", "--rate", "8000", "--arrivals", "bursts:64"],
    # 16 posts a call
    "shared": ["--connections", "4", "--rooms", "4", "--rate", "16000", "--arrivals", "bursts:64"],
}
SIZE = "128"
# posts per second of one user whose posts nothing shares the way with
IDLE_RATE = 50


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


class Process:
    """A process that ends with the block."""

    def __init__(self, args, log):
        self.args, self.log = args, log

    def __enter__(self):
        self.child = subprocess.Popen(self.args, stdout=self.log, stderr=self.log)
        return self.child

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()


def wait_for(what, port):
    for _ in range(200):
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{what} does not listen on port {port}")


def spent(pid):
    """Nanoseconds on a processor and switches, by thread."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        base = f"/proc/{pid}/task/{task}"
        try:
            with open(f"{base}/comm") as comm, open(f"{base}/schedstat") as stat:
                name, fields = comm.read().strip(), stat.read().split()
        except OSError:
            continue
        ns, turns = found.get(name, (0, 0))
        found[name] = (ns + int(fields[0]), turns + int(fields[2]))
    return found


def counts(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("switchboard_engine_")}


class Bench:
    def __init__(self, options, work):
        self.bin, self.seconds, self.work = options.bin, options.seconds, work
        self.log = open(f"{work}/log", "w")

    def redis(self, port):
        return Process(["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", self.work], self.log)

    def load(self, engine, args):
        """Runs a load. Returns the processor time of each thread for each post in us, and of what happened some figures."""
        port, internal = free_port(), free_port()
        server = [f"{self.bin}/switchboard", "serve", "--listen", f"127.0.0.1:{port}", "--internal-listen", f"127.0.0.1:{internal}",
                  "--posts-per-second", "1000000"]
        server += ["--engine", f"redis://127.0.0.1:{engine}/0"] if engine else ["--ephemeral"]
        report = f"{self.work}/report.json"
        generator = [f"{self.bin}/loadgen", "chat", f"ws://127.0.0.1:{port}/", *args, "--size", SIZE, "--json", report]
        with Process(server, self.log) as node:
            wait_for("the node", port)
            subprocess.run([*generator, "--duration", "1s", "--warmup", "0s"], check=True, stdout=self.log)
            before, told = spent(node.pid), counts(internal) if engine else {}
            subprocess.run([*generator, "--duration", f"{self.seconds}s", "--warmup", "0s"], check=True, stdout=self.log)
            after, told_after = spent(node.pid), counts(internal) if engine else {}
        with open(report) as file:
            said = json.load(file)
        posts = said["answered"]
        if said["lost"] + said["duplicated"] + said["reordered"] > 0:
            sys.exit(f"messages were lost, duplicated or reordered: {report}")
        us = {name: (ns - before.get(name, (0, 0))[0]) / posts / 1000 for name, (ns, _) in after.items()}
        turns = sum(turns - before.get(name, (0, 0))[1] for name, (_, turns) in after.items()) / posts
        delta = lambda name: told_after.get(f"switchboard_engine_{name}_total", 0) - told.get(f"switchboard_engine_{name}_total", 0)
        shares = (posts / max(delta("calls"), 1), delta("calls") / max(delta("pipelines"), 1)) if engine else (0, 0)
        delivery = said["latency_of_delivery_ns"]
        return us, turns, shares, delivery

    def cost(self, name, rounds):
        args = LOADS[name]
        found = []
        for _ in range(rounds):
            port = free_port()
            with self.redis(port):
                wait_for("redis-server", port)
                found.append((self.load(port, args), self.load(None, args)))
        mid = lambda pick: statistics.median(pick(with_engine, alone) for with_engine, alone in found)
        extra = mid(lambda a, b: sum(a[0].values()) - sum(b[0].values()))
        total, alone = mid(lambda a, _: sum(a[0].values())), mid(lambda _, b: sum(b[0].values()))
        per_call, calls = mid(lambda a, _: a[2][0]), mid(lambda a, _: a[2][1])
        print(f"{name}: {extra:.1f} us beyond {alone:.1f} ({total:.1f} in all), {per_call:.1f} posts a call, {calls:.1f} calls a pipeline")
        threads = sorted({thread for a, _ in found for thread in a[0]})
        parts = [(thread, mid(lambda a, _: a[0].get(thread, 0))) for thread in threads]
        print("  by thread:", ", ".join(f"{thread} {us:.2f}" for thread, us in parts if us >= 0.01))
        print(f"  turns on a processor: {mid(lambda a, _: a[1]):.2f}, alone {mid(lambda _, b: b[1]):.2f};"
              f" delivery p50 {mid(lambda a, _: a[3]['p50'] / 1e3):.0f} us, alone {mid(lambda _, b: b[3]['p50'] / 1e3):.0f} us")

    def idle(self, rounds):
        ratios = []
        for _ in range(rounds):
            port = free_port()
            with self.redis(port):
                wait_for("redis-server", port)
                before = ping(port, self.seconds)
                args = ["--connections", "1", "--rooms", "1", "--rate", str(IDLE_RATE)]
                _, _, _, delivery = self.load(port, args)
                _, _, _, alone = self.load(None, args)
                pings = (before + ping(port, self.seconds)) / 2
                ratios.append((delivery["p50"] / 1e3 / pings, delivery["p50"] / 1e3, alone["p50"] / 1e3, pings))
        ratio, us, alone, pings = (statistics.median(it) for it in zip(*ratios))
        print(f"idle: post to delivery p50 {us:.0f} us (in memory {alone:.0f}), PING {pings:.0f} us: {ratio:.2f} round trips")


def ping(port, seconds):
    """The median round trip of a PING at the same pace, in us."""
    times = []
    with socket.create_connection(("127.0.0.1", port)) as it:
        it.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(seconds * IDLE_RATE):
            time.sleep(1 / IDLE_RATE)
            begin = time.perf_counter()
            it.sendall(b"*1\r\n$4\r\nPING\r\n")
            it.recv(64)
            times.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/release", help="directory of the release builds of switchboard and loadgen")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="length of each run")
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*LOADS, "idle", []], help="spread, together, shared, idle")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(options, work)
        for part in options.parts or [*LOADS, "idle"]:
            if part == "idle":
                bench.idle(options.rounds)
            else:
                bench.cost(part, options.rounds)


if __name__ == "__main__":
    main()
