"""Calls whose workers are hosted elsewhere, over an engine that can't always be reached."""

import asyncio
import gc
import os
import time
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.placement import open_distribution
from pipecat_workers_cli.traffic import tap
from tests.buses.asking import until_true
from tests.buses.tunnel import open_tunnel
from tests.call.conftest import open_words_call
from tests.e2e.fleet import resident
from tests.fleet.conftest import hosting

BACK_WITHIN = 5.0  # seconds from the engine's return to an answer
TICK = 0.01  # seconds
QUESTION, ANSWER = "How much is the tornado kit?", "$199"


@asynccontextmanager
async def timed():
    """Measure by how many seconds the event loop was ever late; given as a list of one."""
    worst = [0.0]

    async def measure() -> None:
        while True:
            due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            worst[0] = max(worst[0], time.monotonic() - due)

    measuring = asyncio.create_task(measure())
    try:
        yield worst
    finally:
        measuring.cancel()


@pytest.mark.parametrize(
    ("silent", "most"),
    [
        (4.5, 0.5),  # beside other tests a process waits as long for a processor
        pytest.param(60.0, 0.1, marks=pytest.mark.long),
    ],
)
async def test_a_silent_network_holds_up_nothing_and_is_outlived(redis, silent, most):
    channel = f"test_{uuid4().hex[:8]}"
    async with (
        open_tunnel(redis.url) as tunnel,
        hosting(bus := SharedBus(tunnel.url, channel), "greeter", "support") as host,
        open_distribution(bus) as distribution,
        open_words_call("handoff", distribution=distribution, idle_timeout=300) as call,
    ):
        await call.opened()
        async with timed() as lag:
            tunnel.open.clear()
            await asyncio.sleep(0.2)
            await call.transport.send_turn(QUESTION)
            await call.until("bot", worker="acme")  # who asks for patience
            await asyncio.sleep(silent)
            assert host.deaf
            tunnel.open.set()
            back = time.monotonic()
            answer = await call.until("bot", worker="support")
            assert time.monotonic() - back < BACK_WITHIN
        assert lag[0] < most
        assert ANSWER in answer.text
        happened = await call.say("And the paint?")
    assert [entry.event for entry in happened] == ["user", "bot"]
    answers = [entry.text for entry in call.entries if ANSWER in str(entry.text)]
    assert len(answers) == 1


@pytest.mark.parametrize(
    "calls", [50, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
async def test_calls_one_after_another_leave_nothing_behind(redis, calls, monkeypatch):
    monkeypatch.setattr(tap, "KEPT_FOR", 0.5)  # what a host remembers of calls to show them
    bus = SharedBus(redis.url, f"test_{uuid4().hex[:8]}")
    first = calls // 5  # after which all is loaded that ever will be

    async def hold_call() -> None:
        async with open_words_call("handoff", distribution=distribution) as call:
            await call.opened()
            assert ANSWER in (await call.say(QUESTION))[-1].text

    def kept() -> tuple:
        post = distribution.post
        return (
            {task.get_name() for task in asyncio.all_tasks()},
            redis.stored(bus.channel),
            (len(post._takers), len(post._outboxes), dict(post._peers), dict(post._heard_at)),
            (len(host.held), len(host._post._takers), len(host._post._outboxes)),
            dict(host._post._peers),
        )

    async with hosting(bus, "greeter", "support") as host, open_distribution(bus) as distribution:
        for _ in range(first):
            await hold_call()
        await until_true(lambda: not host.held)
        await asyncio.sleep(1)
        began, memory = kept(), resident_now()
        for _ in range(calls - first):
            await hold_call()
        await until_true(lambda: not host.held and kept() == began)
        grown = resident_now() - memory
        print(f"{calls} calls: {grown / 1e6:.1f} MB more than after {first}")
        assert host.counts.claims == 2 * calls
    assert grown < 20e6
    with redis.client() as client:
        left = redis.stored(bus.channel)
        assert {client.xlen(key) for key in left if ":offers:" in key} == {0}
        assert not any(":in:" in key for key in left)


def resident_now() -> int:
    gc.collect()
    return resident(os.getpid())
