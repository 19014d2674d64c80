"""A host that dies or sleeps under calls: they go on elsewhere, each answer once, no tool twice."""

import asyncio
import signal

import pytest

from tests.e2e.conftest import EITHER
from tests.e2e.shops import Shop, until

WELCOME = "Hello."
WAIT = "One moment, please."
COUNTED = "one two three four five six seven eight nine ten"
UNKNOWN = "Nobody knows whether it was done."
CUT_OFF = "Sorry: it was cut off while a tool ran; whether that did its work is unknown"
FILLED_WITHIN, ANSWERED_WITHIN = 2.0, 8.0  # seconds from a host's death

AT_WORK = {
    "count": COUNTED,  # in the middle of its words
    "think": "I have thought about it.",  # before the first of them
    "the vault, please": "I stay: vault is not there now; go on yourself",  # handing it over
    "pay a dollar": UNKNOWN,  # a recipe's tool
    "wrap it": UNKNOWN,  # a class's own
}
"""What the clerk is at when its host is killed, and what the caller hears of it."""

TALKING, PAYING = tuple(AT_WORK)[:3], tuple(AT_WORK)[3:]

ASKED = {
    "order slow boots": CUT_OFF,  # a class without an LLM
    "expert, pay me": CUT_OFF,  # a specialist's tool
    "expert, think": "The expert has thought about it.",
}
"""The same of those who answer jobs."""

SLOW_ANSWERS = (COUNTED, "I have thought about it.", "It is done.")
"""To "count", "think" and "pay later", each of which takes more than half a second."""

EFFECTS = ("order slow boots", "expert, pay me", "pay a dollar", "wrap it")
"""What of all that has an effect, each of which is to be seen once."""


@EITHER
async def test_a_host_that_is_killed_leaves_its_calls_to_another(shop: Shop):
    clerks, experts = await asyncio.gather(
        shop.opened("clerk", "till"), shop.opened("stock", "expert")
    )
    async with shop.callers(len(AT_WORK)) as callers:
        for caller in callers:
            await caller.hears(WELCOME, within=10)
        await shop.opened("clerk", "till", "stock", "expert")  # where they are to go

        by_text = dict(zip(AT_WORK, callers, strict=True))
        for caller, text in zip(callers, ASKED, strict=False):
            await caller.say(text)
        await until(lambda: len(shop.ledger) == 2, shop.ledger, within=5)
        experts.popen.kill()
        for caller, answer in zip(callers, ASKED.values(), strict=False):
            await caller.hears(answer, within=ANSWERED_WITHIN)

        for text in (*PAYING, *TALKING):  # first what takes long, for all to be cut off at once
            await by_text[text].say(text)
            if text == PAYING[-1]:
                await until(lambda: len(shop.ledger) == 4, shop.ledger, within=3)
        await asyncio.sleep(0.3)  # a word or two
        clerks.popen.kill()
        await asyncio.gather(*(caller.hears(WAIT, within=FILLED_WITHIN) for caller in callers))
        left = ANSWERED_WITHIN - FILLED_WITHIN
        for caller, answer in zip(callers, AT_WORK.values(), strict=True):
            await caller.hears(answer, within=left)

        for number, caller in enumerate(callers):  # and on they go
            await caller.asks(f"word {number}", f"Your word is {number}.")
    assert sorted(shop.ledger) == sorted(EFFECTS)
    for caller, answer in zip(callers, AT_WORK.values(), strict=True):
        assert caller.kept(answer) == 1
        assert caller.kept("one two") == (answer == COUNTED)


@EITHER
async def test_a_host_that_was_frozen_says_nothing_stale_and_lets_go(shop: Shop):
    asleep = await shop.opened("clerk", "till")
    async with shop.callers(3) as callers:
        for caller in callers:
            await caller.hears(WELCOME, within=10)
        awake = await shop.opened("clerk", "till")
        await callers[0].say("count")
        await callers[1].say("think")
        await callers[2].say("pay later")
        await asyncio.sleep(0.5)
        asleep.popen.send_signal(signal.SIGSTOP)
        for caller, answer in zip(callers, SLOW_ANSWERS, strict=True):
            await caller.hears(answer, within=ANSWERED_WITHIN)
            await caller.asks("word fresh", "Your word is fresh.")
        before = [list(caller.call.entries) for caller in callers]
        asleep.popen.send_signal(signal.SIGCONT)
        late = [caller.call.call.main.bridge.dropped for caller in callers]
        await until(lambda: all(late), late, within=5)

        await shop.held("clerk", {asleep: 0, awake: 3}, within=5)
        for caller, told in zip(callers, before, strict=True):
            assert caller.call.entries == told
            assert sum(map(caller.kept, SLOW_ANSWERS)) == 1
            await caller.asks("word more", "Your word is more.")
    assert shop.ledger == ["pay later"]
    assert asleep.popen.poll() is None


@pytest.mark.parametrize(
    "asleep_for", [2.5, *(pytest.param(seconds, marks=pytest.mark.long) for seconds in (4.5, 10))]
)
async def test_the_only_host_may_sleep_and_go_on(shop: Shop, asleep_for):
    only = await shop.opened("clerk")
    async with shop.callers(3) as callers:
        for caller in callers:
            await caller.hears(WELCOME, within=10)
        await callers[0].say("count")
        await callers[1].say("think")
        await callers[2].say("pay later")
        await asyncio.sleep(0.5)
        only.popen.send_signal(signal.SIGSTOP)
        await asyncio.gather(*(caller.hears(WAIT, within=FILLED_WITHIN) for caller in callers))
        await asyncio.sleep(asleep_for - FILLED_WITHIN)
        only.popen.send_signal(signal.SIGCONT)
        for caller, answer in zip(callers, SLOW_ANSWERS, strict=True):
            await caller.hears(answer, within=ANSWERED_WITHIN)
            assert caller.kept(answer) == 1
        assert shop.ledger == ["pay later"]
        assert callers[0].kept("one two") == 1
        await callers[0].asks("word awake", "Your word is awake.")


@pytest.mark.long
async def test_a_job_under_way_ends_before_its_worker_moves(shop: Shop):
    await shop.opened("clerk")
    leaving = await shop.opened("stock", "expert", "--drain-timeout", "0.2")
    async with shop.callers(1) as (caller,):
        await caller.hears(WELCOME, within=10)
        await caller.asks("order boots", "ordered: order boots")
        await shop.opened("stock", "expert")
        await caller.say("order slow boots")  # four seconds of it
        await until(lambda: shop.ledger, shop.ledger, within=5)
        leaving.popen.send_signal(signal.SIGTERM)
        await caller.hears("ordered: order slow boots", within=6)
        assert await asyncio.to_thread(leaving.popen.wait, 10) == 1
        await caller.asks("order more boots", "ordered: order more boots")
    assert shop.ledger == ["order slow boots"]
