"""Watches all sessions of a channel from any machine: what `bus watch --bus` is made of.

A watcher says on the bus that it is there, and what it wants; sessions send it the lines that
they would write to a watcher at their socket. Nothing of Pipecat is imported here.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec

from pipecat_workers_cli.buses.post import Post, open_post
from pipecat_workers_cli.buses.presence import ANNOUNCE_EVERY, PRESENT_FOR
from pipecat_workers_cli.buses.urls import SharedBus, open_network
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.session.messages import AnyReply, Watch
from pipecat_workers_cli.wire.letter import Letter
from pipecat_workers_cli.wire.limits import Refused

WATCHER = "watcher"
"""The kind of presence: a watcher's name is the address of its inbox."""

WATCHED = "watched"
"""The call of a letter that tells of calls; a call's id has digits in it alone."""

LEAVE_WITHIN = 1.0  # seconds

Hear = Callable[[str, AnyReply], None]
"""Is given a session's address and what it tells; must not raise."""

_decode = msgspec.json.Decoder(AnyReply).decode


@asynccontextmanager
async def watching(bus: SharedBus, request: Watch, hear: Hear) -> AsyncGenerator[None]:
    """Be told by every session on a channel what happens in it, while the block lasts.

    Whoever holds this process's event loop up is told no more after a few seconds, until it
    goes on: what the sessions leave out then, they count.

    Args:
        bus: Which engine, which channel.
        request: What is wanted.
        hear: Is told.

    Raises:
        ConfigurationError: Nobody there would know of watchers.
        PmwError: The bus can't be reached, or isn't what it should be.
    """
    if bus.kind.stock:
        what = "stock Pipecat's processes know of no watchers"
        raise ConfigurationError(what, mend="watch a session of yours there: leave --bus out")

    def take(sender: str, letter: Letter) -> None:
        for line in letter.body.splitlines():
            try:
                reply = _decode(line)
            except msgspec.MsgspecError:
                raise Refused("it tells a watcher what this pmw doesn't understand") from None
            hear(sender, reply)

    async with open_network(bus) as network, open_post(network) as post:
        with post.taking(WATCHED, [""], take):
            announcing = asyncio.create_task(_announce(post, request), name="announce a watcher")
            try:
                yield
            finally:
                announcing.cancel()
                await asyncio.wait({announcing})
                await _take_leave(post)


async def _announce(post: Post, request: Watch) -> None:
    body = msgspec.json.encode(request)
    while True:
        with suppress(PmwError):  # the post tells of it
            await post.network.announce(WATCHER, post.address, body, ttl=PRESENT_FOR)
        await asyncio.sleep(ANNOUNCE_EVERY)


async def _take_leave(post: Post) -> None:
    if post.failure is None:
        with suppress(PmwError, TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN):
                await post.network.take_leave(WATCHER, post.address)
