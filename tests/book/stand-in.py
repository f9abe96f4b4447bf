#!/usr/bin/env python3
"""What `switchboard` and `cargo` are for the samples of the book: the programs that are built, in the place of a terminal of their own.

A server goes on in the background once it listens, and a server that is in its way ends before. Everything else is the program
itself.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

SERVERS = {"serve", "echo", "fanout"}
LISTENERS = ("--listen", "--tls-listen", "--redirect-listen", "--internal-listen", "--proxy-protocol", "--tls-proxy-protocol")
PIDS = Path(os.environ["BOOK_SCRATCH"]) / "servers.json"
PATIENCE_S = 20


def main() -> None:
    name, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    if name == "stop-servers":
        return stop(lambda _: True)
    if name == "cargo":
        name, arguments = of_cargo(arguments)
    program = os.environ[f"BOOK_{name.upper()}"]
    command = next((word for word in arguments[:1] if not word.startswith("-")), "serve")
    if name == "loadgen" or command not in SERVERS or {"-h", "--help", "-V", "--version"} & set(arguments):
        os.execv(program, [name, *arguments])
    serve(program, command, arguments)


def of_cargo(arguments: list[str]) -> tuple[str, list[str]]:
    """`cargo run --release -p loadgen -- …` is loadgen, without a package it is the server. What `build` makes is there."""
    own, rest = arguments, []
    if "--" in arguments:
        own, rest = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    if own[:1] == ["build"]:
        sys.exit(0)
    if own[:2] != ["run", "--release"] or own[2:] not in ([], ["-p", "loadgen"]):
        sys.exit(f"the stand-in for cargo does not know: {' '.join(own)}")
    return ("loadgen" if own[2:] else "switchboard"), rest


def serve(program: str, command: str, arguments: list[str]) -> None:
    places = [value for flag, value in zip(arguments, arguments[1:]) if flag in LISTENERS]
    if not any(flag in LISTENERS[:2] or "proxy-protocol" in flag for flag in arguments):
        places.append("127.0.0.1:8080")
    data = [value for flag, value in zip(arguments, arguments[1:]) if flag == "--data"] or ["switchboard-data"]
    mine = {*places, *(["data " + os.path.abspath(data[0])] if command == "serve" and "--ephemeral" not in arguments else [])}
    stop(lambda server: mine & set(server["has"]))
    servers = started()
    log = Path(os.environ["BOOK_SCRATCH"]) / f"server-{len(servers)}.log"
    with log.open("w") as output:
        child = subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)

    def ready() -> bool:
        if child.poll() is not None:
            sys.exit(f"switchboard {' '.join(arguments)} ended with {child.returncode}:\n{log.read_text()}")
        return all(accepts(place) for place in places)

    wait(ready, f"switchboard {' '.join(arguments)} does not listen on {places}")
    PIDS.write_text(json.dumps([*servers, {"pid": child.pid, "has": sorted(mine)}]))


def started() -> list[dict]:
    return json.loads(PIDS.read_text()) if PIDS.exists() else []


def stop(is_meant) -> None:
    for server in started():
        if is_meant(server) and alive(server["pid"]):
            os.kill(server["pid"], signal.SIGTERM)
            wait(lambda pid=server["pid"]: not alive(pid), "an earlier server does not end")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def accepts(place: str) -> bool:
    family, address = socket.AF_INET, place
    if place.startswith("unix:"):
        family, address = socket.AF_UNIX, place.removeprefix("unix:")
    else:
        host, _, port = place.rpartition(":")
        address = ("127.0.0.1" if host in ("", "0.0.0.0", "[::]") else host, int(port))
    with socket.socket(family) as probe:
        probe.settimeout(1)
        return probe.connect_ex(address) == 0


def wait(condition, complaint: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(complaint)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
