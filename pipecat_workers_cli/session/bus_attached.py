"""Watches all sessions of a channel from any machine: what `bus watch --bus` is made of.

A watcher says on the bus that it is there, and what it wants; sessions send it the lines that
they would write to a watcher at their socket. Nothing of Pipecat is imported here.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec

from pipecat_workers_cli.buses.announced import announced
from pipecat_workers_cli.buses.post import open_post
from pipecat_workers_cli.buses.urls import SharedBus, open_network
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.session.messages import AnyReply, Watch
from pipecat_workers_cli.wire.letter import Letter
from pipecat_workers_cli.wire.limits import Refused

WATCHER = "watcher"
"""The kind of presence: a watcher's name is the address of its inbox."""

WATCHED = "watched"
"""The call of a letter that tells of calls; a call's id has digits in it alone."""

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

    told = msgspec.json.encode(request)
    async with open_network(bus) as network, open_post(network) as post:
        with post.taking(WATCHED, [""], take):
            async with announced(post, WATCHER, lambda: {post.address: told}):
                yield
