"""What is known of a room, or of a conversation of two. No socket: events in, state out."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from operator import attrgetter

from .wire import Change, Fork, Joined, Member, Message, Page, Person

__all__ = ["Room"]

#: Messages that a room keeps; older ones are read again when somebody asks for them.
MOST_KEPT = 50_000
_SPARE = 5_000
#: Others are shown as typing for so many seconds.
_TYPING_SHOWN = 4.0

_seq_of = attrgetter("seq")


def key_of(name: str) -> str:
    """What a room is found by: names that the server takes for the same."""
    return unicodedata.normalize("NFKC", name).casefold()


class Room:
    """A room. Its messages have no gap and end with the newest one, as long as `is_live`."""

    def __init__(self, name: str, is_own: Callable[[Message], bool]) -> None:
        #: The name; of a conversation `@` and the name of the other.
        self.name = name
        #: Names one unbroken history; `None` before the room has been joined.
        self.epoch: str | None = None
        #: The newest message.
        self.seq = 0
        #: The newest change.
        self.rev = 0
        #: In their order.
        self.messages: list[Message] = []
        #: There may be messages before those that are here.
        self.has_older = True
        #: By connection.
        self.members: dict[str, Member] = {}
        #: Connections in the room.
        self.count = 0
        #: Everything up to here has been seen.
        self.read = 0
        #: Who has seen how much.
        self.readers: dict[Person, int] = {}
        #: What the server says that one may do here: `join`, `post`, `moderate`; `None` when it does not say.
        self.permissions: frozenset[str] | None = None
        #: Joined, on this connection.
        self.is_joined = False
        #: Joined, and without a gap.
        self.is_live = False
        #: A conversation whose newest messages are here.
        self.is_loaded = False
        self._is_own = is_own
        self._is_stale = False
        self._typing: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Room {self.name!r} seq={self.seq}>"

    @property
    def key(self) -> str:
        return key_of(self.name)

    @property
    def is_direct(self) -> bool:
        """A conversation of two is no room that one joins."""
        return self.name.startswith("@")

    @property
    def since(self) -> dict[str, str | int] | None:
        """From where on the server is asked for what was missed."""
        if self.epoch is None or self._is_stale:
            return None
        return {"epoch": self.epoch, "seq": self.seq, "rev": self.rev}

    @property
    def unread(self) -> int:
        """Messages of others that were not seen; of those that are not here one's own count too."""
        before = (self.messages[0].seq if self.messages else self.seq + 1) - self.read - 1
        here = self.messages[bisect_right(self.messages, self.read, key=_seq_of) :]
        return max(0, before) + sum(not self._is_own(message) for message in here)

    def find(self, seq: int) -> Message | None:
        """The message with this number, if it is here."""
        at = bisect_left(self.messages, seq, key=_seq_of)
        return self.messages[at] if at < len(self.messages) and self.messages[at].seq == seq else None

    def people(self) -> list[Person]:
        """Who is here, each once, in order: a verified name and an unverified one are two."""
        return sorted(
            {Person(one.user, one.verified) for one in self.members.values()}, key=attrgetter("user", "verified")
        )

    def mentions(self, message: Message, user: str) -> bool:
        """Whether a message mentions this name: `@name`, as a word of its own, in whatever case."""
        if not user or "@" not in message.text:
            return False
        wanted = rf"(?<!\w)@{re.escape(user.casefold())}(?!\w)"
        return re.search(wanted, message.text.casefold()) is not None

    # ---- for the client

    def joined(self, joined: Joined) -> bool:
        """`joined`. Returns whether the room has begun again."""
        is_first = self.epoch is None
        is_other = not is_first and not joined.recovered and self.epoch != joined.epoch
        is_less = is_other and joined.seq < self.seq
        if not joined.recovered:
            self.messages = []
            self.has_older = bool(joined.messages) and joined.messages[0].seq > 1
        self._is_stale = False
        if is_first:
            self.read = min(joined.read or joined.seq, joined.seq)
        elif is_other:
            self.read = min(self.read, joined.seq)
        self.epoch, self.count, self.permissions = joined.epoch, joined.count, joined.permissions
        self.is_joined = self.is_live = True
        self._append(joined.messages)
        for change in joined.changes:
            self._apply(change)
        self.seq, self.rev = joined.seq, joined.rev
        self.members = {member.client: member for member in joined.members}
        return is_less

    def message(self, message: Message, prev: int) -> bool:
        """`message`. False when something is missing before it: then the room is to be joined again."""
        if not self.is_live or message.seq <= self.seq:
            return True
        if prev != self.seq:
            self.is_live = False
            return False
        self.seq = message.seq
        self._append([message])
        self._typing.pop(message.user, None)
        return True

    def changed(self, change: Change) -> bool:
        """`edited`, `deleted`, `reacted`. False when one before it is missing."""
        if self.is_direct:
            return self._changed_directly(change)
        # What comes before the room is joined again will be in the answer.
        if not self.is_live or change.rev <= self.rev:
            return True
        if change.rev != self.rev + 1:
            self.is_live = False
            return False
        self.rev = change.rev
        self._apply(change)
        return True

    def _changed_directly(self, change: Change) -> bool:
        """The same in a conversation, which is not joined."""
        if change.rev <= self.rev:
            return True
        is_next = change.rev == self.rev + 1
        self.rev = change.rev
        self._apply(change)
        return is_next or not self.is_loaded

    def reload(self) -> None:
        """Something of a conversation is missing: it is to be read again."""
        self.messages, self.has_older, self.is_loaded = [], True, False

    def forked(self, fork: Fork) -> bool:
        """`epoch`: up to a message and a change the history is the same. False when more than that is here."""
        if self.epoch is None or not fork.epoch:
            return True
        self.epoch = fork.epoch
        is_part = self.seq <= fork.seq and self.rev <= fork.rev
        # What an edit has changed cannot be taken back.
        if self.rev > fork.rev:
            self._is_stale = True
        if self.seq > fork.seq:
            del self.messages[bisect_right(self.messages, fork.seq, key=_seq_of) :]
            self.seq = fork.seq
            self.read = min(self.read, fork.seq)
        self.is_live = self.is_live and is_part
        return is_part

    def direct(self, message: Message) -> bool:
        """`direct`. False when something is missing before it."""
        if message.seq == 0:
            # Nothing is kept of it, and it has no number.
            return True
        last = self.messages[-1].seq if self.messages else 0
        is_next = last == 0 or message.seq <= last + 1
        self.seq = max(self.seq, message.seq)
        if is_next:
            self._append([message])
        return is_next

    def caught_up(self, page: Page, is_first: bool) -> None:
        """Messages of a conversation that came after those that are here."""
        if is_first:
            self._prepend(page.messages)
            self.has_older = bool(page.messages) and page.messages[0].seq > 1
        self._append(page.messages)
        self.seq = max(self.seq, self.messages[-1].seq if self.messages else 0)
        self.is_loaded = True

    def older(self, page: Page) -> None:
        """`history` before what is here."""
        self._prepend(page.messages)
        self.has_older = page.more and bool(page.messages)

    def forget(self) -> None:
        """The history has begun again."""
        self.reload()
        self.epoch = None
        self.seq = self.rev = self.read = 0

    def seen(self, seq: int) -> None:
        self.read = max(self.read, seq)

    def read_by(self, person: Person, seq: int) -> None:
        self.readers[person] = max(seq, self.readers.get(person, 0))

    def presence(self, joined: Iterable[Member], left: Iterable[Member], count: int) -> None:
        for member in joined:
            self.members[member.client] = member
        for member in left:
            self.members.pop(member.client, None)
            self._typing.pop(member.user, None)
        here = {Person(member.user, member.verified) for member in self.members.values()}
        self.readers = {person: seq for person, seq in self.readers.items() if person in here}
        self.count = count

    def typing(self, user: str, now: float) -> None:
        self._typing[user] = now + _TYPING_SHOWN

    def who_types(self, now: float) -> list[str]:
        """Who types; `now` is `time.monotonic()`."""
        self._typing = {user: until for user, until in self._typing.items() if until > now}
        return list(self._typing)

    def connection_lost(self) -> None:
        self.is_joined = self.is_live = False
        self._typing.clear()

    def _append(self, messages: list[Message]) -> None:
        last = self.messages[-1].seq if self.messages else 0
        self.messages.extend(message for message in messages if message.seq > last)
        if len(self.messages) > MOST_KEPT + _SPARE:
            del self.messages[:-MOST_KEPT]
            self.has_older = True

    def _prepend(self, messages: list[Message]) -> None:
        first = self.messages[0].seq if self.messages else _END
        self.messages[:0] = [message for message in messages if message.seq < first]

    def _apply(self, change: Change) -> None:
        message = self.find(change.seq)
        if message is None:
            return
        if change.type == "edited":
            message.text, message.edited = change.text, change.time
            message.data = message.data if change.data is None else change.data
        elif change.type == "deleted":
            message.text, message.data, message.deleted, message.reactions = "", None, True, {}
        else:
            _react(message, change)


_END = 2**53


def _react(message: Message, change: Change) -> None:
    people = [one for one in message.reactions.pop(change.emoji, []) if one != change.who]
    if not change.removed:
        people.append(change.who)
    if people:
        message.reactions[change.emoji] = people
