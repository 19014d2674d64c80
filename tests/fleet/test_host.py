"""What a worker host does with what it claims."""

import asyncio
from uuid import uuid4

import pytest

from pipecat_workers_cli.buses.network import LEASE
from pipecat_workers_cli.buses.urls import SharedBus, open_network
from pipecat_workers_cli.call.hosts import queue_of
from pipecat_workers_cli.fleet.hosted import TAKEN_IN_WITHIN
from pipecat_workers_cli.wire.notice import Offer, encode_notice
from tests.fleet.conftest import hosting
from tests.waiting import until

WORKERS = ("greeter", "support")
OFFERS = 10  # in each queue, at the same moment: some have the ids of some in the other


async def offer(network, worker: str) -> str:
    """Offer a worker of a call that is held nowhere."""
    offered = Offer(
        call=uuid4().hex[:8],
        worker=worker,
        main="acme",
        address=network.address,
        number=1,
        hash="",
        speech=False,
    )
    return await network.offer(queue_of("handoff", worker), encode_notice(offered))


async def test_every_claim_is_kept_even_if_offers_in_two_queues_have_one_id(server):
    bus = SharedBus(server.url, f"test_{uuid4().hex[:8]}")
    async with open_network(bus) as network:
        ids = await asyncio.gather(*(offer(network, name) for name in OFFERS * WORKERS))
        assert len(set(ids)) < len(ids)
        async with hosting(bus, *WORKERS) as host:
            await until(lambda: host.counts.claims == len(ids))
            await asyncio.sleep(LEASE + 1)
            assert host.counts.claims == len(host.held) == len(ids)
            assert host.counts.fenced == 0


@pytest.mark.long
async def test_a_worker_that_no_call_takes_in_is_given_up(server):
    bus = SharedBus(server.url, f"test_{uuid4().hex[:8]}")
    async with open_network(bus) as network, hosting(bus, "greeter") as host:
        await offer(network, "greeter")
        await until(lambda: host.held)
        await asyncio.sleep(TAKEN_IN_WITHIN)
        await until(lambda: not host.held)
        await asyncio.sleep(LEASE + 1)
        assert host.counts.claims == 1
