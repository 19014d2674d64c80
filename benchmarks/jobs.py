"""How long a job takes in process: our workers beside stock Pipecat's on its own bus.

    python benchmarks/jobs.py [--check] [--jobs 300] [--rounds 15]

From asking until the answer is there, with the same payload and the same timeout: `JobsEnd`
and `Answering` on `LocalBus`, `BaseWorker` on `AsyncQueueBus`. Both run in turns, by processor
time: nothing here ever waits. Each round has fresh workers, because a stock worker leaves a
watcher in the registry with each job and gets slower by it. Then 1,000 rounds of a group of
three are asked of ours, and what they leave behind is looked at. `--check` exits with 1 if
a round trip takes more than 1.3 times the stock one, or if anything grew.
"""

import argparse
import asyncio
import gc
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import psutil
from loguru import logger
from pipecat.bus import AsyncQueueBus, BusJobRequestMessage
from pipecat.pipeline.job_context import JobGroupParams, JobParams
from pipecat.workers.base_worker import BaseWorker

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.workers.jobs import Answering, JobsEnd

CEILING = 1.3  # times the stock round trip
GROWTH = 1.0  # MiB that the last 700 of 1,000 rounds may add
ROUNDS = 1_000
MEMBERS = ("ann", "bob", "eve")
PAYLOAD = {"topic": "Should we work from home, and if so, on how many days of the week?"}
ANSWER = {"answer": "It gives people hours back that they lost on the road. " * 4}
TIMEOUT = 30.0  # seconds


class StockAsker(BaseWorker):
    """Asks."""


class StockMember(BaseWorker):
    """Answers at once."""

    async def on_job_request(self, message: BusJobRequestMessage) -> None:
        """Answer."""
        await self.send_job_response(message.job_id, ANSWER)


class Asker(JobsEnd, BaseWorker):
    """Asks."""


class Member(Answering, BaseWorker):
    """Answers at once."""

    async def answer(self, job: BusJobRequestMessage) -> dict[str, Any]:
        """Answer."""
        return ANSWER


@asynccontextmanager
async def stock() -> AsyncGenerator[BaseWorker]:
    """Run stock workers on the stock bus; gives the one that asks."""
    asker = StockAsker("asker")
    async with running([asker, *map(StockMember, MEMBERS)], AsyncQueueBus()):
        yield asker


@asynccontextmanager
async def ours() -> AsyncGenerator[BaseWorker]:
    """Run our workers on our bus; gives the one that asks."""
    asker = Asker("asker")
    async with running([asker, *map(Member, MEMBERS)], LocalBus()):
        yield asker


Opened = Callable[[], AbstractAsyncContextManager[BaseWorker]]


async def ask_one(asker: BaseWorker) -> None:
    """Ask one worker."""
    params = JobParams(payload=PAYLOAD, timeout=TIMEOUT)
    async with asker.job(MEMBERS[0], params=params) as job:
        pass
    assert job.response == ANSWER


async def ask_all(asker: BaseWorker) -> None:
    """Ask three workers at once."""
    params = JobGroupParams(payload=PAYLOAD, timeout=TIMEOUT)
    async with asker.job_group(*MEMBERS, params=params) as group:
        pass
    assert len(group.responses) == len(MEMBERS)


ASKED = {"one worker": ask_one, "group of three": ask_all}


async def time_jobs(opened: Opened, ask: Callable[[BaseWorker], Any], *, jobs: int) -> float:
    """Return the ms of processor time that one job took."""
    async with opened() as asker:
        for _ in range(20):  # warms up
            await ask(asker)
        began = time.process_time()
        for _ in range(jobs):
            await ask(asker)
        return (time.process_time() - began) / jobs * 1000


async def compare(
    ask: Callable[[BaseWorker], Any], *, jobs: int, rounds: int
) -> tuple[float, float, float]:
    """Return ms of stock and of ours, and the median of the rounds' ratios."""
    times: dict[Opened, list[float]] = {stock: [], ours: []}
    for number in range(rounds):
        order: Sequence[Opened] = (stock, ours) if number % 2 else (ours, stock)
        for opened in order:
            times[opened].append(await time_jobs(opened, ask, jobs=jobs))
    ratios = [b / a for a, b in zip(times[stock], times[ours], strict=True)]
    theirs, own = (statistics.median(times[opened]) for opened in (stock, ours))
    return theirs, own, statistics.median(ratios)


def resident() -> float:
    """Return how many MiB of this process are in memory."""
    return psutil.Process().memory_info().rss / 2**20


async def growth() -> tuple[list[float], set[int], int]:
    """Ask 1,000 groups of ours.

    Returns:
        MiB resident at ten even steps, the numbers of tasks seen there, jobs left open.
    """
    memory: list[float] = []
    tasks: set[int] = set()
    async with ours() as asker:
        for number in range(ROUNDS):
            await ask_all(asker)
            if (number + 1) % (ROUNDS // 10) == 0:
                gc.collect()
                memory.append(resident())
                tasks.add(len(asyncio.all_tasks()))
        return memory, tasks, len(asker.job_groups)


def main() -> None:
    """Measure, print, and check if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help=f"exit 1 above {CEILING}")
    parser.add_argument("--jobs", type=int, default=300, help="a round")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="ERROR")

    print("ms of processor time a job; ratio: median of the rounds")
    print(f"{'':16}{'stock':>9}{'ours':>9}{'ratio':>8}")
    worst = 0.0
    for what, ask in ASKED.items():
        theirs, own, ratio = asyncio.run(compare(ask, jobs=options.jobs, rounds=options.rounds))
        print(f"{what:16}{theirs:>9.3f}{own:>9.3f}{ratio:>8.3f}", flush=True)
        worst = max(worst, ratio)
    memory, tasks, left = asyncio.run(growth())
    grew = memory[-1] - memory[2]
    print(f"{ROUNDS} groups of ours: MiB {' '.join(f'{level:.1f}' for level in memory)}")
    print(f"tasks {sorted(tasks)}, jobs left {left}, grew by {grew:.2f} MiB after the first 300")
    print(f"highest ratio: {worst:.3f} (ceiling {CEILING})")
    if options.check and (worst > CEILING or grew > GROWTH or len(tasks) > 1 or left):
        sys.exit(1)


if __name__ == "__main__":
    main()
