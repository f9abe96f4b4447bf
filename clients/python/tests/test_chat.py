"""What a client does, against the real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from support import Server, heard, texts, until

from switchboard_chat import Client, Disconnected, Message, Overrun, Person, Refused, Room

Start = Callable[..., Awaitable[Server]]


async def test_what_one_says_the_other_has_with_what_happens_to_it(start: Start) -> None:
    server = await start()
    ada, ben = await server.client(user="Ada"), await server.client(user="Ben")
    assert (ada.user, ada.verified, ada.may("ban"), "rooms" in ada.features) == ("Ada", False, False, True)
    room, other = await ada.join("Tea"), await ben.join("tea")
    assert room.name == "tea"
    assert ada.find("TEA") is room
    assert room.permissions == frozenset({"join", "post"})
    messages = heard(ben, "message")
    ack = await ada.say(room, "hello @Ben")
    assert (ack.seq, ack.durable, ack.duplicate) == (1, "disk", False)
    await until(lambda: texts(other) == ["hello @Ben"])
    assert [(where, message.user, message.text) for where, message in messages] == [(other, "Ada", "hello @Ben")]
    assert (other.unread, room.unread) == (1, 0)
    assert other.mentions(other.messages[0], "ben")
    assert not other.mentions(other.messages[0], "Be")
    ben.seen(other)
    assert other.unread == 0
    await until(lambda: room.readers.get(Person("Ben")) == 1, "nobody has read")
    await ada.edit(room, 1, "hello")
    await ben.react(other, 1, "🎉")
    await until(lambda: other.messages[0].text == "hello" and room.messages[0].reactions.get("🎉") == [Person("Ben")])
    await ben.react(other, 1, "🎉", remove=True)
    await until(lambda: room.messages[0].reactions == {})
    await ada.delete(room, 1)
    await until(lambda: other.messages[0].deleted)
    ada.typing(room)
    await until(lambda: "Ada" in other.who_types(asyncio.get_running_loop().time()), "nobody types")
    assert [person.user for person in room.people()] == ["Ada", "Ben"]
    ben.leave(other)
    await until(lambda: len(room.people()) == 1, "nobody left")
    assert ben.find("tea") is None


async def test_every_error_is_of_a_type_and_says_what_it_is_about(start: Start) -> None:
    server = await start()
    ada = await server.client(user="Ada")
    room = await ada.join("errors")

    async def refused(what: Awaitable[object], code: str, field: str = "") -> None:
        with pytest.raises(Refused) as caught:
            await what
        assert caught.value.code == code
        assert not field or caught.value.field == field

    await refused(ada.join("a room"), "bad_field", "room")
    assert ada.find("a room") is None
    await refused(ada.say(room, "x" * 5000), "too_long", "text")
    await refused(ada.edit(room, 99, "x"), "not_found")
    await refused(ada.react(room, 1, "x"), "bad_field", "emoji")
    await refused(ada.ban("Ben"), "forbidden")
    await refused(ada.ask({"type": "sing"}), "unknown_type", "type")
    await ada.stop()
    with pytest.raises(Disconnected, match="not connected"):
        await ada.search(room, "x")
    never = server.make(user="Eve")
    with pytest.raises(Disconnected):
        await never.connected()
    never.start()
    joining = asyncio.ensure_future(never.join("x"))
    await asyncio.sleep(0)
    await never.stop()
    with pytest.raises(Disconnected):
        await joining
    for url in ("chat.example", "ftp://chat.example/", "wss://"):
        with pytest.raises(ValueError, match="such as wss:"):
            Client(url)


async def test_a_listener_that_fails_harms_nobody(start: Start) -> None:
    server = await start()
    ada = await server.client(user="Ada")
    room = await ada.join("listeners")
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context["exception"])))
    counts = []

    def wrong(*_: object) -> None:
        raise RuntimeError("of the listener")

    async def wrong_later(*_: object) -> None:
        raise RuntimeError("of the coroutine")

    ada.on("message", wrong)
    ada.on("message", wrong_later)
    off = ada.on("message", lambda _, message: counts.append(message.seq))
    await ada.say(room, "one")
    await until(lambda: counts == [1] and len(complaints) == 2)
    off()
    await ada.say(room, "two")
    await until(lambda: texts(room) == ["one", "two"] and len(complaints) == 4)
    assert counts == [1]
    assert set(complaints) == {"of the listener", "of the coroutine"}


async def test_the_history_is_read_back_searched_and_listed(start: Start) -> None:
    server = await start()
    ada = await server.client(user="Ada")
    room = await ada.join("long")
    posts = heard(ada, "posted")
    for i in range(1, 181):
        ada.post(room, f"line {i}")
    await until(lambda: len(posts) == 180)
    ben = await server.client(user="Ben")
    other = await ben.join("long")
    assert [other.messages[0].seq, other.messages[-1].seq, other.has_older, other.unread] == [131, 180, True, 0]
    while other.has_older:
        assert await ben.older(other)
    assert texts(other) == [f"line {i}" for i in range(1, 181)]
    page = await ben.history(other, after=10, limit=5)
    assert ([message.seq for message in page.messages], page.more) == ([11, 12, 13, 14, 15], True)
    # The index of the search is a moment behind.
    found: list[int] = []
    while len(found) < 11:
        found = [message.seq for message in await ben.search(other, "line 17")]
    assert found == [*range(179, 169, -1), 17]
    await ben.join("Alpha")
    listed, following = await ben.list_rooms(limit=1)
    assert ([one.name for one in listed], following) == (["alpha"], "alpha")
    listed, _ = await ben.list_rooms(prefix="LO")
    assert [(one.name, one.seq, one.members) for one in listed] == [("long", 180, 2)]


async def test_conversations_of_two_are_kept_and_caught_up_with(start: Start) -> None:
    server = await start()
    ada, ben = await server.client(token=server.token("Ada")), await server.client(token=server.token("Ben"))
    with_ben = await ada.join("@Ben")
    assert (await ada.say(with_ben, "one")).seq == 1
    await until(lambda: (room := ben.find("@Ada")) is not None and texts(room) == ["one"])
    with_ada = ben.find("@Ada")
    assert with_ada is not None
    assert with_ada.unread == 1
    signed_in = heard(ben, "signed_in")
    ben.retry()
    for text in ("two", "three"):
        await ada.say(with_ben, text)
    await until(lambda: texts(with_ada) == ["one", "two", "three"], lambda: str(texts(with_ada)))
    assert texts(with_ben) == ["one", "two", "three"]
    assert signed_in == [()]
    conversations, _ = await ben.conversations()
    assert [(one.user, one.seq) for one in conversations] == [("Ada", 3)]
    # Of a conversation with a guest nothing is kept, but it is heard.
    guest = await server.client(user="Guest")
    messages = heard(ben, "message")
    with_guest = await ben.join("@Guest")
    await guest.say(await guest.join("@Ben"), "psst")
    await until(lambda: [message.text for _, message in messages] == ["psst"])
    assert messages[0][0] is with_guest
    assert messages[0][1].seq == 0


async def test_a_bot_reads_messages_one_after_the_other(start: Start) -> None:
    server = await start()
    bot, ada = await server.client(user="Echo", rooms=["r"]), await server.client(user="Ada")
    room = await ada.join("r")

    async def run() -> int:
        count = 0
        async for where, message in bot.messages():
            if not bot.is_own(message):
                count += 1
                await bot.say(where, message.text.upper())
        return count

    running = asyncio.ensure_future(run())
    await until(lambda: bot.find("r") is not None and bot.enter("r").is_live)
    for text in ("a", "b", "c"):
        await ada.say(room, text)
    await until(lambda: sorted(texts(room)) == sorted("abcABC") and len(bot.outbox) == 0)
    await bot.stop()
    assert await running == 3
    # One that reads too slowly is told so, and the messages are in the room.
    slow = await server.client(user="Slow")
    other = await slow.join("r")
    # It hears from this call on, and not only once it is read.
    inbox = slow.messages(limit=2)
    for text in ("d", "e", "f", "g"):
        await ada.say(room, text)
    await until(lambda: texts(other)[-1] == "g")
    got: list[str] = []
    with pytest.raises(Overrun) as caught:
        await take_all(inbox, got)
    assert got == ["d", "e"]
    assert caught.value.missed == 2


async def take_all(inbox: AsyncIterator[tuple[Room, Message]], got: list[str]) -> None:
    async for _, message in inbox:
        got.append(message.text)


async def test_moderators_act_and_people_learn_of_it(start: Start) -> None:
    server = await start()
    boss = await server.client(token=server.token("Boss", "--room", "*:moderate,join,post"))
    eve = await server.client(user="Eve")
    room, other = await boss.join("r"), await eve.join("r")
    assert boss.may("moderate", room)
    assert boss.may("ban")
    kicked = heard(eve, "kicked")
    await boss.kick(room, "Eve", "noise")
    await until(lambda: kicked == [(other, "noise")])
    assert eve.find("r") is None
    await boss.ban("Eve", 3600, "again")
    await until(lambda: eve.state.at == "parked", lambda: str(eve.state))
    assert eve.state.why == "banned"
    with pytest.raises(Disconnected, match="banned"):
        await eve.join("r")
    await boss.unban("Eve")
    eve.retry()
    await eve.join("r")


async def test_messages_carry_data_and_reply_to_others(start: Start) -> None:
    server = await start()
    ada, ben = await server.client(user="Ada"), await server.client(user="Ben")
    room, other = await ada.join("r"), await ben.join("r")
    poll = {"kind": "poll", "options": ["tea", 1.5, None, {"a": []}]}
    await ada.say(room, "tea or coffee?", data=poll)
    await ben.say(other, "tea", reply_to=1)
    await until(lambda: len(room.messages) == 2)
    assert (other.messages[0].data, other.messages[0].reply_to) == (poll, 0)
    assert (room.messages[1].data, room.messages[1].reply_to) == (None, 1)
    await ada.edit(room, 1, "tea or milk?")
    await until(lambda: other.messages[0].edited is not None)
    assert other.messages[0].data == poll
    await ada.edit(room, 1, "tea?", data=[1])
    await until(lambda: other.messages[0].data == [1])
    with pytest.raises(Refused, match="not_found") as caught:
        await ben.say(other, "?", reply_to=9)
    assert caught.value.field == "reply_to"
    with pytest.raises(Refused, match="too_long"):
        await ben.say(other, "?", data="x" * 5000)
    await ada.delete(room, 1)
    await until(lambda: other.messages[0].deleted and other.messages[0].data is None)
    fresh = await (await server.client(user="Cleo")).join("r")
    assert [(message.data, message.reply_to) for message in fresh.messages] == [(None, 0), (None, 1)]


async def test_one_knows_what_is_unread_without_being_there(start: Start) -> None:
    server = await start()
    ada, ben = await server.client(token=server.token("Ada")), await server.client(token=server.token("Ben"))
    room = await ada.join("news")
    await ada.say(room, "one")
    await ben.subscribe("news")
    await ben.join("@Ada")
    mine, following = await ben.mine()
    assert following == ""
    assert [(one.unread.room, one.unread.unread, one.message and one.message.text) for one in mine] == [
        ("news", 1, "one")
    ]
    told = heard(ben, "unread")
    await ada.say(room, "two")
    await until(lambda: any(one.unread == 2 for (rooms,) in told for one in rooms), "not told")
    await ada.say(await ada.join("@Ben"), "psst")
    await until(lambda: any(one.room == "@Ada" or one.room == "@ada" for (rooms,) in told for one in rooms), "not told")
    await ben.unsubscribe("news")
    mine, _ = await ben.mine()
    assert [one.unread.room.casefold() for one in mine] == ["@ada"]
    guest = await server.client(user="Guest")
    with pytest.raises(Refused, match="forbidden"):
        await guest.subscribe("news")


async def test_what_happens_in_a_conversation_is_told_to_both(start: Start) -> None:
    server = await start()
    ada, ben = await server.client(token=server.token("Ada")), await server.client(token=server.token("Ben"))
    mine, theirs = await ada.join("@Ben"), await ben.join("@Ada")
    await ada.say(mine, "one")
    await until(lambda: texts(theirs) == ["one"])
    await ben.react(theirs, 1, "🎉")
    await until(lambda: mine.messages[0].reactions == {"🎉": [Person("Ben", True)]})
    await ada.edit(mine, 1, "uno")
    await until(lambda: texts(theirs) == ["uno"])
    ada.typing(mine)
    await until(lambda: theirs.who_types(asyncio.get_running_loop().time()) == ["Ada"], "nobody types")
    ben.seen(theirs)
    await until(lambda: mine.readers.get(Person("Ben", True)) == 1, "nobody has read")
    # What happened while one was away is there when they are back.
    signed_in = heard(ben, "signed_in")
    ben.retry()
    await ada.delete(mine, 1)
    await until(lambda: signed_in == [()] and len(theirs.messages) == 1 and theirs.messages[0].deleted, "not there")
