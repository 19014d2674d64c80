"""What a session tells a shared bus of its calls, for `pmw ps` anywhere to list them."""

from contextlib import AbstractAsyncContextManager

import msgspec

from pipecat_workers_cli.buses.announced import announced
from pipecat_workers_cli.buses.post import Post
from pipecat_workers_cli.buses.presence import (
    CALL,
    CALLS_LISTED,
    CallRow,
    SessionRow,
    own_name,
    own_version,
)
from pipecat_workers_cli.traffic.tap import Tap


def announcing(post: Post, tap: Tap) -> AbstractAsyncContextManager[None]:
    """Say which calls a tap sees, again and again, while the block lasts.

    Args:
        post: This process's; where its engine is dead, nothing is said.
        tap: Sees the calls.
    """
    return announced(post, CALL, lambda: {own_name(): msgspec.json.encode(session_row(tap))})


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
