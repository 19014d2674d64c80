"""A call of ours whose agents are stock Pipecat's, in processes that tell nothing of themselves."""

import asyncio
import time
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from pipecat.bus import (
    BusCancelMessage,
    BusCancelWorkerMessage,
    BusDeactivateWorkerMessage,
    BusEndMessage,
    BusEndWorkerMessage,
    BusMessage,
)
from pipecat.bus.network import RedisBus
from pipecat.bus.serializers import JSONMessageSerializer
from pipecat.workers.base_worker import BaseWorker
from redis.asyncio import Redis

from pipecat_workers_cli.buses.urls import SharedBus, open_channel
from pipecat_workers_cli.call import strangers
from pipecat_workers_cli.call.distribution import open_distribution
from pipecat_workers_cli.call.plan import plan_call
from pipecat_workers_cli.call.run import open_call, running
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.fleet.stock_host import StockHost
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.transports.console import ConsoleTransport
from tests.buses.servers import RedisServer
from tests.call.conftest import OFFLINE, WordsCall
from tests.peers.agents import GREETER, SUPPORT, StockAgent
from tests.waiting import until

OPENING = "Welcome to the stock Acme Corp! We sell kits and paint."


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def shared(server):
    url = server.url.replace("://", "+pubsub://")
    return SharedBus(url, f"pipecat:{uuid4().hex[:8]}")


@pytest.fixture
async def distribution(shared):
    async with open_distribution(shared, Tap()) as distribution:
        yield distribution


@asynccontextmanager
async def stock(server, shared, *workers):
    """Run workers as a stock process does."""
    async with (
        Redis.from_url(server.url) as client,
        running(workers, RedisBus(redis=client, channel=shared.channel)),
    ):
        yield


@asynccontextmanager
async def our_call(distribution):
    """Hold a call of the shipped handoff, its agents elsewhere."""
    plan = plan_call(load_recipe("handoff"), OFFLINE, speech=False).main_alone(at="a channel")
    tap, entries, transport = Tap(), [], ConsoleTransport()
    tap.subscribe(entries.append)
    opened = open_call(
        plan, transport, tap=tap, idle_timeout=30, has_client=False, distribution=distribution
    )
    async with tap.collecting(), opened as call:
        yield WordsCall(call, transport, entries, tap)


class Watcher(BaseWorker):
    """A stranger who hears everything on the channel, and says what it is told to."""

    def __init__(self) -> None:
        super().__init__("watcher")
        self.heard: list[BusMessage] = []

    async def on_bus_message(self, message: BusMessage) -> None:
        self.heard.append(message)
        await super().on_bus_message(message)

    async def hears(self, kind):
        def found():
            return [one for one in self.heard if isinstance(one, kind)]

        await until(found)
        return found()[0]


def agents():
    return StockAgent("greeter", GREETER), StockAgent("support", SUPPORT)


async def test_a_turn_is_answered_by_whoever_has_the_call_and_waits_for_no_flush(
    server, shared, distribution
):
    async with stock(server, shared, *agents()), our_call(distribution) as call:
        await call.opened()
        began = time.monotonic()
        await call.say("How much is the kit?")
        answer = await call.say("And the boots?")
        assert time.monotonic() - began < 2
        said = [entry.text for entry in call.entries if entry.event == "bot"]
        assert said == [OPENING, "This is stock support: the kit is $199.", "Boots are $299."]
        assert [entry.worker for entry in answer if entry.event == "bot"] == ["support"]


async def test_a_hang_up_takes_the_call_from_the_agent_so_that_the_next_caller_has_one(
    server, shared, distribution
):
    watcher, (greeter, support) = Watcher(), agents()
    async with stock(server, shared, greeter, support), stock(server, shared, watcher):
        async with our_call(distribution) as call:
            await call.opened()
            await call.say("How much is the kit?")
        assert (await watcher.hears(BusDeactivateWorkerMessage)).target == "greeter"
        await until(lambda: not support.active)
        async with our_call(distribution) as call:
            await call.opened()
            assert [entry.text for entry in call.entries if entry.event == "bot"] == [OPENING]


async def test_only_a_worker_of_the_call_may_end_it(server, shared, distribution):
    ending = [
        BusEndMessage(source="nobody", reason="nobody"),
        BusCancelMessage(source="nobody", reason="nobody"),
        BusEndWorkerMessage(source="greeter", target="acme"),
        BusCancelWorkerMessage(source="runner-1", target="acme"),
        BusEndMessage(source="acme", reason="forged"),
        BusEndMessage(source="support", reason="enough"),
    ]
    async with our_call(distribution) as call, Redis.from_url(server.url) as client:
        for message in ending:
            await client.publish(shared.channel, JSONMessageSerializer().serialize(message))
        await asyncio.wait_for(call.call.ended.wait(), 2)
        assert call.call.reason == "enough"


async def test_who_is_not_there_is_told_with_the_command_that_mends_it(
    shared, distribution, monkeypatch
):
    monkeypatch.setattr(strangers, "NOBODY_AFTER", 0.2)
    async with our_call(distribution) as call:
        missing = await call.until("error", worker="support")
        assert "nobody hosts support" in missing.text
        assert f"pmw worker support --bus {shared.shown} --channel {shared.channel}" in missing.text


async def test_there_is_one_call_at_a_time(server, shared, distribution):
    async with stock(server, shared, *agents()), our_call(distribution):
        with pytest.raises(PmwError, match="already"):
            async with our_call(distribution):
                pass


@asynccontextmanager
async def hosted(shared):
    """Host the shipped handoff's agents as `pmw worker` does on such a bus."""
    plan = plan_call(load_recipe("handoff"), OFFLINE, speech=False)
    async with open_channel(shared) as channel:
        hosting = asyncio.create_task(StockHost(plan, channel, Tap()).run())
        try:
            yield
        finally:
            hosting.cancel()
            await asyncio.wait({hosting})


async def test_a_call_outlives_a_restart_of_the_server(server, shared, distribution):
    async with hosted(shared), our_call(distribution) as call:
        await call.opened()
        await asyncio.to_thread(server.stop)
        asked = asyncio.create_task(call.say("How much is the tornado kit?"))
        await asyncio.to_thread(server.start, empty=True)
        began = time.monotonic()
        answers = [entry for entry in await asked if entry.event == "bot"]
        assert time.monotonic() - began < 5
        assert [entry.worker for entry in answers] == ["support"]
