"""What a worker host does with what it claims."""

import asyncio
from uuid import uuid4

import pytest

from pipecat_workers_cli.buses.network import LEASE
from pipecat_workers_cli.buses.redis import RedisNetwork
from pipecat_workers_cli.buses.urls import SharedBus, open_network
from pipecat_workers_cli.call.hosts import queue_of
from pipecat_workers_cli.fleet.health import serving_health
from pipecat_workers_cli.fleet.hosted import TAKEN_IN_WITHIN
from pipecat_workers_cli.wire.notice import Offer, encode_notice
from tests.fleet.conftest import hosting
from tests.ports import free_port
from tests.waiting import until

WORKERS = ("greeter", "support")
OFFERS = 10  # in each queue, at the same moment: some have the ids of some in the other


def offered(network, worker: str) -> bytes:
    """A worker of a call that is held nowhere, as it is offered."""
    offer = Offer(
        call=uuid4().hex[:8],
        worker=worker,
        main="acme",
        address=network.address,
        number=1,
        hash="",
        speech=False,
    )
    return encode_notice(offer)


async def offer(network, worker: str) -> str:
    """Offer a worker of a call that is held nowhere."""
    return await network.offer(queue_of("handoff", worker), offered(network, worker))


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


async def test_a_host_that_is_to_drain_before_it_has_begun_claims_nothing(server):
    bus = SharedBus(server.url, f"test_{uuid4().hex[:8]}")
    async with open_network(bus) as network:
        await offer(network, "greeter")
        async with hosting(bus, "greeter") as host:
            assert await host.drain(within=1)
            await asyncio.sleep(1)  # it builds its workers once meanwhile
            assert host.counts.claims == 0


async def test_what_is_on_its_way_to_a_host_that_drains_is_anothers_at_once(server):
    bus, queue = SharedBus(server.url, f"test_{uuid4().hex[:8]}"), queue_of("handoff", "greeter")
    async with open_network(bus) as network:
        async with hosting(bus, "greeter") as host:
            await until(lambda: host._claiming)
            await asyncio.sleep(0.2)
            with server.client() as client:
                client.xadd(network._queue(queue), {"b": offered(network, "greeter")})
            assert await host.drain(within=1)  # the answer to its claim lies here unread
        (claim,) = await network.claim([queue], most=1)
        assert claim.number > 1


async def test_a_claim_that_was_given_back_meanwhile_is_not_taken_for_lost(server, monkeypatch):
    under_way, renew = asyncio.Event(), RedisNetwork.renew

    async def late(network, claims):
        if claims:
            under_way.set()
            await asyncio.sleep(0.3)
        return await renew(network, claims)

    monkeypatch.setattr(RedisNetwork, "renew", late)
    bus = SharedBus(server.url, f"test_{uuid4().hex[:8]}")
    async with open_network(bus) as network, hosting(bus, "greeter") as host:
        await offer(network, "greeter")
        await until(lambda: host.held)
        (hosted,) = host.held.values()
        await under_way.wait()
        draining = asyncio.create_task(host.drain(within=0))
        await asyncio.sleep(1)
        assert hosted.moving
        assert host.counts.fenced == 0
        assert host.held  # it goes on until another has it
        await draining


async def test_health_is_told_on_both_kinds_of_address(server):
    bus, port = SharedBus(server.url, f"test_{uuid4().hex[:8]}"), free_port()
    async with hosting(bus, "greeter") as host, serving_health(host, host._post, port):
        for address in ("127.0.0.1", "::1"):
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert (await reader.readline()).endswith(b"200 OK\r\n")
            writer.close()
