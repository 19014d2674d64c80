"""What every shared engine gives a process, on a real server of each."""

import asyncio
import random
import sys
import time
from asyncio.subprocess import PIPE
from contextlib import suppress

from pipecat_workers_cli.buses.network import LEASE, BusDown, Claim
from tests.buses.asking import received, until_it_gives, until_it_works

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


# --- offers


async def test_an_offer_is_claimed_by_one_of_several(hasten, join):
    hasten(WAIT_FOR_NEWS=0.3)
    networks = [await join() for _ in range(4)]
    waiting = [asyncio.create_task(network.claim(["work"], most=3)) for network in networks]
    await asyncio.sleep(0.1)
    offer = await networks[0].offer("work", b"\x00 what to do")
    claims = [claim for claims in await asyncio.gather(*waiting) for claim in claims]
    assert claims == [Claim("work", offer, b"\x00 what to do", 1)]


async def test_an_offer_waits_for_the_first_who_ever_looks(join):
    network = await join()
    await network.offer("work", b"waiting")
    (claim,) = await network.claim(["work"], most=1)
    assert claim.body == b"waiting"


async def test_no_more_is_claimed_than_asked_for_from_all_queues(join):
    one, other = await join(), await join()
    queues = ["handoff/greeter", "handoff/support", "handoff/third"]
    for number in range(4):
        for queue in queues:
            await one.offer(queue, b"%d" % number)
    took = [len(await one.claim(queues, most=most)) for most in (1, 2, 5)]
    assert took == [1, 2, 5]
    rest = []
    while len(rest) < 4 and (claims := await other.claim(queues, most=3)):
        assert len(claims) <= 3
        rest += claims
    assert len(rest) == 4


async def test_waiting_for_one_takes_one_of_two_that_come_at_once(join):
    one, other = await join(), await join()
    waiting = asyncio.create_task(one.claim(["a", "b"], most=1))
    await asyncio.sleep(0.1)
    await asyncio.gather(other.offer("a", b""), other.offer("b", b""))
    assert len(await waiting) == 1
    assert len(await other.claim(["a", "b"], most=2)) == 1


async def test_a_new_offer_is_claimed_within_milliseconds(join):
    one, other = await join(), await join()
    took = []
    for _ in range(20):
        waiting = asyncio.create_task(other.claim(["work"], most=1))
        await asyncio.sleep(0.02)
        began = time.perf_counter()
        await one.offer("work", b"")
        (claim,) = await waiting
        took.append(time.perf_counter() - began)
        await other.settle(claim)
    assert sorted(took)[10] < 0.02


async def test_queues_with_any_name_are_kept_apart(join):
    network = await join()
    long = "q" * 199
    queues = ["a:b", "a/b", "a b", "ä*?[", "A:B", long + "1", long + "2"]
    for queue in queues:
        await network.offer(queue, queue.encode())
    for queue in queues:
        claims = await network.claim([queue], most=9)
        assert [(claim.queue, claim.body) for claim in claims] == [(queue, queue.encode())]


async def test_a_renewed_lease_is_kept_and_another_is_lost_in_time(hasten, join):
    hasten(LEASE=0.5)
    holder, other = await join(), await join()
    for body in (b"renewed", b"dropped"):
        await holder.offer("work", body)
    held = {claim.body: claim for claim in await holder.claim(["work"], most=2)}
    began = time.monotonic()

    async def renew():
        while True:
            assert not await holder.renew([held[b"renewed"]])
            await asyncio.sleep(0.1)

    renewing = asyncio.create_task(renew())
    (lost,) = await until_it_gives(other.claim, ["work"], most=2)
    assert 0.4 < time.monotonic() - began < 0.5 + 1
    assert (lost.body, lost.number) == (b"dropped", 2)
    renewing.cancel()


async def test_an_expired_claim_is_found_behind_many_that_are_held(hasten, join):
    hasten(LEASE=0.5)
    holder, dead, other = await join(), await join(), await join()
    for _ in range(40):
        await holder.offer("work", b"held")
    held = []
    while len(held) < 40:
        held += await holder.claim(["work"], most=40 - len(held))
    await holder.offer("work", b"expired")
    await dead.claim(["work"], most=1)

    async def renew():
        while True:
            await holder.renew(held)
            await asyncio.sleep(0.1)

    renewing = asyncio.create_task(renew())
    (found,) = await until_it_gives(other.claim, ["work"], most=1)
    assert found.body == b"expired"
    renewing.cancel()


async def test_who_lost_a_claim_can_do_nothing_about_it(hasten, join):
    hasten(LEASE=0.3, WAIT_FOR_NEWS=0.2)
    late, holder = await join(), await join()
    await late.offer("work", b"")
    (old,) = await late.claim(["work"], most=1)
    (new,) = await until_it_gives(holder.claim, ["work"], most=1)
    hasten(LEASE=3.0)
    assert await late.renew([old]) == [old]
    await late.settle(old)
    await late.give_back(old)
    assert not await holder.renew([new])
    assert not await late.claim(["work"], most=1)


async def test_who_claims_again_what_it_lost_holds_the_new_claim_only(hasten, join):
    hasten(LEASE=0.3)
    network = await join()
    await network.offer("work", b"")
    (old,) = await network.claim(["work"], most=1)
    (new,) = await until_it_gives(network.claim, ["work"], most=1)
    assert new.number == 2
    assert await network.renew([old, new]) == [old]


async def test_a_lease_that_is_over_is_kept_if_nobody_else_wants_it(hasten, join):
    hasten(LEASE=0.2)
    network = await join()
    await network.offer("work", b"")
    claims = await network.claim(["work"], most=1)
    await asyncio.sleep(0.3)
    assert not await network.renew(claims)


async def test_what_is_given_back_is_claimed_at_once_and_counted_on(join):
    one, other = await join(), await join()
    await one.offer("work", b"")
    (claim,) = await one.claim(["work"], most=1)
    await one.give_back(claim)
    assert await one.renew([claim]) == [claim]
    began = time.monotonic()
    (again,) = await other.claim(["work"], most=1)
    assert (again.offer, again.number) == (claim.offer, 2)
    assert time.monotonic() - began < 0.1
    await other.give_back(again)
    (third,) = await one.claim(["work"], most=1)
    assert third.number == 3


async def test_who_waits_gets_what_another_gives_back(join):
    one, other = await join(), await join()
    await one.offer("work", b"")
    (claim,) = await one.claim(["work"], most=1)
    waiting = asyncio.create_task(other.claim(["work"], most=1))
    await asyncio.sleep(0.1)
    await one.give_back(claim)
    assert [claim.number for claim in await waiting] == [2]


async def test_a_withdrawn_offer_is_nobodys(hasten, join):
    hasten(WAIT_FOR_NEWS=0.2)
    one, other = await join(), await join()
    waiting, held = await one.offer("work", b"waiting"), await one.offer("held", b"held")
    claims = await other.claim(["held"], most=1)
    await one.withdraw("work", waiting)
    await one.withdraw("held", held)
    assert await other.renew(claims) == list(claims)
    assert not await other.claim(["work", "held"], most=2)


async def test_a_settled_offer_never_comes_back(hasten, join):
    hasten(LEASE=0.1, WAIT_FOR_NEWS=0.3)
    network = await join()
    await network.offer("work", b"")
    (claim,) = await network.claim(["work"], most=1)
    await network.settle(claim)
    await network.settle(claim)
    assert await network.renew([claim]) == [claim]
    assert not await network.claim(["work"], most=1)


async def test_a_cancelled_claim_loses_no_offer(hasten, join):
    hasten(WAIT_FOR_NEWS=0.5)
    one, other = await join(), await join()
    offered, settled = set(), set()
    for number in range(15):
        waiting = asyncio.create_task(other.claim(["work"], most=1))
        await asyncio.sleep(0.005)
        offered.add(await one.offer("work", b""))
        await asyncio.sleep(0.0001 * number)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            for claim in await waiting:
                await other.settle(claim)
                settled.add(claim.offer)
    async with asyncio.timeout(LEASE / 2):  # what was on its way to one who had gone is nobody's
        while settled < offered:
            for claim in await one.claim(["work"], most=15):
                await one.settle(claim)
                settled.add(claim.offer)
    assert settled == offered


async def test_all_leases_are_renewed_in_one_go(join):
    network = await join()
    for number in range(50):
        await network.offer(f"queue {number % 5}", b"%d" % number)
    queues = [f"queue {number}" for number in range(5)]
    claims = []
    while len(claims) < 50:
        claims += await network.claim(queues, most=50 - len(claims))
    await network.settle(claims[7])
    assert await network.renew(claims) == [claims[7]]
    assert not await network.renew([])


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
