"""Whatever arrives over a link is taken or refused: nothing fails, is imported, or stays."""

import asyncio
import gc
import random
from collections import Counter
from contextlib import suppress

import psutil
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as some
from loguru import logger
from pipecat.bus.serializers import JSONMessageSerializer

from tests.fleet.fuzzing import (
    KEPT,
    SIDES,
    TAKEN,
    End,
    importing_nothing,
    messages_for,
    saved,
    seeds,
    spoil,
)

MADE, SPOILT = 600, 25_000  # lists of made-up messages for each end; spoilt messages for each
UNHURRIED = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(autouse=True)
def silence():
    logger.disable("pipecat_workers_cli")
    yield
    logger.enable("pipecat_workers_cli")


@pytest.fixture
def loop_runner():
    with asyncio.Runner() as runner:
        yield runner


def opened(runner: asyncio.Runner, side: str) -> End:
    async def open_end() -> End:
        return await End(side).open()

    return runner.run(open_end())


@pytest.mark.parametrize("side", SIDES)
def test_what_was_found_before_is_judged_as_it_was_and_imports_nothing(side, loop_runner):
    rows = saved(side)
    assert len(rows) > 20
    opened(loop_runner, side)
    for data, outcome in rows:
        end = opened(loop_runner, side)
        with importing_nothing():
            assert loop_runner.run(end.feed(data)) == outcome
    assert TAKEN in {outcome for _, outcome in rows}


def try_made_up(side: str, runner: asyncio.Runner, *, lists: int) -> Counter[str]:
    """Let an end judge made-up messages; return how often it judged how."""
    outcomes = Counter[str]()
    end = opened(runner, side)

    async def feed(several: list) -> None:
        with importing_nothing():
            for data in several:
                outcomes[await end.feed(data)] += 1

    @seed(20_240_607)
    @settings(max_examples=lists, **UNHURRIED)
    @given(some.lists(messages_for(side), min_size=25, max_size=25))
    def judge(several: list) -> None:
        runner.run(feed(several))

    judge()
    return outcomes


@pytest.mark.parametrize("side", SIDES)
def test_made_up_messages_are_taken_or_refused(side, loop_runner):
    outcomes = try_made_up(side, loop_runner, lists=4)
    assert outcomes.total() >= 4 * 25
    assert len(outcomes.keys() - {TAKEN, KEPT}) > 3


def memory() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("side", SIDES)
def test_tens_of_thousands_of_messages_fail_nothing_import_nothing_and_leave_nothing(
    side, loop_runner
):
    """Over all ends these are 160,000 messages."""
    outcomes = try_made_up(side, loop_runner, lists=MADE)
    dice, known, end = random.Random(1), seeds(side), opened(loop_runner, side)
    spoilt = Counter[str]()

    async def feed(number: int) -> None:
        with importing_nothing():
            for _ in range(number):
                spoilt[await end.feed(spoil(side, dice, known))] += 1

    loop_runner.run(feed(SPOILT // 5))
    before = memory()
    loop_runner.run(feed(SPOILT - SPOILT // 5))
    grown = memory() - before
    print(
        f"\n{side}: {outcomes.total():,} made up ({outcomes[TAKEN]:,} taken), "
        f"{spoilt.total():,} spoilt ({spoilt[TAKEN]:,} taken), "
        f"{len(outcomes | spoilt)} ways to judge, {grown / 1e6:+.1f} MB"
    )
    assert outcomes.total() + spoilt.total() >= 40_000
    assert grown < 8_000_000


def test_the_watch_over_imports_sees_what_stock_s_own_serializer_does():
    data = b'{"__type__":"colorsys.rgb_to_hsv","__data__":{}}'
    watching = pytest.raises(AssertionError, match="colorsys")
    with watching, importing_nothing(), suppress(TypeError):  # it imports it, and can't use it
        JSONMessageSerializer().deserialize(data)
