"""Tells watchers elsewhere on a shared bus what happens in a session.

The session looks once a second who watches, and is never held up: what can't be sent to a
watcher soon enough is left out, and counted.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress

import msgspec
from loguru import logger

from pipecat_workers_cli.buses.post import Post
from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.buses.waits import repeat
from pipecat_workers_cli.call.distribution import Distribution, open_distribution
from pipecat_workers_cli.call.hosts import Hosts
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.options import LINKS, LinkOptions
from pipecat_workers_cli.session.bus_attached import WATCHED, WATCHER
from pipecat_workers_cli.session.messages import AnyRequest, Told, Watch
from pipecat_workers_cli.session.outlet import encode_line
from pipecat_workers_cli.session.watchers import Watchers
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap
from pipecat_workers_cli.wire.letter import Letter
from pipecat_workers_cli.wire.limits import MESSAGE_BYTES

LOOK_EVERY = 1.0  # seconds
MOST = 16  # watchers that one session tells
BACKLOG = 1_048_576  # bytes that wait for one watcher; calls' own letters wait beside them


class BusOutlet:
    """Writes to one watcher's inbox."""

    def __init__(self, post: Post, address: str) -> None:
        """Begin with nothing written.

        Args:
            post: This process's.
            address: The watcher's inbox.
        """
        self._post = post
        self._address = address
        self._left_out = 0

    @property
    def is_behind(self) -> bool:
        """Whether more waits for the watcher than should."""
        return self._post.backlog(self._address) > BACKLOG

    def write(self, lines: bytes) -> None:
        """Send whole lines, or leave them out if the watcher is behind."""
        if self.is_behind or len(lines) > MESSAGE_BYTES:
            self._left_out += lines.count(b"\n")
            return
        if self._left_out:
            note = Entry(event="left_out", call="", at_ms=0, count=self._left_out)
            self._left_out = 0
            self._send(encode_line(Told(entry=note)))
        self._send(lines)

    def _send(self, lines: bytes) -> None:
        letter = Letter(call=WATCHED, worker="", epoch=0, body=lines)
        self._post.send(self._address, letter)


@asynccontextmanager
async def connected(
    bus: SharedBus | None,
    tap: Tap,
    lag: Callable[[], float],
    *,
    plan: Plan | None = None,
    links: LinkOptions = LINKS,
) -> AsyncGenerator[Distribution]:
    """Connect a session to a shared bus while the block lasts, and tell those who watch it there.

    Args:
        bus: Which one; None connects to none.
        tap: What happens in the session's calls.
        lag: Tells how late the session's event loop is, in seconds.
        plan: What its first call begins with.
        links: How workers are reached that have an `at`.

    Raises:
        PmwError: It can't be reached, or isn't what it should be.
    """
    async with open_distribution(bus, tap, plan=plan, links=links) as distribution:
        if not isinstance(distribution, Hosts):  # strangers watch nobody
            yield distribution
            return
        telling = _Telling(distribution.post, Watchers(tap, lag))
        looking = asyncio.create_task(
            repeat(telling.look, every=LOOK_EVERY), name="look for watchers"
        )
        try:
            yield distribution
        finally:
            looking.cancel()
            await asyncio.wait({looking})
            telling.close()


class _Telling:
    """Who watches now."""

    def __init__(self, post: Post, watchers: Watchers) -> None:
        self._post = post
        self._watchers = watchers
        self._told: dict[str, ExitStack] = {}
        self._full = False

    async def look(self) -> None:
        """See who comes and who is gone."""
        self._tell(await self._wanted())

    async def _wanted(self) -> dict[str, Watch]:
        wanted: dict[str, Watch] = {}
        for somebody in await self._post.network.present(WATCHER):
            with suppress(msgspec.MsgspecError):
                request = msgspec.json.decode(somebody.body, type=AnyRequest)
                if isinstance(request, Watch):
                    wanted[somebody.name] = request
        return wanted

    def _tell(self, wanted: dict[str, Watch]) -> None:
        for address in self._told.keys() - wanted.keys():
            self._told.pop(address).close()
        for address in sorted(wanted.keys() - self._told.keys()):
            if len(self._told) >= MOST:
                if not self._full:
                    logger.warning(f"{MOST} watch this session over the bus; more are not told")
                self._full = True
                return
            stack = ExitStack()
            outlet = BusOutlet(self._post, address)
            stack.enter_context(self._watchers.watching(outlet, wanted[address]))
            self._told[address] = stack

    def close(self) -> None:
        """Tell what is left to be told."""
        self._watchers.close()
        for stack in self._told.values():
            stack.close()
