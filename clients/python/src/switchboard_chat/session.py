"""One person's connection: who they are for the server, what is asked, who is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from . import wire
from .connection import FINAL, Connection, State
from .errors import PASSING, RETRY, Disconnected, Refused
from .requests import Requests

__all__ = ["Event", "Session", "Token"]

#: A token, or what fetches one: called at first, before the last one expires, and when the server takes it no more.
Token = str | Callable[[], str | Awaitable[str | None] | None] | None

#: What happens, by name; README.md says what comes with each.
Event = Literal[
    "state",
    "signed_in",
    "rooms",
    "message",
    "room",
    "unread",
    "not_room",
    "kicked",
    "missed",
    "posted",
    "refused",
    "broadcast",
    "complaint",
    "frame",
]

#: For a token that cannot be had, or is not taken.
_TOKEN_RETRY = 30.0
#: Fresh tokens that are not taken, one after the other, before the client takes a rest.
_MOST_TOKENS = 2
#: Seconds before its end at which a token is renewed; a short one when a tenth of its time is left.
_RENEWAL = 60.0
#: Seconds for a `bye` that comes behind a refused `hello`.
_BYE = 0.2


class Session:
    """It runs between `start` and `stop`, or as a context manager."""

    def __init__(self, url: str, user: str, token: Token, options: dict[str, Any]) -> None:
        #: Who one is.
        self.user = user
        self.verified = False
        #: Numbers that the server names, see docs/chat-protocol.md.
        self.limits: dict[str, int] = {"text": 4096, "name": 64}
        #: What the server can do besides.
        self.features: frozenset[str] = frozenset()
        #: What one may do everywhere; `None` when the server does not say.
        self.permissions: frozenset[str] | None = None
        self._token = token
        self._fetched: str | None = None
        self._refused_tokens = 0
        self._listeners: dict[str, list[Callable[..., Any]]] = {}
        self._connection = Connection(_web_socket_url(url), self, options)
        self._requests = Requests(self._connection.send, self._connection.abandon)
        self._opening: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._running: asyncio.Task[None] | None = None
        self._renewal: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def start(self) -> None:
        """Begins to connect."""
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._connection.run())

    async def connected(self) -> None:
        """Waits until the server has said who one is. Fails with `Disconnected` when it does not let this client in."""
        if self.is_open:
            return
        self._fail_when_idle()
        opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._opening.append(opening)
        await opening

    async def stop(self) -> None:
        """Ends the connection. What waits for an answer fails with `Disconnected`; posts stay in the outbox."""
        running, self._running = self._running, None
        if running is None:
            return
        self._on_stop()
        self._connection.stop()
        self._requests.connection_lost("stopped")
        self._give_up(Disconnected("stopped"))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(running, *self._tasks, return_exceptions=True)

    async def run(self) -> None:
        """Starts, and returns when the client is stopped, or fails when coming back is of no use any more."""
        self.start()
        while self._running is not None:
            if self.state.is_final:
                self._fail_when_idle()
            changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            off = self.on("state", lambda changed=changed: changed.done() or changed.set_result(None))
            try:
                await changed
            finally:
                off()

    @property
    def state(self) -> State:
        return self._connection.state

    @property
    def is_open(self) -> bool:
        return self.state.at == "open"

    @property
    def waiting(self) -> int:
        """How many commands have no answer yet."""
        return len(self._requests)

    def on(self, event: Event, listener: Callable[..., Any]) -> Callable[[], None]:
        """Calls `listener`, which may be a coroutine function, at each such event until what is returned is called."""
        listeners = self._listeners.setdefault(event, [])
        listeners.append(listener)

        def off() -> None:
            with contextlib.suppress(ValueError):
                listeners.remove(listener)

        return off

    def retry(self) -> None:
        """Tries again, now."""
        self._connection.reopen()

    async def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Sends a command of docs/chat-protocol.md and returns its answer. Fails with `Refused` or `Disconnected`.

        Fields that are `None` are left out.
        """
        return await self._requests.ask(command)

    async def opened(self) -> None:
        try:
            token = await self._current_token()
        except Exception as error:
            # Whatever a function of the caller fails with.
            self._fetched = None
            self._connection.park("no_token", error, _TOKEN_RETRY)
            return
        who = {"token": token} if token else {"user": self.user or None}
        self._spawn(self._say_hello(self._requests.ask({"type": "hello", **who})))

    def received(self, value: dict[str, Any]) -> None:
        if not self._requests.answer(value):
            self._on_notice(value)

    def lost(self) -> None:
        self._renew_in(None)
        self._requests.connection_lost()
        self._on_lost()

    def state_changed(self) -> None:
        state = self.state
        if state.is_final:
            self._give_up(_parked(state))
        self._tell("state")

    def frame(self, direction: str, text: str) -> None:
        if "frame" in self._listeners:
            self._tell("frame", direction, text)

    def ended(self, why: str) -> bool:
        return why == "token_expired" and self._needs_token()

    async def _say_hello(self, asked: asyncio.Future[dict[str, Any]]) -> None:
        try:
            welcome = wire.welcome_of(await asked)
        except Disconnected:
            return
        except Refused as error:
            if error.field == "token" and self._needs_token():
                self._connection.abandon()
                return
            # A `bye` that comes behind it says more.
            await asyncio.sleep(_BYE)
            if self.state.at != "connecting":
                return
            if error.code in PASSING:
                self._connection.come_back_after(error.code, error.retry_after or RETRY)
                self._connection.abandon()
            else:
                self._connection.park("refused", error, _TOKEN_RETRY if callable(self._token) else None)
            return
        self.user, self.verified = welcome.user, welcome.verified
        self.features, self.permissions = welcome.features, welcome.permissions
        self.limits.update(welcome.limits)
        self._refused_tokens = 0
        self._connection.welcomed(welcome.heartbeat)
        self._renew_in(welcome.expires)
        self._tell("signed_in")
        for opening in self._opening:
            if not opening.done():
                opening.set_result(None)
        self._opening.clear()
        self._on_open()

    def _renew_in(self, expires: float | None) -> None:
        """The token ends in so many seconds."""
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        if expires is None or not callable(self._token) or "refresh" not in self.features:
            return
        wait = expires - min(_RENEWAL, expires / 10)
        self._renewal = asyncio.get_running_loop().call_later(wait, lambda: self._spawn(self._renew()))

    async def _renew(self) -> None:
        """Where that fails the connection ends with the token, and the next one begins with another."""
        self._fetched = None
        try:
            token = await self._current_token()
        except Exception:
            # Whatever a function of the caller fails with.
            self._fetched = None
            return
        try:
            refreshed = wire.refreshed_of(await self.ask({"type": "refresh", "token": token}))
        except Refused:
            self._fetched = None
            return
        except Disconnected:
            # The next connection begins with it.
            return
        self.user, self.permissions = refreshed.user, refreshed.permissions
        self._on_refreshed(refreshed.rooms)
        self._renew_in(refreshed.expires)
        self._tell("signed_in")

    async def _current_token(self) -> str | None:
        if not callable(self._token):
            return self._token
        if self._fetched is None:
            fetched = self._token()
            self._fetched = await fetched if inspect.isawaitable(fetched) else fetched
        return self._fetched

    def _needs_token(self) -> bool:
        """The token is taken no more. Whether there may be another one."""
        if not callable(self._token) or self._refused_tokens >= _MOST_TOKENS:
            return False
        self._refused_tokens += 1
        self._fetched = None
        return True

    def _bye(self, value: dict[str, Any]) -> None:
        reason, wait = wire.text_of(value.get("reason")), wire.seconds_of(value.get("retry_after_ms"))
        is_final = reason in FINAL and not (reason == "token_expired" and self._needs_token())
        if is_final:
            self._connection.park(reason, wire.refused_of({"code": reason, "message": value.get("message")}), wait)
        else:
            self._connection.come_back_after(reason, wait or 0.0)

    def _tell(self, event: Event, *values: Any) -> None:
        """What a listener does wrong is no business of the client."""
        for listener in list(self._listeners.get(event, ())):
            try:
                result = listener(*values)
            except Exception as error:
                self._complain(error)
                continue
            if inspect.iscoroutine(result):
                self._spawn(result)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception) and not isinstance(error, Disconnected):
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "a listener of the chat failed", "exception": error})

    def _later(self, delay: float, what: Callable[[], Any]) -> None:
        async def wait() -> None:
            await asyncio.sleep(delay)
            what()

        self._spawn(wait())

    def _fail_when_idle(self) -> None:
        state = self.state
        if self._running is None:
            raise Disconnected("stopped")
        if state.is_final:
            raise _parked(state) from state.detail

    def _give_up(self, error: Disconnected) -> None:
        """Nobody need wait any longer."""
        waiting = [*self._opening, *self._all_waiting()]
        self._opening.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(error)

    # ---- what stands on it

    def _on_open(self) -> None:
        """The server has said who one is."""

    def _on_notice(self, value: dict[str, Any]) -> None:
        """The server says something that is no answer."""

    def _on_refreshed(self, rooms: dict[str, frozenset[str] | None]) -> None:
        """A new token permits this in the rooms that one is in."""

    def _on_lost(self) -> None:
        """The connection is gone."""

    def _on_stop(self) -> None:
        """The client is about to be stopped."""

    def _all_waiting(self) -> list[asyncio.Future[Any]]:
        """What else waits; it is let go of."""
        return []


def _parked(state: State) -> Disconnected:
    error = Disconnected("parked", state.why)
    error.__cause__ = state.detail
    return error


def _web_socket_url(url: str) -> str:
    if url.startswith("http"):
        url = "ws" + url[4:]
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"{url!r} is no address of a server; such as wss://chat.example/ws")
    return url


def subject_of(token: str) -> Any:
    """Whom a token is about; `None` when it does not say. Nothing is checked: that is for the server."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return claims.get("sub")
    except (IndexError, ValueError, AttributeError):
        return None
