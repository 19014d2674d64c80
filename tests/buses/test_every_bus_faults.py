"""What every shared engine gives a process while it is stopped, silent or cut off."""

import asyncio
import time

import pytest

from pipecat_workers_cli.buses.network import ANSWER_WITHIN, BusDown, Claim
from tests.buses.asking import every_method, received, until_it_gives, until_it_works


async def assert_all_fail(network, *, within):
    async def fails(method):
        began = time.monotonic()
        with pytest.raises(BusDown):
            await method()
        return time.monotonic() - began

    methods = every_method(network)
    took = await asyncio.gather(*map(fails, methods.values()))
    late = {name: took for name, took in zip(methods, took, strict=True) if took > within}
    assert not late


async def assert_all_work(network):
    async with asyncio.timeout(5):
        await asyncio.gather(*map(until_it_works, every_method(network).values()))


async def test_a_dead_engine_is_said_by_every_method_and_outlived(server, channel):
    async with server.open_network(channel) as network:
        await asyncio.to_thread(server.stop)
        await assert_all_fail(network, within=ANSWER_WITHIN + 1)
        await asyncio.to_thread(server.start, empty=True)
        await assert_all_work(network)


async def test_a_process_that_is_too_busy_to_look_has_its_answer_all_the_same(hasten, join):
    hasten(ANSWER_WITHIN=0.3)
    network = await join()
    await network.offer("work", b"to be connected")
    for _ in range(3):
        asked = asyncio.create_task(network.offer("work", b"work"))
        for _ in range(3):  # rounds until it has been sent
            await asyncio.sleep(0)
        time.sleep(0.6)  # noqa: ASYNC251
        assert await asked


async def test_a_silent_engine_is_noticed_and_outlived(server, hasten, join):
    hasten(ANSWER_WITHIN=0.4, WAIT_FOR_NEWS=0.3)
    network = await join()
    await assert_all_work(network)
    server.freeze()
    await assert_all_fail(network, within=0.4 + 0.3 + 0.3)
    await assert_all_fail(network, within=0.4 + 0.3 + 0.3)  # by new connections
    server.thaw()
    await assert_all_work(network)


@pytest.mark.parametrize("fault", ["stop", "freeze"])
async def test_leaving_takes_no_longer_than_two_seconds(server, channel, fault):
    async with server.open_network(channel) as network:
        receiving = asyncio.create_task(network.receive())
        await asyncio.sleep(0.05)
        await asyncio.to_thread(getattr(server, fault))
        began = time.monotonic()
    assert time.monotonic() - began < 2
    receiving.cancel()
    await asyncio.wait({receiving})


async def test_an_engine_that_comes_back_with_its_data_goes_on(server, join):
    one, other = await join(), await join()
    await one.offer("work", b"held")
    (held,) = await one.claim(["work"], most=1)
    await one.offer("work", b"waiting")
    await one.send({other.address: b"before"})
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    began = time.monotonic()
    assert not await until_it_works(one.renew, [held])
    assert not await until_it_works(one.send, {other.address: b"after"})
    assert await until_it_works(received, other, 2) == [b"before", b"after"]
    claims = await until_it_works(lambda: other.claim(["work"], most=1))
    assert [claim.body for claim in claims] == [b"waiting"]
    assert time.monotonic() - began < 5


async def test_an_engine_that_comes_back_empty_goes_on(server, join):
    one, other = await join(), await join()
    await one.offer("work", b"held")
    (held,) = await one.claim(["work"], most=1)
    await one.send({other.address: b"before"})
    assert await other.receive() == [b"before"]
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start, empty=True)
    began = time.monotonic()
    assert await until_it_works(one.renew, [held]) == [held]
    receiving = asyncio.create_task(until_it_works(received, other))

    async def sent():
        return not await until_it_works(one.send, {other.address: b"after"})

    await until_it_gives(sent)
    assert await receiving == [b"after"]
    offer = await one.offer("work", b"new")
    assert (await until_it_gives(other.claim, ["work"], most=1)) == [
        Claim("work", offer, b"new", 1)
    ]
    assert time.monotonic() - began < 5


async def test_connections_cut_under_load_lose_nothing_and_keep_the_order(server, join):
    one, other = await join(), await join()
    sent = 600

    async def send_all():
        for number in range(sent):
            await until_it_works(one.send, {other.address: b"%d" % number})
            if number % 200 == 100:
                await asyncio.to_thread(server.cut)

    numbers: list[int] = []
    sending = asyncio.create_task(send_all())
    async with asyncio.timeout(10):
        while not numbers or numbers[-1] < sent - 1:
            parcels = await until_it_works(other.receive)
            # Whoever sends again after a failure sends twice; whoever receives knows that.
            numbers += [n for n in map(int, parcels) if not numbers or n > numbers[-1]]
    await sending
    assert numbers == list(range(sent))


async def test_offers_survive_cut_connections(server, hasten, join):
    hasten(LEASE=0.5)
    one, other = await join(), await join()
    offers, settled = 60, set()

    async def offer_all():
        for number in range(offers):
            await until_it_works(one.offer, "work", b"%d" % number)
            if number % 20 == 10:
                await asyncio.to_thread(server.cut)

    async def claim():
        return await other.claim(["work"], most=5)

    offering = asyncio.create_task(offer_all())
    async with asyncio.timeout(10):
        while len(settled) < offers:
            for claim_ in await until_it_works(claim):
                await until_it_works(other.settle, claim_)
                settled.add(claim_.body)
    await offering
