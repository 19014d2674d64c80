"""Saying on a shared bus who is there, again and again, and that they are gone."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from pipecat_workers_cli.buses.post import Post
from pipecat_workers_cli.buses.presence import ANNOUNCE_EVERY, PRESENT_FOR
from pipecat_workers_cli.buses.waits import repeat
from pipecat_workers_cli.errors import PmwError

LEAVE_WITHIN = 1.0  # seconds


@asynccontextmanager
async def announced(
    post: Post, kind: str, said: Callable[[], Mapping[str, bytes]]
) -> AsyncGenerator[None]:
    """Say who is there while the block lasts, and take leave of the bus at its end.

    Args:
        post: This process's; where its engine is dead, nothing is said.
        kind: What they are, as `Network.announce` takes it.
        said: Returns their names, and what each says of itself now.
    """

    async def say() -> None:
        for name, body in said().items():
            await post.network.announce(kind, name, body, ttl=PRESENT_FOR)

    telling = asyncio.create_task(repeat(say, every=ANNOUNCE_EVERY), name=f"announce a {kind}")
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.wait({telling})
        if post.failure is None:
            with suppress(PmwError, TimeoutError):
                async with asyncio.timeout(LEAVE_WITHIN):
                    for name in said():
                        await post.network.take_leave(kind, name)
