"""The chat as a client of `chat.v1.json` sees it: the rooms, what is said in them, what is under way."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal
from weakref import WeakSet

from . import wire
from .errors import PASSING, RETRY, ChatError, Disconnected, Refused
from .inbox import Inbox
from .outbox import Outbox, Post, new_key
from .room import Room, key_of
from .session import Session, Token, subject_of
from .storage import MemoryStore, Store
from .wire import Ack, Conversation, ListedRoom, Message, OwnRoom, Page

__all__ = ["Client"]

_TYPING_EVERY = 2.0
_READ_EVERY = 1.0
_PAGE = 50
#: Conversations that are listed; the newest come first.
_MOST_LISTED = 200


class Client(Session):
    """A person of the chat. It runs between `start` and `stop`, or as a context manager."""

    def __init__(
        self,
        url: str,
        *,
        user: str = "",
        token: Token = None,
        rooms: Iterable[str] = (),
        outbox: Store | None = None,
        **options: Any,
    ) -> None:
        """`url` is the server's (`wss://chat.example/ws`); `rooms` are joined at once; `outbox` keeps posts that are on
        their way, for this client alone. Other options are those of `websockets.asyncio.client.connect`: `ssl`,
        `additional_headers`, `proxy`, ...
        """
        super().__init__(url, user, token, options)
        self._rooms: dict[str, Room] = {}
        self._outbox = Outbox(outbox or MemoryStore())
        self._joining: dict[Room, list[asyncio.Future[Room]]] = {}
        self._saying: dict[str, asyncio.Future[Ack]] = {}
        self._inboxes: WeakSet[Inbox] = WeakSet()  # one that nobody reads any longer is gone
        self._typed_at: dict[str, float] = {}
        self._read_due: dict[str, int] = {}
        for name in rooms:
            self._add(name)

    # ---- what is true

    @property
    def rooms(self) -> list[Room]:
        """The rooms that one is in or is about to join, and the conversations that are known."""
        return list(self._rooms.values())

    @property
    def outbox(self) -> Outbox:
        return self._outbox

    def find(self, name: str) -> Room | None:
        """A room that one is in, or the conversation with `@somebody`."""
        return self._rooms.get(key_of(name))

    def is_own(self, message: Message) -> bool:
        """Whether this person wrote a message: a guest of the same name did not."""
        return message.user == self.user and message.verified == self.verified

    def may(self, permission: Literal["post", "moderate", "ban"], room: Room | None = None) -> bool:
        """Whether one may do something in a room, as far as the server has said so; `ban` holds everywhere."""
        said = self.permissions if permission == "ban" or room is None else room.permissions
        return permission == "post" if said is None else permission in said

    # ---- events

    def messages(self, limit: int = 10_000) -> AsyncIterator[tuple[Room, Message]]:
        """Each message that comes live from this call on, also one's own, until the client is stopped.

        While they are not read, at most `limit` messages wait; when there are more the iteration fails with `Overrun`.
        """
        inbox = Inbox(limit)
        self._inboxes.add(inbox)
        return inbox.read()

    # ---- who one is

    def rename(self, user: str) -> None:
        """Another name, as a guest."""
        if user == self.user and not self.verified and self.state.at != "parked":
            return
        # A connection says once who it is.
        self._token, self.user, self.verified = None, user, False
        self._connection.reopen()

    def sign_in(self, token: Token, user: str = "") -> None:
        """Comes back with a token, or as a guest without one. Conversations of the person before are let go of."""
        is_same = (
            isinstance(token, str) and isinstance(self._token, str) and subject_of(token) == subject_of(self._token)
        )
        self._token, self._fetched, self._refused_tokens = token, None, 0
        if not is_same:
            self.user, self.verified = user or self.user, False
            self._rooms = {key: room for key, room in self._rooms.items() if not room.is_direct}
            self._tell("rooms")
        self._connection.reopen()

    # ---- rooms

    def enter(self, name: str) -> Room:
        """Goes into a room, as soon as there is a connection; `@somebody` is the conversation with them."""
        known = self.find(name)
        if known is not None:
            return known
        room = self._add(name)
        if self.is_open:
            self._join(room)
        self._tell("rooms")
        return room

    async def join(self, name: str) -> Room:
        """The same, once the room has been joined. Fails with `Refused` when that is not possible."""
        if not self.is_open:
            self._fail_when_idle()
        room = self.enter(name)
        if room.is_direct:
            await self.connected()
            await self._open_conversation(room)
        elif not room.is_live:
            joined: asyncio.Future[Room] = asyncio.get_running_loop().create_future()
            self._joining.setdefault(room, []).append(joined)
            await joined
        return room

    def leave(self, room: Room) -> None:
        """Goes out of a room; what is in the outbox for it stays there until one comes back."""
        self._rooms.pop(room.key, None)
        if room.is_joined:
            self._connection.send({"type": "leave", "room": room.name})
        self._join_ended(room, Disconnected("stopped"))
        self._tell("rooms")

    def post(self, room: Room, text: str, *, data: Any = None, reply_to: int | None = None) -> Post:
        """Says something, now or when there is a connection: it waits in the outbox until the server has it.

        `data` is any JSON that goes with it, `reply_to` the number of an earlier message of the room.
        """
        post = Post(room.name, text, new_key(), self.user if self.verified else None, data, reply_to)
        self._outbox.add(post)
        self._flush()
        return post

    async def say(self, room: Room, text: str, *, data: Any = None, reply_to: int | None = None) -> Ack:
        """The same, and waits for the answer. Fails with `Refused` when the server does not take it at all."""
        said: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        post = self.post(room, text, data=data, reply_to=reply_to)
        # Its answer cannot have come yet.
        self._saying[post.key] = said
        return await said

    async def edit(self, room: Room, seq: int, text: str, *, data: Any = None) -> None:
        """One's own message, or any for a moderator; `data`, if there is some, takes the place of what it carries."""
        await self.ask({"type": "edit", "room": room.name, "seq": seq, "text": text, "data": data})

    async def delete(self, room: Room, seq: int) -> None:
        """The same; its place in the order stays."""
        await self.ask({"type": "delete", "room": room.name, "seq": seq})

    async def react(self, room: Room, seq: int, emoji: str, remove: bool = False) -> None:
        """One reaction of each kind per person."""
        await self.ask({"type": "react", "room": room.name, "seq": seq, "emoji": emoji, "remove": remove})

    async def kick(self, room: Room, user: str, reason: str | None = None) -> None:
        await self.ask({"type": "kick", "room": room.name, "user": user, "reason": reason})

    async def ban(self, user: str, seconds: int | None = None, reason: str | None = None) -> None:
        await self.ask({"type": "ban", "user": user, "seconds": seconds, "reason": reason})

    async def unban(self, user: str) -> None:
        await self.ask({"type": "unban", "user": user})

    async def history(
        self, room: Room, *, before: int | None = None, after: int | None = None, limit: int = _PAGE
    ) -> Page:
        """A page of the history: the newest messages before `before`, or the oldest after `after`."""
        command = {"type": "history", "room": room.name, "before": before, "after": after, "limit": limit}
        return wire.page_of(await self.ask(command))

    async def older(self, room: Room) -> bool:
        """More of the history, before what is in `room.messages`. Returns whether anything came."""
        if not room.messages:
            return False
        first = room.messages[0]
        page = await self.history(room, before=first.seq)
        # A room that has begun again meanwhile has another beginning.
        if not room.messages or room.messages[0] is not first:
            return bool(page.messages)
        room.older(page)
        self._tell("room", room, "history")
        return bool(page.messages)

    async def search(self, room: Room, query: str, limit: int = _PAGE) -> list[Message]:
        """Messages with all words of the query, the newest first."""
        found = await self.ask({"type": "search", "room": room.name, "query": query, "limit": limit})
        return wire.list_of(found.get("messages"), wire.message_of)

    async def list_rooms(
        self, prefix: str | None = None, after: str | None = None, limit: int = _PAGE
    ) -> tuple[list[ListedRoom], str]:
        """Rooms that one may join, by name, and the `after` of the next page: empty at the end."""
        answer = await self.ask({"type": "rooms", "prefix": prefix, "after": after, "limit": limit})
        return wire.list_of(answer.get("rooms"), wire.listed_room_of), wire.text_of(answer.get("next"))

    async def conversations(self, page: str | None = None) -> tuple[list[Conversation], str]:
        """Conversations of two that the server keeps, the newest first, and the `page` that continues them."""
        answer = await self.ask({"type": "conversations", "page": page})
        return wire.list_of(answer.get("conversations"), wire.conversation_of), wire.text_of(answer.get("next"))

    async def subscribe(self, room: str) -> None:
        """Makes a room one of one's own: the server remembers it, and `mine` lists it. For those who are signed in."""
        await self.ask({"type": "subscribe", "room": room})

    async def unsubscribe(self, room: str) -> None:
        """The opposite."""
        await self.ask({"type": "unsubscribe", "room": room})

    async def mine(self, page: str | None = None, limit: int | None = None) -> tuple[list[OwnRoom], str]:
        """One's rooms and conversations with what is unread there, the newest first, and the `page` that goes on.

        From then on the event `unread` tells what changes.
        """
        answer = await self.ask({"type": "mine", "page": page, "limit": limit})
        return wire.list_of(answer.get("rooms"), wire.own_room_of), wire.text_of(answer.get("next"))

    def typing(self, room: Room) -> None:
        """The person is writing; told to others once in a while, however often this is called."""
        now = time.monotonic()
        may_type = "pairs" in self.features and self.verified if room.is_direct else room.is_joined
        if not may_type or now - self._typed_at.get(room.name, -_TYPING_EVERY) < _TYPING_EVERY:
            return
        if self._connection.send({"type": "typing", "room": room.name}):
            self._typed_at = {name: at for name, at in self._typed_at.items() if now - at < _TYPING_EVERY}
            self._typed_at[room.name] = now

    def seen(self, room: Room) -> None:
        """Everything in the room up to now has been seen."""
        last = room.messages[-1].seq if room.messages else 0
        if last <= room.read:
            return
        room.seen(last)
        self._tell("rooms")
        # Nothing is kept of a conversation with a guest.
        if room.is_direct and not self.verified:
            return
        if not self._read_due:
            self._later(_READ_EVERY, self._send_reads)
        self._read_due[room.name] = last

    # ---- the connection tells

    def _on_open(self) -> None:
        for room in self.rooms:
            self._join(room)
        if self.verified:
            self._spawn(self._load_conversations())
        self._flush()

    def _on_notice(self, value: dict[str, Any]) -> None:
        room = self.find(value["room"]) if isinstance(value.get("room"), str) else None
        kind = value.get("type")
        if room is not None:
            self._received_of_room(room, value)
        elif kind == "direct":
            self._direct(wire.direct_of(value))
        elif kind == "unread":
            self._tell("unread", wire.list_of(value.get("rooms"), wire.unread_of))
        elif kind == "broadcast":
            self._tell("broadcast", wire.text_of(value.get("text")), wire.count_of(value.get("time")))
        elif kind == "bye":
            self._bye(value)
        elif kind == "error":
            self._tell("complaint", wire.refused_of(value))

    def _on_refreshed(self, rooms: dict[str, frozenset[str] | None]) -> None:
        for name, permissions in rooms.items():
            room = self.find(name)
            if room is not None:
                room.permissions = permissions

    def _on_lost(self) -> None:
        self._outbox.connection_lost()
        for room in self._rooms.values():
            room.connection_lost()

    def _on_stop(self) -> None:
        self._send_reads()
        for inbox in self._inboxes:
            inbox.close()

    def _all_waiting(self) -> list[asyncio.Future[Any]]:
        waiting: list[asyncio.Future[Any]] = [*self._saying.values()]
        waiting.extend(joined for all_of in self._joining.values() for joined in all_of)
        self._saying.clear()
        self._joining.clear()
        return waiting

    # ---- rooms, for the server

    def _add(self, name: str) -> Room:
        return self._rooms.setdefault(key_of(name), Room(name, self.is_own))

    def _is_here(self, room: Room) -> bool:
        return self._rooms.get(room.key) is room

    def _join_again(self, room: Room) -> None:
        if self.is_open and self._is_here(room):
            self._join(room)

    def _join(self, room: Room) -> None:
        if not room.is_direct:
            self._spawn(
                self._joined(
                    room, self._requests.ask({"type": "join", "room": room.name, "since": room.since, "history": _PAGE})
                )
            )

    async def _joined(self, room: Room, asked: asyncio.Future[dict[str, Any]]) -> None:
        try:
            answer = wire.joined_of(await asked)
        except Disconnected:
            return
        except Refused as error:
            if not self._is_here(room):
                return
            if error.code in PASSING:
                self._later(error.retry_after or RETRY, lambda: self._join_again(room))
                return
            del self._rooms[room.key]
            self._join_ended(room, error)
            self._tell("not_room", room, error)
            return
        if not self._is_here(room):
            return
        if answer.room and answer.room != room.name:
            del self._rooms[room.key]
            self._outbox.renamed(room.name, answer.room)
            room.name = answer.room
            self._rooms[room.key] = room
        is_first, seq = room.epoch is None, room.seq
        is_reset = room.joined(answer)
        self._tell("room", room, "reset" if is_reset else "joined")
        self._join_ended(room)
        if not is_first and not is_reset and answer.seq > seq:
            self._tell("missed", room, answer.seq - seq)
        self._flush()
        if len(room.members) < room.count:
            self._spawn(self._who(room))

    def _join_ended(self, room: Room, error: ChatError | None = None) -> None:
        for joined in self._joining.pop(room, []):
            if joined.done():
                continue
            if error is None:
                joined.set_result(room)
            else:
                joined.set_exception(error)

    async def _who(self, room: Room) -> None:
        """Everyone in the room, when `joined` named only some."""
        with contextlib.suppress(ChatError):
            answer = await self.ask({"type": "who", "room": room.name})
            room.members = {one.client: one for one in wire.list_of(answer.get("members"), wire.member_of)}
            room.count = wire.count_of(answer.get("count"))
            self._tell("room", room, "people")

    def _received_of_room(self, room: Room, value: dict[str, Any]) -> None:
        kind = value.get("type")
        if kind == "message":
            message = wire.message_of(value)
            if message is None:
                return
            is_new = message.seq > room.seq
            self._told(room, room.message(message, wire.count_of(value.get("prev"))), "message")
            if is_new:
                self._arrived(room, message)
        elif kind in ("edited", "deleted", "reacted"):
            change = wire.change_of(value)
            if change is not None:
                self._told(room, room.changed(change), "changed")
        elif kind == "epoch":
            self._told(room, room.forked(wire.fork_of(value)), "changed")
        elif kind == "lagged":
            room.is_live = False
            self._told(room, False, "message")
        elif kind == "kicked":
            self._rooms.pop(room.key, None)
            self._join_ended(room, Disconnected("stopped"))
            self._tell("kicked", room, wire.text_of(value.get("reason")))
        else:
            self._received_of_people(room, value)

    def _received_of_people(self, room: Room, value: dict[str, Any]) -> None:
        kind = value.get("type")
        if kind == "presence":
            joined, left = (wire.list_of(value.get(name), wire.member_of) for name in ("joined", "left"))
            room.presence(joined, left, wire.count_of(value.get("count")))
            self._tell("room", room, "people")
        elif kind == "typing":
            room.typing(wire.text_of(value.get("user")), time.monotonic())
            self._tell("room", room, "typing")
        elif kind == "reads":
            for person, seq in wire.list_of(value.get("reads"), wire.read_of):
                if (person.user, person.verified) == (self.user, self.verified):
                    room.seen(seq)
                else:
                    room.read_by(person, seq)
            self._tell("room", room, "reads")

    def _told(self, room: Room, is_whole: bool, what: str) -> None:
        """Where it shows that something is missing, the room is joined again from there."""
        if is_whole:
            self._tell("room", room, what)
        elif room.is_direct:
            self._spawn(self._reload(room))
        else:
            self._join(room)

    # ---- conversations of two

    def _direct(self, direct: wire.Direct) -> None:
        is_from_self = self.is_own(direct.message)
        room = self._add(f"@{direct.to if is_from_self else direct.sender}")
        if room.direct(direct.message):
            self._tell("room", room, "message")
        else:
            self._spawn(self._catch_up(room, room.messages[-1].seq))
        self._arrived(room, direct.message)

    async def _load_conversations(self) -> None:
        """What is missing of the conversations that are here."""
        listed, page = 0, None
        with contextlib.suppress(ChatError):
            while listed < _MOST_LISTED:
                conversations, following = await self.conversations(page)
                listed += len(conversations)
                for one in conversations:
                    await self._listed(one)
                if not conversations or not following:
                    break
                page = following
        self._tell("rooms")

    async def _listed(self, one: Conversation) -> None:
        room = self._add(f"@{one.user}")
        if room.epoch is not None and room.epoch != one.epoch:
            room.forget()
            self._tell("room", room, "reset")
        is_changed = one.rev > room.rev and bool(room.messages)
        room.epoch = one.epoch
        room.seq, room.rev = max(room.seq, one.seq), max(room.rev, one.rev)
        room.seen(one.read)
        if is_changed:
            await self._reload(room)
        elif room.messages and one.seq > room.messages[-1].seq:
            await self._catch_up(room, room.messages[-1].seq)

    async def _reload(self, room: Room) -> None:
        """What is here of a conversation is not all of it."""
        room.reload()
        with contextlib.suppress(ChatError):
            await self._open_conversation(room)

    async def _open_conversation(self, room: Room) -> None:
        if room.is_loaded or not self.verified:
            return
        try:
            await self._catch_up(room, 0)
        except Refused as error:
            # Nothing is kept of a conversation with a guest.
            if error.code != "not_found":
                raise
            room.is_loaded = True

    async def _catch_up(self, room: Room, after: int) -> None:
        """Reads what follows a message without a gap, or the newest messages."""
        with contextlib.suppress(Disconnected):
            while True:
                page = await self.history(room, after=after or None)
                while after and page.messages and page.messages[0].seq > after + 1:
                    before = await self.history(room, after=after, before=page.messages[0].seq)
                    if not before.messages:
                        break
                    page.messages[:0] = before.messages
                room.caught_up(page, after == 0)
                self._tell("room", room, "history")
                if after == 0 or not page.more or not page.messages:
                    return
                after = room.messages[-1].seq

    # ---- posts

    def _flush(self) -> None:
        if not self.is_open:
            return

        def is_ready(name: str) -> bool:
            room = self.find(name)
            return name.startswith("@") or (room is not None and room.is_joined)

        for post in self._outbox.due(is_ready, self.user):
            where = (
                {"type": "direct", "to": post.room[1:]}
                if post.room.startswith("@")
                else {"type": "post", "room": post.room}
            )
            self._spawn(
                self._posted(
                    post,
                    self._requests.ask(
                        {**where, "text": post.text, "key": post.key, "data": post.data, "reply_to": post.reply_to}
                    ),
                )
            )

    async def _posted(self, post: Post, asked: asyncio.Future[dict[str, Any]]) -> None:
        try:
            ack = wire.ack_of(await asked)
        except Disconnected:
            return
        except Refused as error:
            if error.code in PASSING:
                self._outbox.postponed(post)
                self._later(error.retry_after or RETRY, self._flush)
                return
            self._outbox.done(post)
            self._said(post, error)
            self._tell("refused", post, error)
        else:
            self._outbox.done(post)
            self._said(post, ack)
            self._tell("posted", post, ack)
        self._flush()

    def _said(self, post: Post, what: Ack | Refused) -> None:
        said = self._saying.pop(post.key, None)
        if said is None or said.done():
            return
        if isinstance(what, Ack):
            said.set_result(what)
        else:
            said.set_exception(what)

    def _send_reads(self) -> None:
        due, self._read_due = self._read_due, {}
        if self.is_open:
            for name, seq in due.items():
                self._connection.send({"type": "read", "room": name, "seq": seq})

    # ---- the rest

    def _arrived(self, room: Room, message: Message) -> None:
        for inbox in self._inboxes:
            inbox.put(room, message)
        self._tell("message", room, message)
