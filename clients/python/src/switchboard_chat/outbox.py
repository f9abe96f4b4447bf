"""What was posted and is not acknowledged yet.

It survives a lost connection, and with a store also the end of the process. Its keys make sure that what is sent again
is not said twice.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from .storage import Store

__all__ = ["Outbox", "Post"]

_STORED_AS = "switchboard.outbox"


@dataclass(slots=True, eq=False)
class Post:
    """A message on its way: to a room, or with `@` before it to a person."""

    room: str
    text: str
    key: str
    #: The person who is signed in, and as whom alone it may be sent; `None` for a guest.
    by: str | None = None
    #: What it carries besides its text: any JSON, and the number of the message that it replies to.
    data: Any = None
    reply_to: int | None = None


class Outbox:
    """Posts in their order; those of a room go out one after the other."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._posts = _read(store)
        self._under_way: set[str] = set()

    def __len__(self) -> int:
        return len(self._posts)

    def of_room(self, room: str) -> list[Post]:
        """What waits to be sent to a room, or for its answer."""
        return [post for post in self._posts if post.room == room]

    def add(self, post: Post) -> None:
        self._posts.append(post)
        self._write()

    def renamed(self, before: str, now: str) -> None:
        """The server knows a room by another form of its name."""
        for post in self._posts:
            if post.room == before:
                post.room = now
        self._write()

    def due(self, is_ready: Callable[[str], bool], user: str) -> list[Post]:
        """The next post of each room that is ready, with none of the room under way; they are under way from now on."""
        busy = {post.room for post in self._posts if post.key in self._under_way}
        due = []
        for post in self._posts:
            if post.room in busy or not is_ready(post.room) or (post.by is not None and post.by != user):
                continue
            busy.add(post.room)
            due.append(post)
        self._under_way.update(post.key for post in due)
        return due

    def done(self, post: Post) -> None:
        """The answer came that ends a post."""
        self._under_way.discard(post.key)
        self._posts = [other for other in self._posts if other is not post]
        self._write()

    def postponed(self, post: Post) -> None:
        """The post is to be sent again."""
        self._under_way.discard(post.key)

    def connection_lost(self) -> None:
        self._under_way.clear()

    def _write(self) -> None:
        self._store.write(_STORED_AS, json.dumps([asdict(post) for post in self._posts]))


def new_key() -> str:
    """A key that nobody else has."""
    return secrets.token_hex(16)


def _read(store: Store) -> list[Post]:
    try:
        kept: Any = json.loads(store.read(_STORED_AS) or "[]")
    except ValueError:
        return []
    if not isinstance(kept, list):
        return []
    names = ("room", "text", "key", "by", "data", "reply_to")
    return [Post(**{name: one[name] for name in names if name in one}) for one in kept if _is_post(one)]


def _is_post(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    texts = all(isinstance(value.get(name), str) and value[name] for name in ("room", "text", "key"))
    return texts and isinstance(value.get("by"), str | None) and isinstance(value.get("reply_to"), int | None)
