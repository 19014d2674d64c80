"""How long to wait for an engine: for an answer, after a failure, until it is asked again."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from loguru import logger

from pipecat_workers_cli.buses.network import Claim
from pipecat_workers_cli.errors import PmwError

FIRST_BACKOFF, LONGEST_BACKOFF = 0.05, 0.8  # seconds; doubled in between, with jitter


@asynccontextmanager
async def answered_within(seconds: float) -> AsyncGenerator[None]:
    """Limit how long the block may wait for an answer.

    By as much as the event loop was late then, it may wait longer: an overloaded process is no
    sign that an engine is dead, and what it answered may have lain there all the while.

    Args:
        seconds: For the whole block.

    Raises:
        TimeoutError: They are over, and no answer is here.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    async with asyncio.timeout(None) as limit:

        def is_due() -> None:
            late = min(loop.time() - until, seconds)
            limit.reschedule(
                loop.time() + late
            )  # a round later at least, which reads what is there

        due = loop.call_at(until, is_due)
        try:
            yield
        finally:
            due.cancel()


async def claimed(
    claiming: Coroutine[Any, Any, Sequence[Claim]],
    give_back: Callable[[Claim], Awaitable[None]],
    *,
    within: float,
) -> Sequence[Claim]:
    """Return what is claimed; cancelled meanwhile, give it back.

    Args:
        claiming: Asks the engine, which may be about to answer when nobody waits any more.
        give_back: Lets another claim it.
        within: Seconds for the answer then, and for giving back.
    """
    asked = asyncio.create_task(claiming, name="claim")
    try:
        return await asyncio.shield(asked)
    except asyncio.CancelledError:
        with suppress(TimeoutError, PmwError):
            async with asyncio.timeout(within):
                for claim in await asked:
                    await give_back(claim)
        raise


class Backoff:
    """How long to wait after a failure: longer each time, and not all at the same moment."""

    def __init__(self, first: float = FIRST_BACKOFF, longest: float = LONGEST_BACKOFF) -> None:
        """Begin with the shortest.

        Args:
            first: Seconds to wait at most after the first failure.
            longest: Seconds to wait at most after any.
        """
        self._first = first
        self._longest = longest
        self.reset()

    def reset(self) -> None:
        """Wait but a moment the next time."""
        self._next = self._first

    def next(self) -> float:
        """Return the seconds to wait now; the next time it is longer."""
        seconds = self._next * random.uniform(0.5, 1.0)  # noqa: S311
        self._next = min(2 * self._next, self._longest)
        return seconds

    async def wait(self) -> None:
        """Wait, and longer the next time."""
        await asyncio.sleep(self.next())


async def repeat(work: Callable[[], Awaitable[None]], *, every: float) -> None:
    """Do something that an engine is asked for, again and again until cancelled.

    Args:
        work: What is done; that an engine can't be reached then is told by others.
        every: Seconds in between.
    """
    told = False
    while True:
        try:
            await work()
        except PmwError:
            pass
        except Exception as error:  # whatever it is: what ends here is not begun again
            if not told:
                task = asyncio.current_task()
                what = task.get_name() if task else "it"
                logger.opt(exception=error).warning(
                    f"{what}: {type(error).__name__}, and tried again"
                )
            told = True
        await asyncio.sleep(every)
