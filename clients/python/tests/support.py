"""What the tests stand on: the real server as a child process, a network that can fall silent, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from switchboard_chat import Client

BINARY = os.environ.get("SWITCHBOARD_BIN", "")
SOON = 20.0
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHBOARD_")}


async def until(condition: Callable[[], Any], what: str | Callable[[], str] = "", limit: float = SOON) -> None:
    """Waits until something holds."""
    deadline = asyncio.get_running_loop().time() + limit
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(what() if callable(what) else what)
        await asyncio.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A server that keeps its history on the disk, and clients of it."""

    def __init__(self, *args: str) -> None:
        assert BINARY, "SWITCHBOARD_BIN must name the built server"
        self.directory = Path(tempfile.mkdtemp(prefix="switchboard-py-"))
        self.port = free_port()
        self.args = args
        self.clients: list[Client] = []
        key = self.directory / "key"
        key.write_text("a secret of more than thirty-two bytes")
        key.chmod(0o600)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    async def run(self) -> None:
        child = self._begin()

        def listens() -> bool:
            assert child.poll() is None, (self.directory / "log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return False

        await until(listens, lambda: (self.directory / "log").read_text())

    def _begin(self) -> subprocess.Popen[bytes]:
        kept = ["--data", str(self.directory / "data"), "--token-key", str(self.directory / "key")]
        where = ["--listen", f"127.0.0.1:{self.port}"]
        with (self.directory / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [BINARY, "serve", *where, *kept, "--posts-per-second", "0", *self.args],
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        return self._child

    def kill(self) -> None:
        """Ends it as a power failure would."""
        assert self._child is not None
        self._child.kill()
        self._child.wait()

    async def stop(self) -> None:
        for client in self.clients:
            await client.stop()
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            self._child.wait()
        shutil.rmtree(self.directory)

    def token(self, user: str, *args: str) -> str:
        key = str(self.directory / "key")
        done = subprocess.run(
            [BINARY, "token", "mint", "--key", key, "--user", user, *args],
            env=ENVIRONMENT,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def make(self, url: str | None = None, **options: Any) -> Client:
        """A client that has not begun."""
        client = Client(url or self.url, **options)
        self.clients.append(client)
        return client

    async def client(self, url: str | None = None, **options: Any) -> Client:
        """A client that is connected."""
        client = self.make(url, **options)
        client.start()
        await asyncio.wait_for(client.connected(), SOON)
        return client


class Network:
    """What stands between two ends and can fall silent: nobody is told, and what was under way stays dead."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_silent = False
        self._pairs: list[Pair] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/ws"

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        pair = Pair(self._is_silent, [writer, far_writer])
        self._pairs.append(pair)
        await asyncio.gather(pair.carry(reader, far_writer), pair.carry(far_reader, writer))
        self._pairs.remove(pair)

    def fall_silent(self) -> None:
        self._is_silent = True
        for pair in self._pairs:
            pair.is_dead = True

    def come_back(self) -> None:
        """New connections work again."""
        self._is_silent = False

    def cut(self) -> None:
        """All connections end at once."""
        for pair in self._pairs:
            for writer in pair.writers:
                writer.transport.abort()

    def close(self) -> None:
        self._server.close()
        self.cut()


class Pair:
    """Two sockets that belong together."""

    def __init__(self, is_dead: bool, writers: list[asyncio.StreamWriter]) -> None:
        self.is_dead = is_dead
        self.writers = writers

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not self.is_dead:
                    writer.write(data)
        if not self.is_dead:
            writer.transport.abort()


def texts(room: Any) -> list[str]:
    return [message.text for message in room.messages]


def heard(client: Client, event: Any) -> list[tuple[Any, ...]]:
    """Collects what comes with an event."""
    all_of: list[tuple[Any, ...]] = []
    client.on(event, lambda *values: all_of.append(values))
    return all_of
