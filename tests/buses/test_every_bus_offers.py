"""The contract of every bus between processes: offers, claims and leases."""

import asyncio
import time
from contextlib import suppress

from pipecat_workers_cli.buses.network import LEASE, Claim
from tests.buses.asking import until_it_gives


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
    assert time.monotonic() - began < 1  # a lease would run for three
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
