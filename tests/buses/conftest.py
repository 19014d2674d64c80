"""A server for each bus, and places on it."""

import sys
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from loguru import logger

from tests.buses.servers import SERVERS


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    """Starts each kind of server when it is first asked for, and stops them all in the end."""
    started = {}

    def start(kind):
        if kind not in started:
            started[kind] = SERVERS[kind](tmp_path_factory.mktemp(kind))
        started[kind].start()
        return started[kind]

    yield start
    for server in started.values():
        server.stop()


@pytest.fixture(params=SERVERS)
def server(request, servers):
    """A running server; it runs again after the test, whatever that did to it."""
    server = servers(request.param)
    yield server
    server.thaw()
    server.start()


@pytest.fixture
def channel():
    return f"test_{uuid4().hex[:8]}"


@pytest.fixture
async def join(server, channel):
    """Opens a place on a fresh channel, or on another; all are left after the test."""
    async with AsyncExitStack() as stack:

        async def open_network(on=channel):
            return await stack.enter_async_context(server.open_network(on))

        yield open_network


@pytest.fixture
def hasten(server, monkeypatch):
    """Shortens one of the times in `buses/network.py`, everywhere."""

    def shorten(**times):
        for name, module in sys.modules.items():
            if name.startswith("pipecat_workers_cli.buses."):
                for time, seconds in times.items():
                    if hasattr(module, time):
                        monkeypatch.setattr(module, time, seconds)

    return shorten


@pytest.fixture
def log_lines():
    """What is logged as a warning or worse."""
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{message}")
    yield lines
    logger.remove(sink)
