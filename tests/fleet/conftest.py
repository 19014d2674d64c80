"""Worker hosts and the calls that they serve, in one process, over a real engine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pipecat_workers_cli.buses.post import open_post
from pipecat_workers_cli.buses.urls import SharedBus, open_network
from pipecat_workers_cli.call.plan import plan_call
from pipecat_workers_cli.fleet.host import WorkerHost
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.traffic.tap import Tap
from tests.buses import conftest as buses
from tests.call.conftest import OFFLINE


@asynccontextmanager
async def hosting(
    bus: SharedBus, *workers: str, recipe: str = "handoff", max_calls: int = 50
) -> AsyncIterator[WorkerHost]:
    """Host workers for as long as the block lasts."""
    plan = plan_call(load_recipe(recipe), OFFLINE, speech=False).hosting(workers)
    async with open_network(bus) as network, open_post(network) as post:
        host = WorkerHost(plan, post, Tap(), max_calls=max_calls)
        running = asyncio.create_task(host.run(), name="worker host")
        try:
            yield host
        finally:
            running.cancel()
            await asyncio.wait({running})


servers = buses.servers


@pytest.fixture
def server(request: pytest.FixtureRequest, servers):
    """A running server, a Valkey unless told otherwise; it runs again after the test."""
    server = servers(getattr(request, "param", "redis"))
    yield server
    server.start()
