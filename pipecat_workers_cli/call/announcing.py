"""What a session tells a shared bus of its calls, for `pmw ps` anywhere to list them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import msgspec

from pipecat_workers_cli.buses.post import Post
from pipecat_workers_cli.buses.presence import (
    ANNOUNCE_EVERY,
    CALL,
    CALLS_LISTED,
    PRESENT_FOR,
    CallRow,
    SessionRow,
    own_name,
    own_version,
)
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.traffic.tap import Tap

LEAVE_WITHIN = 1.0  # seconds


@asynccontextmanager
async def announcing(post: Post, tap: Tap) -> AsyncGenerator[None]:
    """Say which calls a tap sees, again and again, while the block lasts.

    Args:
        post: This process's; where its engine is dead, nothing is said.
        tap: Sees the calls.
    """
    telling = asyncio.create_task(_tell(post, tap), name="announce calls")
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.wait({telling})
        if post.failure is None:
            with suppress(PmwError, TimeoutError):
                async with asyncio.timeout(LEAVE_WITHIN):
                    await post.network.take_leave(CALL, own_name())


async def _tell(post: Post, tap: Tap) -> None:
    while True:
        with suppress(PmwError):  # the post tells of it
            body = msgspec.json.encode(session_row(tap))
            await post.network.announce(CALL, own_name(), body, ttl=PRESENT_FOR)
        await asyncio.sleep(ANNOUNCE_EVERY)


def session_row(tap: Tap) -> SessionRow:
    """Return what is said of a session now.

    Args:
        tap: Sees its calls.
    """
    calls = tap.snapshot().calls
    return SessionRow(
        session=own_name(),
        version=own_version(),
        calls=tuple(
            CallRow(
                call=call.call,
                recipe=call.recipe,
                hash=call.hash,
                worker=call.active[0] if call.active else None,
                turn=call.turns,
                age=call.age,
            )
            for call in calls[:CALLS_LISTED]
        ),
        unlisted=max(0, len(calls) - CALLS_LISTED),
    )
