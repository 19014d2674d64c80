"""The way to a worker behind a WebSocket: opened by the call's end, or what kept it from that."""

import socket
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers
from websockets.exceptions import (
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
from pipecat_workers_cli.buses.link import (
    CALLERS_END,
    CLOSE_WITHIN,
    MOST_BYTES,
    PING_EVERY,
    PONG_WITHIN,
    QUEUE,
    SUBPROTOCOL,
    WORKER,
    WORKERS_END,
    Code,
    Link,
    LinkRefused,
    bytes_of,
    single,
)
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.options import LinkOptions, Wire
from pipecat_workers_cli.wire.limits import MESSAGE_BYTES

OPEN_WITHIN = 5.0  # seconds for a connection, TLS and the handshake
TOKEN = "--token, or $PMW_PROXY_TOKEN: one of those that the other end was started with"  # noqa: S105


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
