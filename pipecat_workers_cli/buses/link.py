"""One WebSocket between a call and a worker of it elsewhere, which carries letters both ways.

The call's end opens it and says first of all which worker it wants, by an `Offer`; all that
follows are parcels. Over each link goes a `Post` of its own, and with the link ends all that
was said over it: another link is another process, as far as a call knows.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.datastructures import Headers
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
    ProxyError,
)
from websockets.http11 import Response
from websockets.typing import Subprotocol

from pipecat_workers_cli.addresses import shown_url
from pipecat_workers_cli.buses.outbox import Bounds
from pipecat_workers_cli.buses.pace import Pace
from pipecat_workers_cli.buses.post import Counts, Post
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import LinkOptions, Wire
from pipecat_workers_cli.wire.limits import MESSAGE_BYTES
from pipecat_workers_cli.wire.notice import Offer, encode_notice

if TYPE_CHECKING:  # it brings Pipecat, which `pmw doctor` does without
    from pipecat_workers_cli.wire.stock import StockCodec

VERSION = 1  # of all that is said over a link; another is refused before anything is
SUBPROTOCOL = Subprotocol(f"pmw.{VERSION}")
WORKER, MOST_BYTES = "Pmw-Worker", "Pmw-Max-Message-Bytes"
"""Headers by which either end says which worker it is about, and how much it takes at once."""

CALLERS_END, WORKERS_END = "call", "worker"
"""The addresses of a link's two ends."""

DEFAULT_BYTES = 1_048_576  # of one message, where nobody says anything else
LEAST_BYTES = 65_536  # of one message; a conversation of a few minutes
OPEN_WITHIN = 5.0  # seconds for a connection, TLS and the handshake
CLOSE_WITHIN = 1.0  # seconds for the other end to close, too
PING_EVERY, PONG_WITHIN = 2.0, 6.0  # seconds; a lost packet is sent again within three
QUEUE = 16  # messages read ahead; beyond them TCP holds the sender up
WAITING = 4_194_304  # bytes that wait for a reader that is slow
REFUSALS = 100  # over one link, until it is closed
MIND_EVERY = 0.5  # seconds
LETTERS_PER_SECOND, BYTES_PER_SECOND = 20_000, 33_554_432  # twenty calls' audio, and a burst


class Code(IntEnum):
    """Why a link was closed, as WebSocket closes say it.

    Those from 4000 are ours: the digits after it are HTTP's for the like.
    """

    DONE = 1000
    LEAVING = 1012
    FULL = 1013
    GARBAGE = 4400
    UNKNOWN_WORKER = 4404
    IDLE = 4408


class LinkRefused(PmwError):
    """A link could not be opened; it may be possible later."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where a worker is that runs elsewhere, and what opens the way there.

    Attributes:
        worker: Its name there.
        url: `ws://…` or `wss://…`.
        token: Sent as `Authorization: Bearer …`; None sends none.
        options: What was typed besides.
    """

    worker: str
    url: str
    token: str | None
    options: LinkOptions

    @property
    def shown(self) -> str:
        """Its URL as it may be shown."""
        return shown_url(self.url)

    @property
    def mend(self) -> str:
        """What to do where nothing is that speaks as this end does."""
        if self.options.wire is Wire.STOCK:
            return "start a stock WebSocketProxyServer there, or: pmw proxy serve --wire stock"
        return "start a proxy of pmw's there: pmw proxy serve"


class Link:
    """An open WebSocket, as what carries a post's letters.

    Attributes:
        address: This end's.
        peer: The other end's.
        over: Set once it is closed, by whomever.
    """

    def __init__(self, connection: Connection, *, address: str, peer: str, most_there: int) -> None:
        """Take up a connection whose handshake is done.

        Args:
            connection: The WebSocket.
            address: This end's.
            peer: The other end's.
            most_there: Bytes that the other end takes in one message.
        """
        self.address = address
        self.peer = peer
        self.over = asyncio.Event()
        self._connection = connection
        self._most_there = most_there
        self._pace = Pace(BYTES_PER_SECOND, burst=BYTES_PER_SECOND)

    @property
    def codec(self) -> "StockCodec | None":
        """What writes and reads the messages that cross; None is the bus's own."""
        return None

    @property
    def latency(self) -> float:
        """Seconds for a ping to the other end and back; 0 before the first."""
        return self._connection.latency

    @property
    def told(self) -> str:
        """Why it is over, in a few words."""
        code, reason = self._connection.close_code, self._connection.close_reason
        if code is None or code == ABNORMAL:
            return "the connection broke"
        return f"it was closed: {reason or CLOSES.get(code, code)}"

    def post(self, counts: Counts | None = None) -> "Post[Link]":
        """Make the post that goes over it.

        Args:
            counts: Where to count, with the posts of other links.
        """
        # What is round the letters of a parcel takes some of it, and half of it is left for that.
        letter = min(MESSAGE_BYTES, self._most_there - LEAST_BYTES // 2)
        return Post(
            self,
            peer=self.peer,
            counts=counts,
            bounds=Bounds(
                bytes=max(WAITING, letter), letter_bytes=letter, parcel_bytes=self._most_there
            ),
            pace=Pace(LETTERS_PER_SECOND, burst=LETTERS_PER_SECOND),
        )

    async def send(self, parcels: Mapping[str, bytes]) -> Collection[str]:
        """Send a parcel to the other end; see `Carrier`."""
        gone: list[str] = []
        for to, parcel in parcels.items():
            try:
                if to != self.peer:
                    raise KeyError(to)
                await self._connection.send(parcel)
            except ConnectionClosed:
                self.over.set()
                gone.append(to)
        return gone

    async def receive(self) -> Sequence[bytes]:
        """Wait for a parcel from the other end; when that is gone, until cancelled."""
        try:
            data = await self._connection.recv()
        except ConnectionClosed:
            self.over.set()
            await asyncio.Event().wait()  # whoever holds the link sees that it is over
            raise
        await self._pace.spend(len(data))
        return [data if isinstance(data, bytes) else NO_PARCEL]

    async def greet(self, offer: Offer) -> None:
        """Say which worker is wanted, before anything else is said.

        Raises:
            LinkRefused: The other end has closed already.
        """
        try:
            await self._connection.send(encode_notice(offer))
        except ConnectionClosed:
            raise LinkRefused(self.told, mend="see the log at the other end") from None

    async def close(self, code: Code, why: str = "") -> None:
        """Close it, and say why; returns within a moment."""
        self.over.set()
        await self._connection.close(code, why)


async def mind(link: Link, post: Post[Link]) -> None:
    """Close a link over which too much comes that has to be refused; returns when it has."""
    while post.refused <= REFUSALS:  # noqa: ASYNC110  # counting must not cost an event each
        await asyncio.sleep(MIND_EVERY)
    await link.close(Code.GARBAGE, "too much of what was sent had to be refused")


ABNORMAL = 1006
NO_PARCEL = b""  # in the place of text, which nobody sends here
CLOSES: Mapping[int, str] = {
    1001: "it goes away",
    1009: "a message was too large",
    1011: "no answer to a ping",
}


@asynccontextmanager
async def open_link(way: Way) -> AsyncGenerator[Link]:
    """Open a link to where a worker is; leaving closes it.

    Args:
        way: The way there.

    Raises:
        LinkRefused: It can't be opened: what is wrong, and what mends it.
        ConfigurationError: The URL or the certificates' file is wrong.
    """
    headers = [(WORKER, way.worker), (MOST_BYTES, str(MESSAGE_BYTES))]
    connection = await connect_to(way, headers, subprotocols=[SUBPROTOCOL])
    try:
        _require_ours(connection, way)
        headers = connection.response.headers if connection.response else Headers()
        yield Link(
            connection,
            address=CALLERS_END,
            peer=WORKERS_END,
            most_there=bytes_of(single(headers, MOST_BYTES)),
        )
    finally:
        await connection.close(Code.DONE)


async def require_reachable(way: Way) -> None:
    """Make sure that a link can be opened, and close it again.

    Raises:
        PmwError: It can't: what is wrong, and what mends it.
    """
    async with open_link(way):
        pass


def single(headers: Headers, name: str) -> str:
    """Return what a header says; nothing if it is there twice, or not at all."""
    values = headers.get_all(name)
    return values[0] if len(values) == 1 else ""


def bytes_of(header: str) -> int:
    """Return what a header says of how much its sender takes at once, if it is sensible."""
    if header.isascii() and header.isdigit() and len(header) < 12:
        return max(LEAST_BYTES, int(header))
    return DEFAULT_BYTES


async def connect_to(
    way: Way,
    headers: Sequence[tuple[str, str]] = (),
    *,
    subprotocols: Sequence[Subprotocol] | None = None,
) -> ClientConnection:
    """Open a WebSocket.

    Args:
        way: The way there.
        headers: Sent besides those that were typed.
        subprotocols: Offered to the other end.

    Raises:
        LinkRefused: It can't be opened: what is wrong, and what mends it.
        ConfigurationError: The URL or the certificates' file is wrong.
    """
    headers = [*way.options.headers, *headers]
    if way.token:
        headers.append(("Authorization", f"Bearer {way.token}"))
    try:
        return await _Connect(
            way.url,
            additional_headers=headers,
            subprotocols=subprotocols,
            ssl=_trust(way),
            user_agent_header=f"pmw/{version('pipecat-workers-cli')}",
            compression=None,
            open_timeout=OPEN_WITHIN,
            close_timeout=CLOSE_WITHIN,
            ping_interval=PING_EVERY,
            ping_timeout=PONG_WITHIN,
            max_size=MESSAGE_BYTES,
            max_queue=QUEUE,
        )
    except (OSError, EOFError, InvalidHandshake, InvalidURI) as error:
        raise _explained(error, way) from None


class _Connect(connect):
    """Follows no redirect: whoever may redirect would get the worker's conversation."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _trust(way: Way) -> ssl.SSLContext | None:
    if not way.url.startswith("wss:"):
        return None
    try:
        return ssl.create_default_context(cafile=way.options.ca_file)
    except (OSError, ssl.SSLError) as error:
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        what = f"cannot read {way.options.ca_file}: {why}"
        raise ConfigurationError(what, mend="--ca-file with certificates in PEM") from None


def _explained(error: Exception, way: Way) -> LinkRefused:
    """Say what kept a link from being opened."""
    host = urlsplit(way.url).hostname or "?"
    at = way.shown
    match error:
        case InvalidStatus():
            return _answered(error.response, way)
        case TimeoutError():
            what = f"no answer from {at} within {OPEN_WITHIN:g} s"
            return LinkRefused(what, mend="check address and port, and what stands between")
        case ssl.SSLCertVerificationError():
            what = f"the certificate of {at} isn't trusted: {error.verify_message}"
            return LinkRefused(what, mend="--ca-file with the certificate of whoever issued it")
        case ssl.SSLError() | EOFError():
            what = f"no TLS can be spoken with {at}"
            return LinkRefused(what, mend="ws:// if it has none; else see its log")
        case ConnectionRefusedError():
            return LinkRefused(f"nothing listens at {at}", mend=way.mend)
        case InvalidProxy() | ProxyError():
            return LinkRefused(
                f"the HTTP proxy on the way to {at} did not let it through",
                mend="check the variables http_proxy, https_proxy and no_proxy",
            )
        case NegotiationError():
            return LinkRefused(f"{at} speaks another protocol", mend=way.mend)
        case socket.gaierror():
            return LinkRefused(f"no address is known of {host}", mend="check the name's spelling")
        case OSError() if "Multiple exceptions" in str(error):  # one for each of its addresses
            return LinkRefused(f"nothing listens at {at}", mend=way.mend)
        case OSError():
            why = error.strerror or type(error).__name__
            return LinkRefused(f"{at} can't be reached: {why}", mend="check the network")
        case _:
            return LinkRefused(f"no WebSocket answers at {at}", mend=way.mend)


def _answered(response: Response, way: Way) -> LinkRefused:
    """Say why a server refused to open a link."""
    at = way.shown
    told = bytes(response.body or b"")[:200].decode("ascii", "replace").splitlines()
    line = told[0] if told and told[0].isprintable() else ""
    status = response.status_code
    ours = MOST_BYTES in response.headers
    match status:
        case 401:
            what, mend = f"{at} wants a token, and not this one", TOKEN
        case 403 if way.options.wire is Wire.STOCK:  # what closing before accepting makes of it
            what = f"{at} doesn't let this call in"
            mend = "--token, or --header, with what the other end asks for"
        case 403:
            what = f"{at} lets nobody in from here"
            mend = "see what stands before it; a proxy of ours refuses browsers' pages so"
        case 404:
            what, mend = f"there is no proxy at {at}", "its path is /ws, and what is put before it"
        case 429:
            what, mend = f"{at} has had too many wrong tokens from here", "wait a minute"
        case 400 if ours:
            what, mend = (
                f"{at} speaks another version: {line}",
                "run the same pmw at both ends, and the same --wire",
            )
        case 503 if ours:
            what, mend = (
                f"{at} takes no more calls: {line}",
                "try again later, or --max-calls there",
            )
        case 502 | 503 | 504:
            what, mend = f"nothing serves behind {at}", way.mend
        case _:
            what, mend = f"{at} is no proxy: it answered {status}", way.mend
    return LinkRefused(what, mend=mend)


TOKEN = "--token, or $PMW_PROXY_TOKEN: one of those that the other end was started with"  # noqa: S105


def _require_ours(connection: ClientConnection, way: Way) -> None:
    """Refuse a WebSocket whose other end is not what it should be.

    Raises:
        LinkRefused: It is none of ours, or serves another worker.
    """
    headers = connection.response.headers if connection.response else Headers()
    if connection.subprotocol != SUBPROTOCOL:
        mend = f"{way.mend}; or --wire stock, if it is stock Pipecat's"
        raise LinkRefused(f"{way.shown} is a WebSocket, but no proxy of pmw's", mend=mend)
    served = single(headers, WORKER)
    if served != way.worker:
        what = f"{way.shown} serves {served[:40] if served.isprintable() else '?'}"
        raise LinkRefused(
            f"{what}, not {way.worker}", mend=f"start it there: pmw proxy serve {way.worker}"
        )
