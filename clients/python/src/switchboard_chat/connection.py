"""One WebSocket that is kept open, and what is true of it at any moment.

A socket says nothing when its network is gone. So silence of one heartbeat makes the connection ask for a sign of life;
when none comes in time, the socket is given up.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from . import wire
from .pauses import Pauses

__all__ = ["FINAL", "Connection", "State"]

_SUBPROTOCOL = Subprotocol("chat.v1.json")
#: Seconds from the attempt to the answer to the upgrade.
_OPENING_LIMIT = 10.0
#: Seconds from the upgrade to `welcome`.
_WELCOME_LIMIT = 10.0
_DEFAULT_HEARTBEAT = 25.0
#: Seconds for the answer to a sign of life.
_ANSWER_LIMIT = 5.0
_CLOSE_LIMIT = 2.0
#: Before the next attempt after a status that says that the server will not have us.
_REFUSED_RETRY = 30.0
#: Of one message; an answer of the server has at most 512 KiB of messages.
_MAX_SIZE = 16 * 1024 * 1024
#: Reasons of a `bye` after which coming back by itself is of no use.
FINAL = frozenset({"banned", "name_taken", "token_expired"})
#: Close codes that say why, should the `bye` before them be lost.
_CODES = {4001: "name_taken", 4002: "banned", 4003: "token_expired"}
#: Statuses after which the same may well succeed later.
_PASSING = {408, 425, 429}


@dataclass(frozen=True, slots=True)
class State:
    """What is true of the connection.

    `at` is `connecting`, `open` (the server has said who one is, and was heard of not long ago), `waiting` (the next
    attempt comes at `until`, as of `time.monotonic()`), `parked` (nothing is attempted before `retry`, `rename` or
    `sign_in`, or before `until` when there is one) or `stopped`. `why` is the reason that the server gave
    (`shutting_down`, `banned`, `name_taken`, `token_expired`, `refused`, ...), `detail` what it said besides.
    """

    at: Literal["connecting", "open", "waiting", "parked", "stopped"]
    why: str = ""
    detail: Exception | None = None
    until: float | None = None

    @property
    def is_final(self) -> bool:
        """Nobody need wait for this connection."""
        return self.at == "parked" and (self.until is None or self.why in FINAL)


class Owner(Protocol):
    """What the connection tells."""

    async def opened(self) -> None:
        """A socket is open."""

    def received(self, value: dict[str, Any]) -> None:
        """A message came."""

    def lost(self) -> None:
        """The socket is gone."""

    def state_changed(self) -> None:
        """See `Connection.state`."""

    def frame(self, direction: str, text: str) -> None:
        """A message came or goes."""

    def ended(self, why: str) -> bool:
        """Whether something is done about a final reason, so that the connection need not park."""


class Connection:
    """Runs as one task; `run` ends with `stop`."""

    def __init__(self, url: str, owner: Owner, options: dict[str, Any]) -> None:
        self.state = State("stopped")
        self._url = url
        self._owner = owner
        self._options = options
        self._socket: ClientConnection | None = None
        self._pauses = Pauses(random.random)
        self._wake = asyncio.Event()
        self._parked: State | None = None
        self._why = ""
        self._is_stopped = False
        self._heartbeat = _DEFAULT_HEARTBEAT
        self._is_welcome = False
        self._deadline: asyncio.Timeout | None = None

    async def run(self) -> None:
        """Keeps a socket open until `stop`."""
        while not self._is_stopped:
            await self._attempt()
            if self._is_stopped:
                break
            parked, self._parked = self._parked, None
            if parked is None:
                until: float | None = self._pauses.next(time.monotonic())
                self._be(State("waiting", self._why, until=until))
            else:
                until = parked.until
                self._be(parked)
            await self._sleep_until(until)
        self._be(State("stopped"))

    def stop(self) -> None:
        self._is_stopped = True
        self.reopen()

    def send(self, command: dict[str, Any]) -> bool:
        """False when no socket is open, or what was sent before has not left yet."""
        socket = self._socket
        if socket is None:
            return False
        text = json.dumps(command, ensure_ascii=False, separators=(",", ":"))
        self._owner.frame("out", text)
        # One task for each command; they are begun, and so sent, in this order.
        task = asyncio.ensure_future(socket.send(text))
        _tasks.add(task)
        task.add_done_callback(_forget)
        return True

    def welcomed(self, heartbeat: float) -> None:
        """The server has let us in."""
        self._pauses.after_success()
        self._why = ""
        self._heartbeat = heartbeat or _DEFAULT_HEARTBEAT
        self._is_welcome = True
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(None)
        self._be(State("open"))

    def come_back_after(self, why: str, wait: float) -> None:
        """The server ends the connection, and may want it back after `wait` seconds."""
        self._why = why
        self._pauses.not_before(time.monotonic() + wait)

    def park(self, why: str, detail: Exception | None = None, wait: float | None = None) -> None:
        """It is no use to come back before the person does something, or before so many seconds have passed."""
        until = None if wait is None else time.monotonic() + wait
        self._parked = State("parked", why, detail, until)
        self.abandon()

    def reopen(self) -> None:
        """Gives up the socket that there may be, and opens another at once."""
        self._parked = None
        self._pauses.at_once()
        self._why = ""
        self._wake.set()
        self.abandon()
        if not self._is_stopped and self.state.at != "stopped":
            self._be(State("connecting"))

    def abandon(self) -> None:
        """Gives up a socket, without waiting for its closing handshake."""
        if self._socket is not None:
            self._drop()

    async def _attempt(self) -> None:
        self._wake.clear()
        self._be(State("connecting", self._why))
        attempt = asyncio.ensure_future(self._open())
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({attempt, woken}, return_when=asyncio.FIRST_COMPLETED)
            socket = attempt.result() if attempt.done() else None
        finally:
            woken.cancel()
            if not attempt.done():
                attempt.cancel()
        if socket is None:
            return
        self._socket = socket
        self._is_welcome = False
        try:
            await self._live(socket)
        finally:
            if self._socket is socket:
                self._drop()

    async def _open(self) -> ClientConnection | None:
        options = {
            "open_timeout": _OPENING_LIMIT,
            "close_timeout": _CLOSE_LIMIT,
            "max_size": _MAX_SIZE,
            **self._options,
        }
        try:
            # The library's own pings would end the connection behind this one's back.
            return await connect(self._url, subprotocols=[_SUBPROTOCOL], ping_interval=None, **options)
        except InvalidStatus as error:
            status = error.response.status_code
            retry_after = error.response.headers.get("Retry-After", "")
            if retry_after.isdigit():
                self._pauses.not_before(time.monotonic() + int(retry_after))
            if 400 <= status < 500 and status not in _PASSING:
                self._parked = State("parked", "refused", error, time.monotonic() + _REFUSED_RETRY)
        except ssl.SSLCertVerificationError as error:
            self._parked = State("parked", "certificate", error, time.monotonic() + _REFUSED_RETRY)
        except (OSError, WebSocketException):
            pass
        return None

    async def _live(self, socket: ClientConnection) -> None:
        try:
            async with asyncio.timeout(_WELCOME_LIMIT) as self._deadline:
                await self._owner.opened()
                while self._socket is socket:
                    text = await self._next(socket)
                    if text is None or self._socket is not socket:
                        return
                    self._owner.frame("in", text)
                    value = wire.as_object(text)
                    if value is not None:
                        self._owner.received(value)
        except TimeoutError:
            return
        except ConnectionClosed as closed:
            if self._socket is not socket:
                return
            why = _CODES.get(closed.rcvd.code if closed.rcvd else 0)
            if why is not None and self._parked is None and not self._owner.ended(why):
                self._parked = State("parked", why)

    async def _next(self, socket: ClientConnection) -> str | None:
        """The next message; `None` when there is no sign of life."""
        while True:
            try:
                async with asyncio.timeout(self._heartbeat):
                    text = await socket.recv()
                    return text if isinstance(text, str) else text.decode("utf-8", "replace")
            except TimeoutError:
                pass
            try:
                async with asyncio.timeout(_ANSWER_LIMIT):
                    pong = await socket.ping()
                    await pong
            except TimeoutError:
                return None

    def _drop(self) -> None:
        socket, self._socket = self._socket, None
        if socket is None:
            return
        if self._is_stopped and self._is_welcome:
            task = asyncio.ensure_future(socket.close())
            _tasks.add(task)
            task.add_done_callback(_forget)
        else:
            socket.transport.abort()
        self._owner.lost()

    async def _sleep_until(self, until: float | None) -> None:
        timeout = None if until is None else max(0.0, until - time.monotonic())
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _be(self, state: State) -> None:
        self.state = state
        self._owner.state_changed()


#: What is under way, so that nobody takes it away before it is done.
_tasks: set[asyncio.Future[Any]] = set()


def _forget(task: asyncio.Future[Any]) -> None:
    _tasks.discard(task)
    if not task.cancelled():
        # A socket that is gone is noticed by its reader.
        task.exception()
