"""Many calls over several hosts: apart from each other, never too many, and none dropped."""

import asyncio
import signal
from collections.abc import Sequence

from pipecat_workers_cli.traffic.entry import Entry
from tests.e2e.shops import Caller, Shop, until

WELCOME = "Hello."
BUSY = "I'm sorry, everybody is busy just now. Please stay on the line."
HERE = "This is the till."


async def all_hear(callers: Sequence[Caller], answer: str, *, within: float) -> None:
    await asyncio.gather(*(caller.hears(answer, within=within) for caller in callers))


def heard_by(caller: Caller) -> list[Entry]:
    """All that has happened in a call, but for who is told to be missing there, sooner or later."""
    return [entry for entry in caller.call.entries if entry.event != "error"]


async def test_a_call_that_ends_takes_no_other_along_nor_its_hosts(shop: Shop):
    host = await shop.opened("clerk", "till")
    async with shop.callers(1) as (stays,):
        await stays.hears(WELCOME, within=10)
        await stays.asks("to the till", HERE)
        before = heard_by(stays)
        async with shop.callers(2) as (polite, rude):
            await all_hear([polite, rude], WELCOME, within=10)
            await polite.say("bye")
            await asyncio.wait_for(polite.call.call.ended.wait(), 5)
            await rude.call.transport.hang_up()
            await asyncio.wait_for(rude.call.call.ended.wait(), 5)
            assert polite.call.call.reason == "the caller said goodbye"
        await shop.held("clerk", {host: 1}, within=5)
        assert heard_by(stays) == before
        await stays.asks("word here", "The till heard here.")
        async with shop.callers(1) as (later,):
            await later.hears(WELCOME, within=5)

        host.popen.send_signal(signal.SIGTERM)  # it drains, and leaves at once at the second
        await shop.told("draining", within=5)
        await stays.asks("word fine", "The till heard fine.")
        host.popen.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(host.popen.wait, 1) == 1


async def test_no_word_of_a_call_reaches_another(shop: Shop):
    await asyncio.gather(shop.opened("clerk", "till"), shop.opened("clerk", "till"))
    everything: list = []
    async with shop.callers(20, everything=everything) as callers:
        await all_hear(callers, WELCOME, within=20)
        secrets = [f"secret{number:02}" for number in range(20)]
        for caller, secret in zip(callers, secrets, strict=True):
            await caller.say(f"word {secret}")
        for caller, secret in zip(callers, secrets, strict=True):
            await caller.hears(f"Your word is {secret}.", within=10)
        for caller in callers:
            await caller.say("to the till")
        await all_hear(callers, HERE, within=10)
        for caller, secret in zip(callers, secrets, strict=True):
            await caller.say(f"word {secret} again")
        for caller, secret in zip(callers, secrets, strict=True):
            await caller.hears(f"The till heard {secret}.", within=10)
        for caller, secret in zip(callers, secrets, strict=True):
            known = f"{caller.call.entries} {caller.call.context()}"
            assert [other for other in secrets if other in known] == [secret]


async def test_hosts_never_take_more_calls_than_they_may(shop: Shop):
    hosts = await asyncio.gather(*(shop.opened("clerk", "--max-calls", "2") for _ in range(2)))
    async with shop.callers(12) as callers:
        waiting = list(callers)
        await until(lambda: sum(map(served, waiting)) == 4, waiting, within=10)
        await until(lambda: sum(map(waits, waiting)) == 8, waiting, within=4)
        for caller in filter(waits, waiting):
            told = await caller.call.until("error", worker="clerk")
            assert told.text.startswith(
                "all 2 hosts of clerk are full or draining; start another: "
            )
        while waiting:  # each that is served says goodbye, and another has its turn
            await until(lambda: any(map(served, waiting)), waiting, within=10)
            for caller in filter(served, list(waiting)):
                await caller.say("bye")
                waiting.remove(caller)
    await shop.held("clerk", dict.fromkeys(hosts, 0), within=5)
    assert shop.crowds == [2, 2]


def served(caller: Caller) -> bool:
    return bool(caller.heard(WELCOME))


def waits(caller: Caller) -> bool:
    return bool(caller.heard(BUSY)) and not served(caller)


def asked_to_wait(caller: Caller) -> int:
    return sum(e.event == "bot" and e.worker == "desk" for e in caller.call.entries)


async def test_hosts_are_restarted_one_by_one_and_no_call_is_dropped(shop: Shop):
    first, second = await asyncio.gather(
        *(shop.opened("clerk", "till", "--drain-timeout", "0.5") for _ in range(2))
    )
    async with shop.callers(20) as callers:
        await all_hear(callers, WELCOME, within=20)
        asked = sum(map(asked_to_wait, callers))  # while all came at once
        for leaving in (first, second):
            await callers[0].say("count")
            await callers[1].say("think")
            coming = await shop.opened("clerk", "till", "--drain-timeout", "9")
            leaving.popen.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(leaving.popen.wait, 20) == 1  # not all over in 0.5 s
            await callers[0].hears("one two three four five six seven eight nine ten", within=5)
            await callers[1].hears("I have thought about it.", within=5)
            for number, caller in enumerate(callers):
                await caller.say(f"word {number}")
            for number, caller in enumerate(callers):
                await caller.hears(f"Your word is {number}.", within=5)
        for caller in callers:
            assert not caller.call.call.ended.is_set()
        assert sum(map(asked_to_wait, callers)) == asked

        coming.popen.send_signal(signal.SIGTERM)
        for caller in callers:
            await caller.call.transport.hang_up()
    assert await asyncio.to_thread(coming.popen.wait, 5) == 0
