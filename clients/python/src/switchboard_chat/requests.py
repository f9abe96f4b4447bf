"""Commands that wait for their answers, by the number that comes back with the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from .errors import Disconnected
from .wire import refused_of

__all__ = ["Requests"]

#: Seconds after which the connection is taken for dead.
_ANSWER_LIMIT = 15.0
#: Seconds for what is in the socket already: after a sleep of the machine timers come before it.
_GRACE = 0.1


class Requests:
    """What the server owes."""

    def __init__(self, send: Callable[[dict[str, Any]], bool], late: Callable[[], None]) -> None:
        self._send = send
        self._late = late
        self._next = 1
        self._waiting: dict[int, tuple[asyncio.Future[dict[str, Any]], asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, command: dict[str, Any]) -> asyncio.Future[dict[str, Any]]:
        """Sends a command; the future is for its answer. It fails with `Refused` or `Disconnected`."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[dict[str, Any]] = loop.create_future()
        number, self._next = self._next, self._next + 1
        said = {name: value for name, value in command.items() if value is not None}
        if self._send({**said, "id": number}):
            self._wait_for(number, answer, _ANSWER_LIMIT, lambda: self._wait_for(number, answer, _GRACE, self._late))
        else:
            answer.set_exception(Disconnected("offline"))
        return answer

    def _wait_for(
        self, number: int, answer: asyncio.Future[dict[str, Any]], limit: float, late: Callable[[], None]
    ) -> None:
        self._waiting[number] = (answer, asyncio.get_running_loop().call_later(limit, late))

    def answer(self, value: dict[str, Any]) -> bool:
        """Whether it was an answer."""
        number = value.get("id")
        waiting = self._waiting.pop(number, None) if isinstance(number, int) else None
        if waiting is None:
            return False
        future, timer = waiting
        timer.cancel()
        if future.done():
            # Nobody waits any more.
            return True
        if value.get("type") == "error":
            future.set_exception(refused_of(value))
        else:
            future.set_result(value)
        return True

    def connection_lost(self, code: Literal["lost", "stopped"] = "lost") -> None:
        waiting, self._waiting = list(self._waiting.values()), {}
        for future, timer in waiting:
            timer.cancel()
            if not future.done():
                future.set_exception(Disconnected(code))
