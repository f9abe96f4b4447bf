"""Bad days: the server dies, the network falls silent, tokens expire. What was said is said once, and in order."""

from __future__ import annotations

import asyncio
import functools
import json
import stat
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support import Network, Server, heard, texts, until
from websockets.asyncio.server import ServerConnection, serve

from switchboard_chat import Client, Disconnected, FileStore, MemoryStore, Refused
from switchboard_chat.pauses import Pauses

Start = Callable[..., Awaitable[Server]]
Before = Callable[[int], Awaitable[Network]]


async def test_a_server_that_is_killed_loses_nothing_and_says_nothing_twice(start: Start) -> None:
    server = await start()
    ada, ben = await server.client(user="Ada"), await server.client(user="Ben")
    room, other = await ada.join("r"), await ben.join("r")
    missed = heard(ben, "missed")
    await ada.say(room, "before")
    said = [asyncio.ensure_future(ada.say(room, f"during {i}")) for i in range(20)]
    await asyncio.sleep(0)
    server.kill()
    await until(lambda: ada.state.at == "waiting")
    said += [asyncio.ensure_future(ada.say(room, f"after {i}")) for i in range(5)]
    said.append(asyncio.ensure_future(ben.say(other, "and this")))
    await server.run()
    acks = await asyncio.gather(*said)
    assert len({ack.seq for ack in acks}) == len(acks)
    await until(lambda: room.seq == other.seq == len(acks) + 1)
    expected = ["before", *(f"during {i}" for i in range(20)), *(f"after {i}" for i in range(5))]
    for one in (room, other):
        assert [text for text in texts(one) if text != "and this"] == expected
        assert [message.seq for message in one.messages] == list(range(1, len(acks) + 2))
    assert sum(count for _, count in missed) <= len(acks)


async def test_an_answer_that_came_while_the_machine_slept_is_taken(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchboard_chat.requests._ANSWER_LIMIT", 0.3)
    server = await start()
    ada = await server.client(user="Ada")
    await ada.join("r")
    asked = asyncio.ensure_future(ada.ask({"type": "who", "room": "r"}))
    await asyncio.sleep(0.01)
    time.sleep(0.6)  # noqa: ASYNC251 - nothing runs, as in a sleep
    assert (await asked)["type"] == "members"
    assert ada.state.at == "open"


async def test_a_network_that_falls_silent_is_found_out(start: Start, network: Before) -> None:
    # The clients are told of a heartbeat of a second.
    server = await start("--ping-interval", "1000", "--pong-timeout", "60000")
    between = await network(server.port)
    ada, ben = await server.client(between.url, user="Ada"), await server.client(user="Ben")
    room, other = await ada.join("r"), await ben.join("r")
    await ben.say(other, "one")
    await until(lambda: texts(room) == ["one"])
    between.fall_silent()
    lost = asyncio.ensure_future(ada.ask({"type": "who", "room": "r"}))
    said = asyncio.ensure_future(ada.say(room, "into the silence"))
    for text in ("two", "three"):
        await ben.say(other, text)
    with pytest.raises(Disconnected) as caught:
        await lost
    assert caught.value.code == "lost"
    assert texts(room) == ["one"]
    between.come_back()
    await said
    await until(lambda: len(texts(room)) == 4)
    assert sorted(texts(room)) == ["into the silence", "one", "three", "two"]
    assert texts(room) == texts(other)


async def test_what_is_in_the_outbox_survives_the_process(start: Start, tmp_path: Path) -> None:
    server = await start()
    path = tmp_path / "outbox"
    before = Client(server.url, user="Ada", outbox=FileStore(path))
    before.post(before.enter("r"), "written offline")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ben = await server.client(user="Ben")
    other = await ben.join("r")
    ada = await server.client(user="Ada", outbox=FileStore(path), rooms=["r"])
    await until(lambda: texts(other) == ["written offline"] and len(ada.outbox) == 0)
    assert json.loads(json.loads(path.read_text())["switchboard.outbox"]) == []
    # A store that holds nonsense holds nothing, and one that cannot write goes on.
    for nonsense in ("{", "7", '[1,{"room":"r"},null]'):
        store = MemoryStore()
        store.write("switchboard.outbox", nonsense)
        assert len(Client(server.url, outbox=store).outbox) == 0
        path.write_text(nonsense)
        assert FileStore(path).read("switchboard.outbox") is None
    FileStore(tmp_path / "no" / "such").write("a", "b")


async def test_a_token_that_expires_is_fetched_again(start: Start) -> None:
    server = await start("--token-leeway", "0")
    fetched = 0

    async def token() -> str:
        nonlocal fetched
        fetched += 1
        return await asyncio.to_thread(server.token, "Ada", "--expires", "3s" if fetched == 1 else "1h")

    ada = await server.client(token=token)
    room = await ada.join("r")
    assert (ada.user, ada.verified, fetched) == ("Ada", True, 1)
    await until(lambda: fetched == 2 and ada.is_open, lambda: str(ada.state))
    await ada.say(room, "still here")
    # A connection that is lost for another reason needs no new token.
    server.kill()
    await server.run()
    await until(lambda: ada.is_open)
    assert fetched == 2
    ada.enter("@Ben")
    ada.sign_in(server.token("Ben"))
    await until(lambda: ada.is_open and ada.user == "Ben")
    assert ada.find("@Ben") is None
    assert ada.find("r") is not None
    ada.rename("Carl")
    await until(lambda: ada.is_open and ada.user == "Carl" and not ada.verified)


async def test_a_token_is_renewed_before_it_expires(start: Start) -> None:
    server = await start("--token-leeway", "0")
    fetched = 0

    async def token() -> str:
        nonlocal fetched
        fetched += 1
        if fetched == 3:
            raise RuntimeError("the backend is away")
        return await asyncio.to_thread(server.token, "Ada", "--expires", "1h" if fetched > 3 else "5s")

    ada = await server.client(token=token)
    states, signed_in = heard(ada, "state"), heard(ada, "signed_in")
    await until(lambda: len(signed_in) == 1, "not renewed")
    assert (states, fetched) == ([], 2)
    # Where no token can be had, the connection ends with the last one and begins again.
    await until(lambda: fetched == 4 and ada.is_open and len(signed_in) == 2, lambda: f"{fetched} {ada.state}")
    assert states != []


async def test_a_token_that_is_never_taken_is_asked_for_twice_and_then_rarely(start: Start) -> None:
    server = await start()
    fetched = 0

    def token() -> str:
        nonlocal fetched
        fetched += 1
        return "nonsense"

    ada = server.make(token=token)
    ada.start()
    await until(lambda: ada.state.at == "parked")
    assert fetched == 3
    assert isinstance(ada.state.detail, Refused)
    assert ada.state.detail.field == "token"
    assert ada.state.until is not None
    assert ada.state.until - time.monotonic() > 20

    async def fails() -> str:
        raise RuntimeError("the backend is away")

    ben = server.make(token=fails)
    ben.start()
    await until(lambda: ben.state.at == "parked")
    assert (ben.state.why, str(ben.state.detail)) == ("no_token", "the backend is away")
    ben.sign_in(None, "Ben")
    await ben.connected()
    assert ben.user == "Ben"
    # A token that does not change will not be taken later: whoever waits is told.
    eve = server.make(token="nonsense")
    eve.start()
    with pytest.raises(Disconnected, match="refused") as caught:
        await eve.run()
    assert isinstance(caught.value.__cause__, Refused)


async def test_a_status_that_will_not_have_us_is_told(start: Start) -> None:
    server = await start()
    ada = server.make(server.url.replace("/ws", "/no/such/place"), user="Ada")
    ada.start()
    await until(lambda: ada.state.at == "parked")
    assert ada.state.why == "refused"
    assert "404" in str(ada.state.detail)
    assert ada.state.until is not None


def test_pauses_grow_and_are_uneven() -> None:
    for chance, firsts in ((0.0, [0.25, 0.5, 1.0, 2.0]), (1.0, [0.5, 1.0, 2.0, 4.0])):
        pauses = Pauses(functools.partial(float, chance))
        assert [pauses.next(100.0) - 100.0 for _ in firsts] == firsts
        assert [pauses.next(0.0) for _ in range(20)][-1] == (15.0 if chance else 7.5)
        pauses.after_success()
        pauses.not_before(130.0)
        assert pauses.next(100.0) == 130.0
        assert pauses.next(100.0) < 102.0


# ---- what only a server that is made for it says


class Scripted:
    """A server that answers as told."""

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        self.answer = answer
        self.sockets: list[ServerConnection] = []

    async def handle(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        async for text in socket:
            command = json.loads(text)
            said = self.answer(command)
            if said is not None:
                await socket.send(json.dumps({**said, "id": command.get("id")}))

    async def say(self, value: Any) -> None:
        await self.sockets[-1].send(json.dumps(value))


def line(seq: int) -> dict[str, Any]:
    return {"seq": seq, "user": "Ben", "client": "c2", "text": f"line {seq}", "time": seq}


WELCOME = {"type": "welcome", "client": "c1", "user": "Ada", "verified": False, "heartbeat_ms": 25000, "limits": {}}


async def test_a_history_that_goes_on_under_another_name_is_kept_up_to_the_fork() -> None:
    asked: list[Any] = []
    epoch, newest, rev = "a", 5, 2

    def answer(command: dict[str, Any]) -> dict[str, Any] | None:
        if command["type"] == "hello":
            return WELCOME
        if command["type"] != "join":
            return None
        since = command.get("since")
        asked.append(since)
        is_known = since is not None and since["epoch"] == epoch
        known = since["seq"] if since is not None and is_known else 0
        messages = [line(seq) for seq in range(known + 1, newest + 1)]
        told = {"type": "joined", "room": "r", "epoch": epoch, "seq": newest, "rev": rev, "recovered": is_known}
        return {**told, "messages": messages, "changes": [], "members": [], "count": 0, "read": 0}

    fake = Scripted(answer)
    async with serve(fake.handle, "127.0.0.1", 0) as server, Client(_url(server), user="Ada") as ada:
        room = await ada.join("r")
        assert len(room.messages) == 5
        # What is here is a part of it: nothing is asked.
        epoch = "b"
        await fake.say({"type": "epoch", "room": "r", "epoch": epoch, "seq": 5, "rev": 2})
        await until(lambda: room.epoch == "b")
        assert (len(room.messages), len(asked), room.is_live) == (5, 1, True)
        await fake.say({"type": "message", "room": "r", "prev": 5, **line(6)})
        await until(lambda: room.seq == 6)
        # There is more here than the history has.
        epoch = "c"
        await fake.say({"type": "epoch", "room": "r", "epoch": epoch, "seq": 4, "rev": 2})
        await until(lambda: len(asked) == 2 and room.is_live)
        assert (asked[1], room.seq) == ({"epoch": "c", "seq": 4, "rev": 2}, 5)
        assert texts(room) == [f"line {seq}" for seq in range(1, 6)]
        # A change that is history no more cannot be taken back: all is read again.
        epoch, rev = "d", 1
        await fake.say({"type": "epoch", "room": "r", "epoch": epoch, "seq": 5, "rev": 1})
        await until(lambda: len(asked) == 3 and room.is_live)
        assert (asked[2], room.rev, len(room.messages)) == (None, 1, 5)


async def test_a_server_that_cannot_tell_yet_who_may_come_in_is_asked_again() -> None:
    hellos = 0

    def answer(command: dict[str, Any]) -> dict[str, Any] | None:
        nonlocal hellos
        if command["type"] != "hello":
            return None
        hellos += 1
        if hellos == 3:
            return WELCOME
        code = "unavailable" if hellos == 1 else "rate_limited"
        return {"type": "error", "code": code, "message": "later", "retry_after_ms": 100}

    fake = Scripted(answer)
    async with serve(fake.handle, "127.0.0.1", 0) as server, Client(_url(server), user="Ada") as ada:
        seen: list[tuple[str, str]] = []
        ada.on("state", lambda: seen.append((ada.state.at, ada.state.why)))
        await ada.connected()
        assert ("waiting", "unavailable") in seen
        assert ("waiting", "rate_limited") in seen
        assert hellos == 3


async def test_a_gap_is_noticed_and_filled() -> None:
    newest = 3
    joins: list[Any] = []

    def answer(command: dict[str, Any]) -> dict[str, Any] | None:
        if command["type"] == "hello":
            return WELCOME
        if command["type"] != "join":
            return None
        joins.append(command.get("since"))
        first = (command.get("since") or {"seq": 0})["seq"] + 1
        told = {"type": "joined", "room": "r", "epoch": "a", "seq": newest, "rev": 0, "recovered": first > 1}
        return {
            **told,
            "messages": [line(seq) for seq in range(first, newest + 1)],
            "members": [],
            "count": 0,
            "read": 0,
        }

    fake = Scripted(answer)
    async with serve(fake.handle, "127.0.0.1", 0) as server, Client(_url(server), user="Ada") as ada:
        room = await ada.join("r")
        newest = 6
        # A message of before, a twin, and one behind a gap.
        for seq in (2, 3, 6):
            await fake.say({"type": "message", "room": "r", "prev": seq - 1, **line(seq)})
        await until(lambda: room.seq == 6)
        assert joins == [None, {"epoch": "a", "seq": 3, "rev": 0}]
        assert [message.seq for message in room.messages] == [1, 2, 3, 4, 5, 6]
        newest = 9
        await fake.say({"type": "lagged", "room": "r", "dropped": 3})
        await until(lambda: room.seq == 9 and room.is_live)
        await fake.say({"type": "edited", "room": "r", "rev": 2, "seq": 1, "text": "x", "time": 1})
        await until(lambda: len(joins) == 4)


async def test_a_server_that_says_nonsense_spoils_nothing() -> None:
    def answer(command: dict[str, Any]) -> dict[str, Any] | None:
        if command["type"] == "hello":
            return {
                "type": "welcome",
                "user": 7,
                "limits": [],
                "heartbeat_ms": "x",
                "features": "all",
                "permissions": [1],
            }
        if command["type"] == "join":
            messages = [line(2), None, line(1), {"seq": "x"}, {"seq": True}]
            numbers = {"seq": 2, "rev": -1, "count": 1e99}
            return {
                "type": "joined",
                "room": "r",
                "epoch": "e",
                **numbers,
                "messages": messages,
                "changes": "none",
                "members": [{}, 3],
            }
        return None

    fake = Scripted(answer)
    async with serve(fake.handle, "127.0.0.1", 0) as server, Client(_url(server), user="Ada") as ada:
        room = await ada.join("r")
        assert (texts(room), room.count, room.members, ada.user) == (["line 1", "line 2"], 0, {}, "")
        nonsense: list[Any] = [
            {},
            7,
            [],
            {"type": "message"},
            {"type": "message", "room": "r", "seq": -1},
            {"type": "direct", "to": 3},
        ]
        nonsense += [
            {"type": "edited", "room": "r", "seq": {}, "rev": "x"},
            {"type": "reads", "room": "r", "reads": [{}]},
        ]
        nonsense += [
            {"type": "presence", "room": "r", "joined": 1},
            {"type": "nothing", "room": "r"},
            {"type": "welcome", "id": [1]},
        ]
        for value in nonsense:
            await fake.say(value)
        await fake.sockets[-1].send("{")
        await fake.sockets[-1].send("[" * 100_000)
        await fake.say({"type": "message", "room": "r", "prev": 2, **line(3)})
        await until(lambda: len(room.messages) == 3)


def _url(server: Any) -> str:
    return f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
