"""What a bench of a bus measures, and that nothing of it stays there."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL
from contextlib import asynccontextmanager

import pytest

from pipecat_workers_cli.buses.bench import run_bench
from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.errors import PmwError
from tests.program import PMW
from tests.waiting import until


def left_there(server) -> list[str]:
    """What a server has of any bench."""
    if "redis" in server.url:
        with server.client() as client:
            return [key.decode() for key in client.keys("*-bench-*")]
    return [name for (name,) in server.ask("SELECT queue_name FROM pgmq.meta") if "bench" in name]


@asynccontextmanager
async def begun(server):
    """A bench of a minute in this process, after its first round."""
    first = asyncio.Event()
    bus = SharedBus(server.url, "b")
    measuring = asyncio.create_task(
        run_bench(bus, seconds=60, rounds=None, tell=lambda *_: first.set())
    )
    try:
        async with asyncio.timeout(30):
            await first.wait()
        yield measuring
    finally:
        measuring.cancel()
        await asyncio.wait({measuring}, timeout=8)


async def test_both_ways_are_measured_in_turns_and_nothing_is_left(server):
    told = []
    bus = SharedBus(server.url, "b")
    found = await run_bench(bus, seconds=None, rounds=2, tell=lambda *done: told.append(done))
    assert [rounds for rounds, _ in told] == [1, 2]
    for speed in (found.raw, found.pmw):
        assert 0 < speed.p50_ms <= speed.p99_ms
        assert speed.frames_per_s > 0
        assert speed.lost == 0
    assert found.ratio["frames_per_s"] > 1  # for whatever waits goes in one parcel
    assert 0 < found.claim_p50_ms <= found.claim_p99_ms
    assert left_there(server) == []


@pytest.mark.parametrize(
    "server", ["pgmq", pytest.param("redis", marks=pytest.mark.long)], indirect=True
)
async def test_one_that_is_cancelled_ends_at_once_and_leaves_nothing(server):
    async with begun(server) as measuring:
        await asyncio.sleep(0.15)  # somewhere in the middle of a round
        measuring.cancel()
        await asyncio.wait({measuring}, timeout=8)
        assert measuring.cancelled()
    assert left_there(server) == []


@pytest.mark.parametrize("server", ["pgmq"], indirect=True)  # Redis forgets by itself
async def test_one_that_is_killed_leaves_no_queue(server):
    words = ("bus", "bench", "--bus", server.url, "--channel", "b", "--for", "60s")
    process = await asyncio.create_subprocess_exec(*PMW, *words, stdout=DEVNULL, stderr=DEVNULL)
    await until(lambda: len(left_there(server)) >= 6)
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    await until(lambda: not left_there(server))


@pytest.mark.parametrize("server", ["redis"], indirect=True)
async def test_a_server_that_dies_meanwhile_is_said(server):
    async with begun(server) as measuring:
        await asyncio.to_thread(server.stop)
        async with asyncio.timeout(30):
            await asyncio.wait({measuring})
    error = measuring.exception()
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, PmwError)
