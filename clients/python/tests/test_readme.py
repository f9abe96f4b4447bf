"""Every example of README.md runs."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support import ENVIRONMENT, Server, texts, until

EXAMPLES = re.findall(r"```python\n(.*?)```", (Path(__file__).parent.parent / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_an_example_runs(number: int, start: Callable[..., Awaitable[Server]], tmp_path: Path) -> None:
    server = await start()
    robot, ada = await server.client(token=server.token("Robot")), await server.client(user="Ada")
    room = await ada.join("general")
    await ada.say(room, "hello")
    source = EXAMPLES[number].replace("wss://chat.example/ws", server.url)
    environment = {**ENVIRONMENT, "TOKEN": server.token("Cleo"), "PYTHONUNBUFFERED": "1"}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        source,
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        if "!echo" in source:
            await until(lambda: any(person.user == "Echo" for person in room.people()), "the bot does not come")
            await ada.say(room, "!echo hi")
            await until(lambda: texts(room)[-1] == "hi", "the bot does not answer")
            return
        output, _ = await child.communicate()
        assert child.returncode == 0, output.decode()
        if ".mine()" in source:
            assert output.decode() == "general 1 hello\n"
        elif "not a name" in source:
            assert "bad_field room" in output.decode()
            assert texts(room)[-1] == "a better idea"
        else:
            assert output.decode().split() == ["Cleo", "True", "False", "disk"]
            await until(lambda: (mine := robot.find("@Cleo")) is not None and texts(mine) == ["between us"])
            assert os.listdir(tmp_path) == ["outbox.json"]
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 4
