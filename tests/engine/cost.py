#!/usr/bin/env python3
"""What a post costs the engine: instructions under callgrind, or with --time processor time, one post a call and 16 of a room a
call. Calls are as a server makes them: posts of 128 bytes with keys, 64 calls a pipeline, 20 rooms with one subscriber.

  tests/engine/cost.py [--time] [--rounds N] [--engine redis-server]
"""

import argparse
import re
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

LIBRARY = (Path(__file__).parent.parent.parent / "src/history/engine/switchboard.lua").read_text()
NAME = re.search(r"name=(\w+)", LIBRARY)[1]
EMPTY = "#!lua name=empty\nredis.register_function('empty', function() return 1 end)"
# The name of a server; a run of an engine, and what rooms keep.
SETTINGS = f"{'5' * 16} {'a' * 40} 10000 0 600000 250000 1000"
PIPELINE, ROOMS = 64, 20
# What is measured, and posts of a call.
KINDS = {"an empty call": 0, "1 post a call": 1, "16 posts a call": 16}


def packed(*words):
    words = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def resp(text):
    return f"${len(text)}\r\n{text}\r\n"


def post(number):
    """The message and the key."""
    return resp(f"user{number % 100}\nc-{number}\n1\n") + resp("x" * 128) + resp(""), f"2user{number % 100}\nkey-{number}"


def call(number, posts):
    if posts == 0:
        return packed("FCALL", "empty", "0")
    room = f"room{number % ROOMS}"
    keys = [f"sb:{kind}:{{{room}}}" for kind in "mhockj"] + ["sb:rooms"]
    words = [SETTINGS, f"{number:016x}", f"sb:C:{{{room}}}", resp(room)]
    if posts == 1:
        return packed("FCALL", f"{NAME}_post", str(len(keys)), *keys, *words, *post(16 * number))
    items = [word for nth in range(posts) for word in ("P", *post(16 * number + nth))]
    return packed("FCALL", f"{NAME}_propose", str(len(keys)), *keys, *words, *items)


class Client:
    def __init__(self, port):
        for _ in range(600):
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.1)
        self.reader = self.socket.makefile("rb")

    def send(self, calls):
        """Waits for the answers: numbers and texts."""
        self.socket.sendall(b"".join(calls))
        for _ in calls:
            line = self.reader.readline()
            if line[:1] == b"-":
                raise SystemExit(line.decode())
            if line[:1] == b"$":
                self.reader.read(int(line[1:]) + 2)

    def listen(self):
        channels = [f"sb:C:{{room{room}}}" for room in range(ROOMS)]
        self.socket.sendall(packed("SUBSCRIBE", *channels))
        threading.Thread(target=lambda: all(iter(lambda: self.socket.recv(1 << 20), b"")), daemon=True).start()


def instructions(engine, directory, work):
    def control(flag):
        subprocess.run(["callgrind_control", flag, str(engine.pid)], check=True, capture_output=True)

    control("-z")
    work()
    control("-d")
    newest = max(directory.glob("callgrind.*"), key=lambda it: it.stat().st_mtime)
    return int(re.search(r"^(?:totals|summary): (\d+)", newest.read_text(), re.M)[1])


def microseconds(engine, _, work):
    def used():
        return int(Path(f"/proc/{engine.pid}/schedstat").read_text().split()[0]) / 1000

    before = used()
    work()
    return used() - before


def measure(arguments, directory):
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        port = it.getsockname()[1]
    command = [arguments.engine, "--port", str(port), "--save", "", "--dir", str(directory)]
    if not arguments.time:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/callgrind.%p", *command]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as engine:
        try:
            client = Client(port)
            client.send([packed("FUNCTION", "LOAD", text) for text in (LIBRARY, EMPTY)])
            Client(port).listen()
            number = 0
            for kind, posts in KINDS.items():
                calls = (20 if arguments.time else 2) * PIPELINE * 10 // max(1, posts // 4)

                def work(calls=calls, posts=posts):
                    nonlocal number
                    for _ in range(calls // PIPELINE):
                        client.send([call(number + nth, posts) for nth in range(1, PIPELINE + 1)])
                        number += PIPELINE

                work()
                spent = (microseconds if arguments.time else instructions)(engine, directory, work)
                each = spent / (calls // PIPELINE * PIPELINE) / max(1, posts)
                print(f"{kind:16} {each:9.2f} us" if arguments.time else f"{kind:16} {each:9,.0f} instructions", flush=True)
        finally:
            engine.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", action="store_true", help="processor time, on a quiet machine")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--engine", default="redis-server")
    arguments = parser.parse_args()
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as directory:
            measure(arguments, Path(directory))


if __name__ == "__main__":
    main()
