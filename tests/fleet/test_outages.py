"""Calls whose workers are hosted elsewhere, over an engine that can't always be reached."""

import asyncio
import gc
import os
import time
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.call.distribution import open_distribution
from pipecat_workers_cli.traffic import tap
from pipecat_workers_cli.traffic.tap import Tap
from tests.buses.tunnel import open_tunnel
from tests.call.conftest import WordsCall, open_words_call
from tests.e2e.fleet import resident
from tests.fleet.conftest import hosting
from tests.waiting import until

BACK_WITHIN = 5.0  # seconds from the engine's return to an answer
TICK = 0.01  # seconds
DONE, FAILED = "The highest of the latest readings", "that didn't work"
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
async def test_a_silent_network_holds_up_nothing_and_is_outlived(server, silent, most):
    channel = f"test_{uuid4().hex[:8]}"
    async with (
        open_tunnel(server.url) as tunnel,
        hosting(bus := SharedBus(tunnel.url, channel), "greeter", "support") as host,
        open_distribution(bus, Tap()) as distribution,
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
    ("server", "away", "empty"),
    [
        ("redis", 0.5, True),
        ("redis", 2.0, False),
        *(
            pytest.param("pgmq", away, empty, marks=pytest.mark.long)
            for away in (0.5, 2.0, 8.0)
            for empty in (False, True)
        ),
    ],
    indirect=["server"],
)
async def test_a_job_that_is_asked_for_while_the_engine_is_dead_is_done_when_it_is_back(
    server, away, empty
):
    bus = SharedBus(server.url, f"test_{uuid4().hex[:8]}")
    async with (
        hosting(bus, "operator", "controller", recipe="sensor"),
        open_distribution(bus, Tap()) as distribution,
        open_words_call("sensor", distribution=distribution) as call,
    ):
        await call.opened()
        assert (await call.say("What's the temperature?"))[-1].event == "bot"
        await asyncio.to_thread(server.kill)
        await call.transport.send_turn("What was the highest?")
        await asyncio.sleep(away)
        await asyncio.to_thread(server.start, empty=empty)
        async with asyncio.timeout(BACK_WITHIN):
            while not outcome_in(call):  # noqa: ASYNC110  # nothing tells of a text
                await asyncio.sleep(TICK)
            while outcome_in(call) == FAILED:  # the engine forgot who held it, while a tool ran
                await call.say("What was the highest?")
    assert outcome_in(call) == DONE


def outcome_in(call: WordsCall) -> str | None:
    """Return which of the two outcomes the caller was told last, if any."""
    told = [str(entry.text) for entry in call.entries if entry.event == "bot"]
    found = [outcome for text in told for outcome in (DONE, FAILED) if outcome in text]
    return found[-1] if found else None


@pytest.mark.parametrize(
    "server", ["redis", pytest.param("pgmq", marks=pytest.mark.long)], indirect=True
)
@pytest.mark.parametrize(
    "calls", [50, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
async def test_calls_one_after_another_leave_nothing_behind(server, calls, monkeypatch):
    monkeypatch.setattr(tap, "KEPT_FOR", 0.5)  # what a host remembers of calls to show them
    bus = SharedBus(server.url, f"test_{uuid4().hex[:8]}")
    first = calls // 5  # after which all is loaded that ever will be

    async def hold_call() -> None:
        async with open_words_call("handoff", distribution=distribution) as call:
            await call.opened()
            assert ANSWER in (await call.say(QUESTION))[-1].text

    def kept() -> tuple:
        post = distribution.post
        return (
            {task.get_name() for task in asyncio.all_tasks()},
            server.stored(bus.channel),
            (len(post._takers), len(post._outboxes), dict(post._peers), dict(post._heard_at)),
            (len(host.held), len(host._post._takers), len(host._post._outboxes)),
            dict(host._post._peers),
        )

    async with (
        hosting(bus, "greeter", "support") as host,
        open_distribution(bus, Tap()) as distribution,
    ):
        for _ in range(first):
            await hold_call()
        await until(lambda: not host.held)
        await asyncio.sleep(1)
        began, memory = kept(), resident_now()
        for _ in range(calls - first):
            await hold_call()
        await until(lambda: not host.held and kept() == began)
        grown = resident_now() - memory
        print(f"{calls} calls: {grown / 1e6:.1f} MB more than after {first}")
        assert host.counts.claims == 2 * calls
    assert grown < 20e6
    assert server.offered(bus.channel) == 0
    assert server.inboxes(bus.channel) == []


def resident_now() -> int:
    gc.collect()
    return resident(os.getpid())
