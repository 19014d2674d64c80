"""Stands between a client and a server as a network does, which at times says nothing at all."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Tunnel:
    """Carries bytes while it is open; while it is silent they wait, and so do new connections.

    Attributes:
        url: How the server is reached through it.
        open: Whether it carries.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.open = asyncio.Event()
        self.open.set()
        self._there = urlsplit(url)

    async def serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        await self.open.wait()
        server, there = await asyncio.open_connection(self._there.hostname, self._there.port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(client, there))
                both.create_task(self._carry(server, back))
        except* OSError:
            pass
        finally:
            there.close()
            back.close()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while piece := await source.read(65_536):
            await self.open.wait()
            target.write(piece)
            await target.drain()
        target.close()


@asynccontextmanager
async def open_tunnel(url: str) -> AsyncGenerator[Tunnel]:
    """Reach the server at a URL through a tunnel for as long as the block lasts."""
    tunnel = Tunnel(url)
    listener = await asyncio.start_server(tunnel.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    parts = urlsplit(url)
    tunnel.url = parts._replace(netloc=f"{parts.hostname}:{port}").geturl()
    try:
        yield tunnel
    finally:
        tunnel.open.set()
        listener.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(listener.wait_closed(), 1)
