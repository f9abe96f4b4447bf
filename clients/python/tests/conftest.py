from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio
from support import Network, Server


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    """Starts a server; it ends with the test."""
    servers = []

    async def start_one(*args: str) -> Server:
        server = Server(*args)
        servers.append(server)
        await server.run()
        return server

    yield start_one
    for server in servers:
        await server.stop()


@pytest_asyncio.fixture
async def network() -> AsyncIterator[Callable[[int], Awaitable[Network]]]:
    """Puts a network before a port; it ends with the test."""
    networks = []

    async def before(port: int) -> Network:
        one = Network(port)
        networks.append(one)
        await one.open()
        return one

    yield before
    for one in networks:
        one.close()
