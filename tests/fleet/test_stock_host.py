"""Our workers hosted for a stock main worker: fresh ones for each of its sessions."""

import asyncio
import time
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from pipecat.bus import BusCancelWorkerMessage, BusEndMessage, BusEndWorkerMessage, BusFrameMessage
from pipecat.bus.network import RedisBus
from pipecat.frames.frames import LLMMessagesAppendFrame
from pipecat.workers.base_worker import BaseWorker
from pipecat.workers.llm import LLMWorkerActivationArgs
from redis.asyncio import Redis

from pipecat_workers_cli.buses.pubsub import open_channel
from pipecat_workers_cli.call.plan import plan_call
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.fleet import stock_host
from pipecat_workers_cli.fleet.stock_host import StockHost
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.traffic.tap import Tap
from tests.buses.servers import RedisServer
from tests.waiting import until

HELLO = {"role": "user", "content": "hello"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def channel():
    return f"pipecat:{uuid4().hex[:8]}"


@pytest.fixture
async def host(server, channel):
    """A host of the shipped greeter."""
    services = ServiceOptions(profile=Profile.OFFLINE)
    plan = plan_call(load_recipe("handoff"), services, speech=False).hosting(["greeter"])
    url = server.url.replace("://", "+pubsub://")
    async with open_channel(url, channel=channel) as opened:
        host = StockHost(plan, opened, Tap())
        hosting = asyncio.create_task(host.run())
        yield host
        hosting.cancel()
        await asyncio.wait({hosting})


class Main(BaseWorker):
    """A stock main worker, as far as a bus shows one."""

    def __init__(self, name: str = "acme") -> None:
        super().__init__(name)
        self.opened = 0

    async def on_bus_message(self, message) -> None:
        await super().on_bus_message(message)
        if isinstance(message, BusFrameMessage):
            self.opened += isinstance(message.frame, LLMMessagesAppendFrame)

    async def call(self) -> None:
        """Give the call to the greeter, and wait until it has begun to open it."""
        await until(lambda: "greeter" in self.registry)
        opened = self.opened
        await self.activate_worker("greeter", args=LLMWorkerActivationArgs(messages=[HELLO]))
        await until(lambda: self.opened == opened + 1)

    @property
    def greeters_runner(self) -> str:
        return self.registry.get("greeter").runner


@asynccontextmanager
async def stock(server, channel, main, *, leaves_silently=False):
    """Run a main worker on Pipecat's own bus."""
    async with Redis.from_url(server.url) as client:
        bus = RedisBus(redis=client, channel=channel)
        async with running([main], bus):
            yield
            if leaves_silently:  # as a process that is killed

                async def publish(message) -> None:
                    bus.on_message_received(message)

                bus.publish = publish


@pytest.mark.parametrize("silently", [False, True])
@pytest.mark.parametrize("name", ["acme", "reception"])
async def test_the_next_main_worker_finds_a_fresh_greeter(server, channel, host, silently, name):
    runners = []
    for _ in range(3):
        main = Main(name)
        async with stock(server, channel, main, leaves_silently=silently):
            await main.call()
            runners.append(main.greeters_runner)
            assert main.opened == 1
    assert len(set(runners)) == 3


async def test_another_process_that_joins_in_the_middle_disturbs_no_call(server, channel, host):
    main, other = Main(), Main("support")
    async with stock(server, channel, main):
        await main.call()
        session = host._session
        async with stock(server, channel, other):
            await until(lambda: "greeter" in other.registry and "support" in main.registry)
        assert host._session is session


async def test_a_goodbye_ends_the_session_and_not_the_host(server, channel, host):
    main = Main()
    async with stock(server, channel, main):
        await main.call()
        session = host._session
        await main.send_bus_message(BusEndMessage(source="acme", reason="goodbye"))
        await until(lambda: host._session is not session)
    after = Main()
    async with stock(server, channel, after):
        await after.call()


async def test_nobody_elsewhere_ends_a_worker_of_ours(server, channel, host):
    main = Main()
    async with stock(server, channel, main):
        await main.call()
        session = host._session
        for kind in (BusEndWorkerMessage, BusCancelWorkerMessage):
            await main.send_bus_message(kind(source="runner-1", target="greeter"))
        await main.call()
        assert host._session is session


async def test_a_host_that_drains_waits_for_the_session_but_not_for_a_silent_one(
    server, channel, host, monkeypatch
):
    main = Main()
    async with stock(server, channel, main):
        await main.call()
        assert not await host.drain(within=0.2)
        monkeypatch.setattr(stock_host, "QUIET", 0.3)
        began = time.monotonic()
        assert await host.drain(within=10)
        assert time.monotonic() - began < 2


async def test_a_host_that_nobody_has_called_leaves_at_once(host):
    assert await asyncio.wait_for(host.drain(within=60), 0.2)
