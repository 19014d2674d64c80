"""Stands between a client and Postgres as a pooler does, and counts what is asked."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

NOTIFICATION = b"A"  # from the server
PARSE, EXECUTE, QUERY = b"P", b"E", b"Q"  # from the client
ASKS_FOR_TLS = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


class Relay:
    """Carries every message but notifications, if told so.

    Attributes:
        url: How it is reached.
        asked: How many messages of each type came from clients.
        prepared: The names of statements that clients prepared; an unnamed one is not kept.
    """

    def __init__(self, path: str, *, notifications: bool) -> None:
        self._path = path
        self._notifications = notifications
        self.url = ""
        self.asked = Counter[bytes]()
        self.prepared: set[bytes] = set()

    async def serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        server, there = await asyncio.open_unix_connection(self._path)
        try:
            # The first message has no type. There is no TLS here, whoever asks for it.
            while (first := await _message(client)) == ASKS_FOR_TLS:
                back.write(b"N")
            there.write(first)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(client, there, self._from_client))
                both.create_task(self._carry(server, back, self._from_server))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            there.close()
            back.close()

    async def _carry(self, source, target, passes) -> None:
        while True:
            kind = await source.readexactly(1)
            message = await _message(source)
            if passes(kind, message[4:]):
                target.write(kind + message)
                await target.drain()

    def _from_client(self, kind: bytes, body: bytes) -> bool:
        self.asked[kind] += 1
        if kind == PARSE:
            self.prepared.add(body.partition(b"\0")[0])
        return True

    def _from_server(self, kind: bytes, body: bytes) -> bool:
        return self._notifications or kind != NOTIFICATION


async def _message(source: asyncio.StreamReader) -> bytes:
    length = await source.readexactly(4)
    return length + await source.readexactly(int.from_bytes(length) - 4)


@asynccontextmanager
async def open_relay(server, *, notifications: bool = True) -> AsyncGenerator[Relay]:
    """Relay to a `PostgresServer` for as long as the block lasts."""
    relay = Relay(server.socket, notifications=notifications)
    listener = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    relay.url = f"postgresql://postgres@{host}:{port}/{server.database}"
    try:
        yield relay
    finally:
        listener.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(listener.wait_closed(), 1)
