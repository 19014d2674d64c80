"""How tests wait for what other tasks, threads or processes bring about."""

import asyncio
from collections.abc import Callable

PATIENCE = 30.0  # seconds, in which a process starts on the slowest machine


async def until(happened: Callable[[], object], *, within: float = PATIENCE) -> None:
    """Look again until something holds of which no event tells."""
    async with asyncio.timeout(within):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
