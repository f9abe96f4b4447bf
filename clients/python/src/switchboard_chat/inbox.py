"""Messages that wait for the one who reads them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from .errors import ChatError
from .room import Room
from .wire import Message

__all__ = ["Inbox", "Overrun"]


class Overrun(ChatError):  # noqa: N818
    """Messages came faster than they were read: `missed` of them. `room.messages` has them."""

    def __init__(self, missed: int) -> None:
        super().__init__(f"{missed} messages came faster than they were read")
        self.missed = missed


class Inbox:
    """At most `limit` messages; what comes above that is counted."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[tuple[Room, Message]] = deque()
        self._missed = 0
        self._is_closed = False
        self._changed = asyncio.Event()

    def put(self, room: Room, message: Message) -> None:
        if len(self._items) < self._limit:
            self._items.append((room, message))
        else:
            self._missed += 1
        self._changed.set()

    def close(self) -> None:
        self._is_closed = True
        self._changed.set()

    async def read(self) -> AsyncIterator[tuple[Room, Message]]:
        while (item := await self.next()) is not None:
            yield item

    async def next(self) -> tuple[Room, Message] | None:
        """The next one; `None` at the end."""
        while not self._items:
            if self._missed:
                raise Overrun(self._missed)
            if self._is_closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()
