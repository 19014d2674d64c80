"""What every shared bus is asked to do for `pmw doctor`, and how its times are judged."""

import secrets
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import TypeVar

from pipecat_workers_cli.buses.network import Network
from pipecat_workers_cli.checks import Check, State

SAMPLES = 7  # an odd number, so that the median is one of them
SLOW = 0.03  # seconds; what is said crosses the bus twice before a caller hears it
SKEWED = 2.0  # seconds; a reader of two logs would take the later line for the earlier

T = TypeVar("T")


async def try_out(network: Network, *, name: str) -> Check:
    """Do with a network what a host and a call do with it, on a queue of its own.

    Args:
        network: Entered.
        name: What the finding is called.

    Returns:
        Whether it carries what is sent, and in what time.

    Raises:
        PmwError: It can't be reached, or a right is missing.
    """
    took: list[float] = []
    for _ in range(SAMPLES):
        parcel = secrets.token_bytes(16)
        began = time.monotonic()
        await network.send({network.address: parcel})
        if parcel not in await network.receive():
            mend = "look at the server's log; see whether it drops what is written"
            return Check(name, State.WRONG, "what was sent did not come back", mend)
        took.append(time.monotonic() - began)
    queue = f"doctor-{network.address}"
    offer = await network.offer(queue, b"")
    claims = await network.claim([queue], most=1)
    if [claim.offer for claim in claims] != [offer]:
        mend = "look at the server's log; see whether it drops what is written"
        return Check(name, State.WRONG, "what was offered could not be claimed", mend)
    await network.settle(claims[0])
    await network.announce("doctor", network.address, b"", ttl=5)
    await network.present("doctor")
    await network.take_leave("doctor", network.address)
    return Check(name, State.OK, f"all that calls need; a message takes {_ms(median(took))}")


async def time_answers(ask: Callable[[], Awaitable[object]], *, name: str) -> Check:
    """Judge how long a server takes for an answer.

    Args:
        ask: Asks something that costs nothing.
        name: What the finding is called.
    """
    took: list[float] = []
    for _ in range(SAMPLES):
        began = time.monotonic()
        await ask()
        took.append(time.monotonic() - began)
    found = f"{_ms(median(took))} an answer, {_ms(max(took))} at most"
    if median(took) <= SLOW:
        return Check(name, State.OK, found)
    mend = "put it near the machines that talk: each word waits for it twice"
    return Check(name, State.WARNING, found, mend)


def judge_clock(*, theirs: float, before: float, after: float, name: str) -> Check:
    """Judge how far a server's clock is from this machine's.

    Args:
        theirs: The server's time, in seconds since 1970.
        before: This machine's when it was asked.
        after: This machine's when the answer was there.
        name: What the finding is called.
    """
    apart = max(before - theirs, theirs - after, 0.0)
    if apart < SKEWED:
        return Check(name, State.OK, "as here" if apart < 0.1 else f"{apart:.1f} s from here")
    way = "ahead of" if theirs > after else "behind"
    found = f"{apart:,.0f} s {way} this machine's, so times of two machines can't be compared"
    return Check(name, State.WARNING, found, "set both clocks by NTP")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
