"""A thousand random operations of several people, while the server is killed and the network is cut.

In the end what each client shows is what the server has.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

from support import Network, Server, until

from switchboard_chat import ChatError, Client, Message, Room

OPERATIONS = 1_000
PAST = 250
ROOMS = ["alpha", "beta", "gamma"]
EMOJIS = ["👍", "🎉", "😀"]
SEED = int(os.environ.get("MODEL_SEED") or random.randrange(10**9))


def seen(message: Message) -> tuple[Any, ...]:
    """What a person sees of a message. The reactions of a deleted one are shown by nobody."""
    reactions = (
        ()
        if message.deleted
        else sorted((emoji, sorted(one.user for one in people)) for emoji, people in message.reactions.items())
    )
    return (
        message.seq,
        message.user,
        message.text,
        message.time,
        message.edited,
        message.deleted,
        tuple(map(str, reactions)),
    )


class Play:
    """One run."""

    def __init__(self, server: Server, network: Network, people: list[Client]) -> None:
        self.random = random.Random(SEED)
        self.server, self.network, self.people = server, network, people
        self.said: list[str] = []
        self.failures: list[BaseException] = []
        self.tasks: set[asyncio.Task[None]] = set()

    def take(self, what: Awaitable[Any]) -> None:
        """Whatever comes, it is an error of the library."""

        async def work() -> None:
            try:
                await what
            except ChatError:
                pass
            except Exception as error:
                self.failures.append(error)

        task = asyncio.ensure_future(work())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def step(self, number: int) -> None:
        client = self.random.choice(self.people)
        room = client.find(self.random.choice(ROOMS))
        if room is None:
            for name in ROOMS:
                client.enter(name)
            return
        dice = self.random.randrange(100)
        own = [one.seq for one in room.messages if client.is_own(one) and not one.deleted]
        if dice < 45:
            self.said.append(f"{len(self.said)}")
            client.post(room, self.said[-1])
        elif dice < 58 and own:
            self.take(client.edit(room, self.random.choice(own), f"edited {number}"))
        elif dice < 64 and own:
            self.take(client.delete(room, self.random.choice(own)))
        elif dice < 76 and room.messages:
            chosen = self.random.choice(room.messages)
            self.take(client.react(room, chosen.seq, self.random.choice(EMOJIS), self.random.random() < 0.3))
        elif dice < 84:
            self.take(client.older(room))
        elif dice < 88:
            self.take(client.search(room, "edited"))
        elif dice < 90:
            client.seen(room)
        elif dice < 91:
            client.leave(room)
        elif dice < 93:
            client.retry()
        elif dice < 94:
            self.network.cut()
        elif dice < 95:
            self.server.kill()
            await asyncio.sleep(self.random.random() / 5)
            await self.server.run()
        else:
            await asyncio.sleep(self.random.random() / 30)


async def test_what_clients_show_is_what_the_server_has(
    start: Callable[..., Awaitable[Server]], network: Callable[[int], Awaitable[Network]]
) -> None:
    print(f"MODEL_SEED={SEED}")
    server = await start()
    between = await network(server.port)
    # There is a past that nobody has seen.
    first = await server.client(user="First")
    for name in ROOMS:
        room = await first.join(name)
        for i in range(PAST):
            first.post(room, f"{name} {i}")
    await until(lambda: len(first.outbox) == 0, "no past", 60)
    await first.stop()
    people = [await server.client(between.url, user=user, rooms=ROOMS) for user in ("Ada", "Ben", "Cleo", "Dora")]
    play = Play(server, between, people)
    for number in range(OPERATIONS):
        await play.step(number)
        # Mostly people see what comes of it, sometimes they go on regardless.
        if play.random.randrange(4) > 0:
            await until(lambda: all(one.is_open and one.waiting == 0 for one in people), "not back", 60)
    for client in people:
        for name in ROOMS:
            client.enter(name)

    def at_rest() -> bool:
        return all(
            one.is_open and len(one.outbox) == 0 and all((room := one.find(name)) and room.is_live for name in ROOMS)
            for one in people
        )

    await until(at_rest, "not at rest", 60)
    await compare(server, people)
    assert play.failures == []
    # Every post is there once; those that were edited or deleted since say so.
    reader = server.clients[-1]
    all_of = [message for name in ROOMS for message in reader.enter(name).messages]
    assert len(all_of) == len(play.said) + len(ROOMS) * PAST
    untouched = [message.text for message in all_of if message.edited is None and not message.deleted]
    assert len(set(untouched)) == len(untouched)


def is_level(room: Room, whole: Room) -> bool:
    return room.is_live and (room.seq, room.rev) == (whole.seq, whole.rev)


async def compare(server: Server, people: list[Client]) -> None:
    """Somebody who has seen nothing of it reads what the server has."""
    reader = await server.client(user="Reader")
    for name in ROOMS:
        whole = await reader.join(name)
        while whole.has_older:
            await reader.older(whole)
        for client in people:
            room = client.enter(name)
            await until(functools.partial(is_level, room, whole), f"{client.user} in {name}")
            first = room.messages[0].seq if room.messages else whole.seq + 1
            assert [message.seq for message in room.messages] == list(range(first, whole.seq + 1))
            assert list(map(seen, room.messages)) == list(map(seen, whole.messages[first - 1 :])), (
                f"{client.user} in {name}"
            )
            # And what they read back is the same.
            while room.has_older:
                await client.older(room)
            assert list(map(seen, room.messages)) == list(map(seen, whole.messages))
