"""What every shared engine gives a process, on a real server of each."""

import asyncio
import random
import sys
import time
from asyncio.subprocess import PIPE
from contextlib import suppress

from pipecat_workers_cli.buses.network import BusDown
from tests.buses.asking import received, until_it_works

# --- inboxes


async def test_parcels_come_in_order_and_as_they_were_sent(join):
    one, other = await join(), await join()
    sent = [b"", b"\x00\xff\r\n$-1\r\n", b"x" * 100_000, *(b"%d" % n for n in range(300))]
    for parcel in sent:
        assert not await one.send({other.address: parcel})
    assert await received(other, len(sent)) == sent


async def test_two_processes_send_to_each_other(request, server, join, channel):
    here = await join()
    kind = request.node.callspec.params["server"]
    program = (sys.executable, "-m", "tests.buses.peer", kind, server.url, channel)
    peer = await asyncio.create_subprocess_exec(*program, stdout=PIPE)
    try:
        there = (await peer.stdout.readline()).decode().strip()
        await here.send({there: here.address.encode() + b"\nhello"})
        assert await received(here) == [b"hello"]
    finally:
        peer.kill()
        await peer.wait()


async def test_one_send_reaches_several_inboxes(join):
    one, two, three = await join(), await join(), await join()
    assert not await one.send({two.address: b"to two", three.address: b"to three"})
    assert await received(two) == [b"to two"]
    assert await received(three) == [b"to three"]


async def test_a_process_may_send_to_itself(join):
    alone = await join()
    await alone.send({alone.address: b"note"})
    assert await received(alone) == [b"note"]


async def test_an_inbox_that_is_gone_is_reported_and_not_made(server, join, channel):
    here = await join()
    async with server.open_network(channel) as leaving:
        there = leaving.address
        assert not await here.send({there: b"still there"})
    before = server.stored(channel)
    gone = await here.send({there: b"too late", here.address: b"kept", "nobody": b""})
    assert set(gone) == {there, "nobody"}
    assert server.stored(channel) == before
    assert await received(here) == [b"kept"]


async def test_nothing_comes_for_a_second(join):
    network = await join()
    began = time.monotonic()
    assert not await network.receive()
    assert 0.8 < time.monotonic() - began < 2


async def test_a_cancelled_receive_loses_nothing(join):
    one, other = await join(), await join()
    parcels = []
    for number in range(40):
        receiving = asyncio.create_task(other.receive())
        await asyncio.sleep(0.0001 * (number % 20))
        await one.send({other.address: b"%d" % number})
        await asyncio.sleep(0.00005 * (number % 7))
        receiving.cancel()
        with suppress(asyncio.CancelledError):
            parcels += await receiving
    parcels += await received(other, 40 - len(parcels))
    assert parcels == [b"%d" % number for number in range(40)]


async def test_a_receive_that_failed_loses_nothing(server, join):
    one, other = await join(), await join()
    receiving = asyncio.create_task(other.receive())
    await asyncio.sleep(0.05)
    server.cut()
    await until_it_works(one.send, {other.address: b"after the cut"})
    parcels = []
    with suppress(BusDown):
        parcels = await receiving  # it may connect anew by itself
    assert (parcels or await until_it_works(received, other)) == [b"after the cut"]


async def test_an_inbox_is_bounded_and_drops_the_oldest(hasten, join):
    hasten(INBOX_PARCELS=200, WAIT_FOR_NEWS=0.1)
    one, other = await join(), await join()
    for number in range(500):
        await one.send({other.address: b"%d" % number})
    kept = [int(parcel) for parcel in await received(other, 200)]
    while more := await other.receive():
        kept += map(int, more)
    assert len(kept) <= 400
    assert kept == list(range(500 - len(kept), 500))


# --- presence


async def test_who_announces_is_present_until_its_time_is_over(join):
    one, other = await join(), await join()
    await one.announce("host", "b:1", b"\x00:b", ttl=0.4)
    await one.announce("host", "ä", b"", ttl=30)
    await one.announce("session", "a", b"other kind", ttl=30)
    assert [(who.name, who.body) for who in await other.present("host")] == [
        ("b:1", b"\x00:b"),
        ("ä", b""),
    ]
    await asyncio.sleep(0.5)
    (left,) = await other.present("host")
    assert left.name == "ä"
    assert 0.4 < left.age < 2


async def test_announcing_again_replaces_and_makes_young(join):
    network = await join()
    await network.announce("host", "a", b"old", ttl=0.2)
    await asyncio.sleep(0.1)
    await network.announce("host", "a", b"new", ttl=30)
    await asyncio.sleep(0.15)
    (there,) = await network.present("host")
    assert there.body == b"new"
    assert 0.1 < there.age < 1


async def test_who_takes_leave_is_gone(join):
    one, other = await join(), await join()
    await one.announce("host", "a", b"", ttl=30)
    await one.take_leave("host", "a")
    await one.take_leave("host", "never there")
    assert not await other.present("host")


# --- channels


async def test_no_channel_hears_another(join, channel):
    channels = [channel + end for end in ("", "_2", ":b", "/b", ":", "*", " ", "_", ":in")]
    channels += [channel.ljust(79, "x") + end for end in "12"]
    channels += [channel.upper(), "ä" * 80]
    networks = [await join(on) for on in channels]
    for on, network in zip(channels, networks, strict=True):
        await network.announce("host", "same", on.encode(), ttl=30)
        await network.offer("work", on.encode())
        others = {other.address: b"" for other in networks if other is not network}
        assert set(await network.send(others)) == set(others)
        await network.send({network.address: on.encode()})
    for on, network in zip(channels, networks, strict=True):
        assert [who.body for who in await network.present("host")] == [on.encode()]
        assert [claim.body for claim in await network.claim(["work"], most=99)] == [on.encode()]
        assert await network.receive() == [on.encode()]
        await network.take_leave("host", "same")


APART = ("", "_2", ":b", "/b", "long")
WAVES, EACH = 4, 5  # a hundred peers in all
WITHIN = 2.0  # seconds in which those of a wave join


async def test_a_hundred_who_join_within_two_seconds_of_each_other_all_find_their_own(
    server, channel
):
    """Fault 16: each finds those of its channel, whoever came first, and hears nobody else."""
    chance = random.Random(16)

    async def join(on: str, ended: asyncio.Barrier) -> None:
        await asyncio.sleep(chance.uniform(0, WITHIN))
        async with server.open_network(on) as network:
            await network.announce("host", network.address, on.encode(), ttl=30)
            async with asyncio.timeout(WITHIN + 5):
                while len(found := await network.present("host")) < EACH:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                others = [one.name for one in found if one.name != network.address]
                assert not await network.send(dict.fromkeys(others, on.encode()))
                got = await received(network, EACH - 1)
            await ended.wait()  # nobody leaves before all have heard all
            assert {one.body for one in found} == {on.encode()}
            assert got == [on.encode()] * (EACH - 1)
            await network.take_leave("host", network.address)

    for _ in range(WAVES):
        async with asyncio.TaskGroup() as peers:
            for end in APART:
                on = channel.ljust(80, "x") if end == "long" else channel + end
                ended = asyncio.Barrier(EACH)
                for _ in range(EACH):
                    peers.create_task(join(on, ended))
