"""What the server says, checked field by field: a value of a wrong type is left out and spoils nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .errors import Refused

__all__ = ["Ack", "Change", "Conversation", "ListedRoom", "Member", "Message", "OwnRoom", "Page", "Person", "Unread"]

T = TypeVar("T")
_MOST = 2**53


@dataclass(frozen=True, slots=True)
class Person:
    """A name, and whether a token vouches for it: a guest of the same name is somebody else."""

    user: str
    verified: bool = False


@dataclass(slots=True)
class Message:
    """A message as it is now; it changes in place when it is edited, deleted or reacted to."""

    #: Its number in the room; 0 in a conversation with a guest, of which nothing is kept.
    seq: int
    user: str
    text: str
    #: Milliseconds since 1970.
    time: int
    verified: bool = False
    #: The name is not verified, and looks like one that is.
    lookalike: bool = False
    #: When it was edited.
    edited: int | None = None
    #: Its text is gone.
    deleted: bool = False
    #: Emoji -> those who reacted.
    reactions: dict[str, list[Person]] = field(default_factory=dict)
    #: Any JSON that it carries; `None` where it carries nothing.
    data: Any = None
    #: The earlier message that it replies to; 0 for none.
    reply_to: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """A connection in a room."""

    client: str
    user: str
    verified: bool
    lookalike: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a history, the oldest first; `more`: there is more of it in the direction that was read."""

    messages: list[Message]
    more: bool


@dataclass(frozen=True, slots=True)
class Ack:
    """Where a post is; `durable` is `memory`, `disk` (the server's), `engine`, `engine-disk` or `engine-replicas`."""

    seq: int
    time: int
    durable: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class ListedRoom:
    """A room that one may join."""

    name: str
    members: int
    seq: int
    time: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation of two that the server keeps."""

    user: str
    verified: bool
    epoch: str
    seq: int
    rev: int
    time: int
    read: int


@dataclass(frozen=True, slots=True)
class Change:
    """`edited`, `deleted` or `reacted`."""

    type: str
    rev: int
    seq: int
    text: str
    time: int
    who: Person
    emoji: str
    removed: bool
    data: Any = None


@dataclass(frozen=True, slots=True)
class Unread:
    """How much was not read in a room."""

    room: str
    seq: int
    read: int
    unread: int


@dataclass(frozen=True, slots=True)
class OwnRoom:
    """A room that one has subscribed to, or a conversation of two."""

    unread: Unread
    epoch: str
    rev: int
    time: int
    #: The newest message; `None` where nothing was said yet.
    message: Message | None


@dataclass(frozen=True, slots=True)
class Refreshed:
    user: str
    permissions: frozenset[str] | None
    rooms: dict[str, frozenset[str] | None]
    expires: float | None


@dataclass(frozen=True, slots=True)
class Welcome:
    user: str
    verified: bool
    heartbeat: float
    limits: dict[str, int]
    features: frozenset[str]
    permissions: frozenset[str] | None
    expires: float | None


@dataclass(frozen=True, slots=True)
class Joined:
    room: str
    epoch: str
    seq: int
    rev: int
    recovered: bool
    messages: list[Message]
    changes: list[Change]
    members: list[Member]
    count: int
    read: int
    permissions: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Fork:
    epoch: str
    seq: int
    rev: int


@dataclass(frozen=True, slots=True)
class Direct:
    sender: str
    to: str
    message: Message


def as_object(text: str | bytes) -> dict[str, Any] | None:
    """A JSON text as an object; `None` when it is none."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""


def count_of(value: Any) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST
    return value if is_count else 0


def list_of(value: Any, read: Callable[[Any], T | None]) -> list[T]:
    if not isinstance(value, list):
        return []
    return [one for one in map(read, value) if one is not None]


def dict_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def permissions_of(value: dict[str, Any]) -> frozenset[str] | None:
    said = value.get("permissions")
    return frozenset(list_of(said, lambda one: text_of(one) or None)) if isinstance(said, list) else None


def message_of(value: Any) -> Message | None:
    """A message of `joined`, `history`, `found` and `message`; `None` when it has no place in the order."""
    seq = count_of(dict_of(value).get("seq"))
    return _message(value, seq) if seq else None


def _message(value: dict[str, Any], seq: int) -> Message:
    return Message(
        seq=seq,
        user=text_of(value.get("user")),
        text=text_of(value.get("text")),
        time=count_of(value.get("time")),
        verified=value.get("verified") is True,
        lookalike=value.get("lookalike") is True,
        edited=count_of(value["edited"]) if "edited" in value else None,
        deleted=value.get("deleted") is True,
        reactions=_reactions(value),
        data=value.get("data"),
        reply_to=count_of(value.get("reply_to")),
    )


def _reactions(value: dict[str, Any]) -> dict[str, list[Person]]:
    def names(field_name: str) -> dict[str, list[str]]:
        said = dict_of(value.get(field_name))
        return {
            emoji: users
            for emoji, all_of in said.items()
            if (users := list_of(all_of, lambda one: text_of(one) or None))
        }

    verified = names("reactions_verified")
    read: dict[str, list[Person]] = {}
    for emoji, users in names("reactions").items():
        left = list(verified.get(emoji, []))
        people = read[emoji] = []
        # A guest and a verified user of one name are two; either of them may be named first.
        for user in users:
            is_verified = user in left
            if is_verified:
                left.remove(user)
            people.append(Person(user, is_verified))
    return read


def messages_of(value: Any) -> list[Message]:
    """Messages in their order, each once."""
    read = {one.seq: one for one in list_of(value, message_of)}
    return [read[seq] for seq in sorted(read)]


def change_of(value: Any) -> Change | None:
    said = dict_of(value)
    kind = said.get("type")
    if kind not in ("edited", "deleted", "reacted"):
        return None
    return Change(
        type=kind,
        rev=count_of(said.get("rev")),
        seq=count_of(said.get("seq")),
        text=text_of(said.get("text")),
        time=count_of(said.get("time")),
        who=Person(text_of(said.get("user")), said.get("verified") is True),
        emoji=text_of(said.get("emoji")),
        removed=said.get("removed") is True,
        data=said.get("data"),
    )


def member_of(value: Any) -> Member | None:
    said = dict_of(value)
    client = text_of(said.get("client"))
    if not client:
        return None
    return Member(client, text_of(said.get("user")), said.get("verified") is True, said.get("lookalike") is True)


def joined_of(value: dict[str, Any]) -> Joined:
    return Joined(
        room=text_of(value.get("room")),
        epoch=text_of(value.get("epoch")),
        seq=count_of(value.get("seq")),
        rev=count_of(value.get("rev")),
        recovered=value.get("recovered") is True,
        messages=messages_of(value.get("messages")),
        changes=list_of(value.get("changes"), change_of),
        members=list_of(value.get("members"), member_of),
        count=count_of(value.get("count")),
        read=count_of(value.get("read")),
        permissions=permissions_of(value),
    )


def page_of(value: dict[str, Any]) -> Page:
    return Page(messages_of(value.get("messages")), value.get("more") is True)


def direct_of(value: dict[str, Any]) -> Direct:
    sender = text_of(value.get("from"))
    message = _message({**value, "user": sender}, count_of(value.get("seq")))
    return Direct(sender, text_of(value.get("to")), message)


def conversation_of(value: Any) -> Conversation | None:
    said = dict_of(value)
    user = text_of(said.get("user"))
    if not user:
        return None
    numbers = (count_of(said.get(name)) for name in ("seq", "rev", "time", "read"))
    return Conversation(user, said.get("verified") is True, text_of(said.get("epoch")), *numbers)


def listed_room_of(value: Any) -> ListedRoom | None:
    said = dict_of(value)
    name = text_of(said.get("room"))
    return ListedRoom(name, *(count_of(said.get(one)) for one in ("members", "seq", "time"))) if name else None


def read_of(value: Any) -> tuple[Person, int] | None:
    said = dict_of(value)
    user = text_of(said.get("user"))
    return (Person(user, said.get("verified") is True), count_of(said.get("seq"))) if user else None


def ack_of(value: dict[str, Any]) -> Ack:
    durable = text_of(value.get("durable")) or "memory"
    return Ack(count_of(value.get("seq")), count_of(value.get("time")), durable, value.get("duplicate") is True)


def fork_of(value: dict[str, Any]) -> Fork:
    return Fork(text_of(value.get("epoch")), count_of(value.get("seq")), count_of(value.get("rev")))


def welcome_of(value: dict[str, Any]) -> Welcome:
    return Welcome(
        user=text_of(value.get("user")),
        verified=value.get("verified") is True,
        heartbeat=count_of(value.get("heartbeat_ms")) / 1000,
        limits={name: count_of(limit) for name, limit in dict_of(value.get("limits")).items()},
        features=frozenset(list_of(value.get("features"), lambda one: text_of(one) or None)),
        permissions=permissions_of(value),
        expires=seconds_of(value.get("expires_ms")),
    )


def refreshed_of(value: dict[str, Any]) -> Refreshed:
    rooms = {name: permissions_of({"permissions": said}) for name, said in dict_of(value.get("rooms")).items()}
    expires = seconds_of(value.get("expires_ms"))
    return Refreshed(text_of(value.get("user")), permissions_of(value), rooms, expires)


def unread_of(value: Any) -> Unread | None:
    said = dict_of(value)
    room = text_of(said.get("room"))
    return Unread(room, *(count_of(said.get(name)) for name in ("seq", "read", "unread"))) if room else None


def own_room_of(value: Any) -> OwnRoom | None:
    unread = unread_of(value)
    if unread is None:
        return None
    rev, time = count_of(value.get("rev")), count_of(value.get("time"))
    return OwnRoom(unread, text_of(value.get("epoch")), rev, time, message_of(value.get("message")))


def seconds_of(value: Any) -> float | None:
    """A field in milliseconds as seconds; `None` where it is not there."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST
    return value / 1000 if is_number else None


def refused_of(value: dict[str, Any]) -> Refused:
    """An `error`: what a call fails with."""
    code = text_of(value.get("code")) or "unknown"
    sentence = text_of(value.get("message")) or "The server refused it."
    return Refused(code, sentence, text_of(value.get("field")), seconds_of(value.get("retry_after_ms")))
