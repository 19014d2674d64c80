"""What a call makes of hosts that join, leave and are offered a worker all at once."""

import asyncio
from uuid import uuid4

import pytest

from pipecat_workers_cli.buses.redis import RedisNetwork
from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.distribution import open_distribution
from pipecat_workers_cli.call.placement import Placement
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.wire.letter import Letter
from pipecat_workers_cli.wire.notice import Joined, Left, Notice, encode_notice
from tests.call.conftest import open_words_call
from tests.fleet.conftest import hosting
from tests.waiting import until


@pytest.fixture
def bus(server) -> SharedBus:
    return SharedBus(server.url, f"test_{uuid4().hex[:8]}")


async def test_who_joins_while_the_offer_is_being_made_is_replaced_later_all_the_same(
    bus, monkeypatch
):
    offer = RedisNetwork.offer

    async def late(network, queue, body):
        made = await offer(network, queue, body)
        await asyncio.sleep(0.3)  # a reply that comes late: it was claimed meanwhile
        return made

    monkeypatch.setattr(RedisNetwork, "offer", late)
    async with (
        hosting(bus, "greeter", "support") as host,
        open_distribution(bus, Tap()) as distribution,
        open_words_call("handoff", distribution=distribution) as call,
    ):
        await call.opened()
        await asyncio.sleep(0.5)
        for hosted in list(host.held.values()):
            hosted.stop("it is stopped")
        await until(lambda: host.counts.claims == 4, within=10)
        assert "Rocket Boots" in (await call.say("What do you sell?"))[-1].text


async def test_a_host_that_says_late_that_it_leaves_takes_the_next_one_not_along(bus, monkeypatch):
    made: list[Placement] = []
    running = Placement.running

    def noted(placement, main, tell):
        made.append(placement)
        return running(placement, main, tell)

    monkeypatch.setattr(Placement, "running", noted)
    async with (
        hosting(bus, "greeter", "support"),
        open_distribution(bus, Tap()) as distribution,
        open_words_call("handoff", distribution=distribution) as call,
    ):
        await call.opened()
        (hub,) = (placement.bus for placement in made)
        seat = hub.seats["greeter"]

        def told(notice: Notice, epoch: int) -> Letter:
            return Letter(call.call.id, "greeter", epoch, encode_notice(notice), notice=True)

        hub.take("other", told(Joined("other", "0", ""), seat.epoch + 1))
        hub.take(seat.address, told(Left("its claim was lost"), seat.epoch))
        await until(lambda: hub.seats["greeter"] != seat)
        await asyncio.sleep(0)
        assert hub.seats["greeter"].address == "other"
