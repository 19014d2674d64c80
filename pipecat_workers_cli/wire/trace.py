"""Of which span a message is part, as it travels: W3C's `traceparent`, for tracing alone.

Nothing but spans is ever made of it. What a peer sends is one text of a fixed length, checked
like every other field; nobody is let in, held up or told anything by it.
"""

from typing import Annotated

from msgspec import Meta
from pipecat.bus import BusFrameMessage, BusMessage
from pipecat.frames.frames import Frame

LENGTH = 55  # characters: version, 16 bytes of trace, 8 of span, flags
TraceParent = Annotated[
    str,
    Meta(
        min_length=LENGTH, max_length=LENGTH, pattern="^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
    ),
]
_KEY = "pmw_traceparent"


def carry(bearer: BusMessage | Frame, traceparent: str) -> None:
    """Let a message, or the frame in it, say of which span it is part."""
    _of(bearer).__dict__[_KEY] = traceparent


def carried(bearer: BusMessage | Frame) -> str | None:
    """Return of which span a message, or the frame in it, is part; None if it doesn't say."""
    return _of(bearer).__dict__.get(_KEY)


def _of(bearer: BusMessage | Frame) -> BusMessage | Frame:
    return bearer.frame if isinstance(bearer, BusFrameMessage) else bearer
