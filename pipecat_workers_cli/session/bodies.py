"""Request bodies read at the door: bounded in size and time, then handed on unchanged."""

import asyncio

from starlette.types import Message, Receive


class BodyTooBigError(Exception):
    """The body has more bytes than are taken."""


class CallerGoneError(Exception):
    """The caller hung up before the body was complete."""


async def read_body(receive: Receive, *, max_bytes: int, within: float) -> bytes:
    """Read a request's whole body.

    Args:
        receive: The request's own.
        max_bytes: More than these are not read.
        within: Seconds until the last byte must be there, whatever the pace.

    Raises:
        BodyTooBigError: It is longer than `max_bytes`.
        CallerGoneError: The caller hung up.
        TimeoutError: It took longer than `within`.
    """
    body = bytearray()
    async with asyncio.timeout(within):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise CallerGoneError
            body += message.get("body", b"")
            if len(body) > max_bytes:
                raise BodyTooBigError
            if not message.get("more_body", False):
                return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives `body` once more, then what really comes next."""
    waiting = [body]  # emptied when given: an offer's request lasts as long as its call

    async def receive_again() -> Message:
        if not waiting:
            return await receive()
        return {"type": "http.request", "body": waiting.pop(), "more_body": False}

    return receive_again
