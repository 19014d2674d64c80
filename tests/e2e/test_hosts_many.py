"""Many calls over several hosts: apart from each other, never too many, and none dropped."""

import asyncio
import signal
from collections.abc import Sequence

from pipecat_workers_cli.traffic.entry import Entry
from tests.e2e.conftest import EITHER, Process
from tests.e2e.shops import Caller, Shop, until

WELCOME = "Hello."
BUSY = "I'm sorry, everybody is busy just now. Please stay on the line."
HERE = "This is the till."


async def all_hear(callers: Sequence[Caller], answer: str, *, within: float) -> None:
    await asyncio.gather(*(caller.hears(answer, within=within) for caller in callers))


def heard_by(caller: Caller) -> list[Entry]:
    """All that has happened in a call, but for who is told to be missing there, sooner or later."""
    return [entry for entry in caller.call.entries if entry.event != "error"]


@EITHER
async def test_hosts_never_take_too_many_calls_and_one_that_ends_takes_no_other_along(shop: Shop):
    words = ("clerk", "till", "--max-calls", "2")
    hosts = await asyncio.gather(shop.opened(*words), shop.opened(*words))
    await never_take_more_than_they_may(shop, hosts)
    await end_apart_from_each_other(shop, hosts)


async def never_take_more_than_they_may(shop: Shop, hosts: Sequence[Process]) -> None:
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


async def end_apart_from_each_other(shop: Shop, hosts: Sequence[Process]) -> None:
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
        async with asyncio.timeout(5):
            while sum((await shop.calls_at("clerk")).values()) != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert heard_by(stays) == before
        await stays.asks("word here", "The till heard here.")
        async with shop.callers(1) as (later,):
            await later.hears(WELCOME, within=5)

        calls = await shop.calls_at("clerk")
        (busy,) = (host for host in hosts if calls.get(host.popen.pid))
        for host in hosts:
            host.popen.send_signal(signal.SIGTERM)  # it drains, and leaves at once at the second
        await shop.told("draining", within=5)
        await stays.asks("word fine", "The till heard fine.")
        busy.popen.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(busy.popen.wait, 1) == 1


def served(caller: Caller) -> bool:
    return bool(caller.heard(WELCOME))


def waits(caller: Caller) -> bool:
    return bool(caller.heard(BUSY)) and not served(caller)


def asked_to_wait(caller: Caller) -> int:
    return sum(e.event == "bot" and e.worker == "desk" for e in caller.call.entries)


@EITHER
async def test_hosts_leave_one_by_one_and_no_call_is_dropped_nor_heard_by_another(shop: Shop):
    words = ("clerk", "till", "--drain-timeout", "0.5")
    leaving = await asyncio.gather(shop.opened(*words), shop.opened(*words))
    async with shop.callers(20) as callers:
        await all_hear(callers, WELCOME, within=20)
        asked = sum(map(asked_to_wait, callers))  # while all came at once
        last = await shop.opened("clerk", "till", "--drain-timeout", "9")
        for host in leaving:
            await callers[0].say("count")
            await callers[1].say("think")
            host.popen.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(host.popen.wait, 20) == 1  # not all over in 0.5 s
            await callers[0].hears("one two three four five six seven eight nine ten", within=5)
            await callers[1].hears("I have thought about it.", within=5)
            await all_say_their_secrets(callers, "Your word is {}.", within=5)
        for caller in callers:
            assert not caller.call.call.ended.is_set()
        assert sum(map(asked_to_wait, callers)) == asked

        last.popen.send_signal(signal.SIGTERM)
        for caller in callers:
            await caller.say("to the till")
        await all_hear(callers, HERE, within=10)
        await all_say_their_secrets(callers, "The till heard {}.", within=5)
        for caller in callers:
            await caller.call.transport.hang_up()
    assert await asyncio.to_thread(last.popen.wait, 5) == 0
    for number, caller in enumerate(callers):
        known = f"{caller.call.entries} {caller.call.context()}"
        assert [n for n in range(20) if secret_of(n) in known] == [number]


def secret_of(number: int) -> str:
    return f"secret{number:02}"


async def all_say_their_secrets(callers: Sequence[Caller], answer: str, *, within: float) -> None:
    for number, caller in enumerate(callers):
        await caller.say(f"word {secret_of(number)}")
    for number, caller in enumerate(callers):
        await caller.hears(answer.format(secret_of(number)), within=within)
