"""One client's way out of a session's socket: never waited for, bounded, told when dropped."""

import asyncio
from collections import deque
from contextlib import suppress

import msgspec
from loguru import logger

from pipecat_workers_cli.session.messages import Refused, Reply

BACKLOG = 2_097_152  # bytes kept for one client beyond what the kernel keeps
STALLED = 10.0  # seconds in which a client takes nothing of what is there for it
LINGER = 60.0  # seconds in which one that was dropped may come back and hear of it

encode = msgspec.json.Encoder(enc_hook=str).encode  # a tool's arguments may be of any type


def encode_line(reply: Reply) -> bytes:
    """Return a reply as the line that is sent."""
    return encode(reply) + b"\n"


class Outlet:
    """Writes to a client at once where it can, and otherwise keeps so much and no more.

    Attributes:
        dropped: Set once the client has been given up, because it does not read.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        """Take over what is written to a connection."""
        self.dropped = asyncio.Event()
        self._writer = writer
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._pumping: asyncio.Task[None] | None = None
        writer.transport.set_write_buffer_limits(high=0)  # so that draining is being done

    @property
    def is_behind(self) -> bool:
        """Whether something waits for the client."""
        return self._pumping is not None

    async def caught_up(self) -> None:
        """Wait until nothing waits for the client, or it is given up."""
        if self._pumping is not None:
            await asyncio.wait({self._pumping})

    def send(self, reply: Reply) -> None:
        """Write a reply."""
        self.write(encode_line(reply))

    def write(self, lines: bytes) -> None:
        """Write whole lines; a client for whom too much waits is dropped instead."""
        transport = self._writer.transport
        if self.dropped.is_set() or transport.is_closing():
            return
        if self._pumping is None:
            self._writer.write(lines)
            if transport.get_write_buffer_size():
                self._pumping = asyncio.create_task(self._pump(), name="write to a client")
        elif self._size + len(lines) > BACKLOG:
            self._drop()
        else:
            self._waiting.append(lines)
            self._size += len(lines)

    async def _pump(self) -> None:
        """Write what waits as the client takes it, until nothing does."""
        try:
            while True:
                async with asyncio.timeout(STALLED):
                    await self._writer.drain()
                if not self._waiting:
                    return
                lines = self._waiting.popleft()
                self._size -= len(lines)
                self._writer.write(lines)
        except TimeoutError:
            if not self.dropped.is_set():
                self._drop()
            await self._linger()
        except ConnectionError:
            self._writer.transport.abort()
        finally:
            self._pumping = None

    async def _linger(self) -> None:
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(LINGER):
                await self._writer.drain()
                self._writer.writelines(self._waiting)
                await self._writer.drain()

    def _drop(self) -> None:
        """Keep nothing for the client any more but the word that it was dropped."""
        logger.info("a client of the session's socket does not read and was dropped")
        what = "the session dropped this client, which did not read what came"
        self._waiting.clear()
        self._waiting.append(encode_line(Refused(what=what, mend="attach again")))
        self._size = 0
        self.dropped.set()

    async def close(self, within: float) -> None:
        """Let the client take what is left, for so many seconds, then let go of it."""
        try:
            if self._pumping is not None:
                limit = LINGER if self.dropped.is_set() else within
                await asyncio.wait({self._pumping}, timeout=limit)
        finally:
            if self._pumping is None:
                self._writer.close()
            else:
                self._pumping.cancel()
                self._writer.transport.abort()
