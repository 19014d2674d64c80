"""Asks a Redis or a Valkey: commands there and replies back, in one round trip and in time.

redis-py connects, authenticates and parses. Its client and its pool are left out: the one would
try again by itself, and takes twice as long for the same request (80 µs where this takes 40,
on one machine), the other looks after a connection for as long as it takes to use it.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from socket import gaierror
from typing import Any, NamedTuple, TypeAlias, cast
from urllib.parse import parse_qsl, urlsplit

import hiredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection, Connection, parse_url

from pipecat_workers_cli.addresses import hides_login
from pipecat_workers_cli.buses.network import ANSWER_WITHIN, BusDown
from pipecat_workers_cli.buses.waits import answered_within
from pipecat_workers_cli.errors import ConfigurationError, PmwError, near_miss

IDLE_CONNECTIONS = 8  # kept; a process sends, receives, claims and renews, each on its own
LEAVE_WITHIN = 1.0  # seconds for the last request
ASK_AFTER = 1.0  # seconds in which nothing is published
URL_OPTIONS = (
    "db",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_ciphers",
    "ssl_keyfile",
    "ssl_password",
)
"""Others would change how long a request takes or what a reply looks like."""

RIGHTS = "~pmw:* +@read +@write +@scripting +@connection +time"

Argument: TypeAlias = str | bytes | int
Command: TypeAlias = tuple[Argument, ...]


class Requests:
    """A server that is asked, by as many connections as there are requests at once.

    Attributes:
        place: Host and port, to be shown.
    """

    def __init__(self, url: str, *, rights: str = RIGHTS) -> None:
        """Read a URL; the first request connects.

        Args:
            url: `redis://` or `rediss://` with user, password, host, port, number of the
                database, and as its query the `URL_OPTIONS`, by redis-py's names.
            rights: What is asked needs, as `ACL SETUSER` is told it.

        Raises:
            ConfigurationError: Something in the URL is wrong.
        """
        self.place, settings = _parse(url)
        self._rights = rights
        self._idle: list[AbstractConnection] = []
        self._kind: type[AbstractConnection] = settings.pop("connection_class", Connection)
        self._settings: dict[str, Any] = settings | {
            "protocol": 2,  # the third brings notices of maintenance, which Valkey doesn't know
            "socket_timeout": None,  # `ask` sees to it, for a whole request
            "socket_connect_timeout": ANSWER_WITHIN,
            "socket_keepalive": True,  # one that idles may be cut off silently on the way
        }
        try:
            self._kind(**self._settings)
        except (exceptions.RedisError, TypeError, ValueError):
            raise ConfigurationError(
                "the options in the Redis URL don't fit", mend="ssl_ options go with rediss://"
            ) from None

    async def ask(self, *commands: Command, wait: float = 0.0, unless: str = "") -> list[Any]:
        """Send commands in one go, and return a reply for each.

        Cancelled in the middle, it drops its connection: what comes late is nobody's.

        Args:
            commands: What is asked, in this order.
            wait: Seconds that the server may let it wait if there is nothing.
            unless: The code of an error that counts as no reply, such as `NOGROUP`.

        Raises:
            BusDown: No answer within `ANSWER_WITHIN` beyond `wait`.
            PmwError: The server refuses; the first refusal, if it is several.
        """
        try:
            async with answered_within(ANSWER_WITHIN + wait):
                connection = self._idle.pop() if self._idle else await self._connect()
                try:
                    replies = await _round_trip(connection, commands)
                except BaseException:
                    await connection.disconnect(nowait=True)
                    raise
                await self._keep(connection)
        except (exceptions.RedisError, OSError) as error:
            await self._disconnect()
            raise _translate(error, self.place, self._rights) from error
        for number, reply in enumerate(replies):
            if isinstance(reply, Exception):
                if not unless or not str(reply).startswith(unless):
                    raise _translate(reply, self.place, self._rights) from reply
                replies[number] = None
        return replies

    async def _connect(self) -> AbstractConnection:
        connection = self._kind(**self._settings)
        await connection.connect()
        return connection

    async def _keep(self, connection: AbstractConnection) -> None:
        if len(self._idle) < IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            await connection.disconnect(nowait=True)

    async def _disconnect(self) -> None:
        """Be rid of the idle connections: after a failure they may be as dead."""
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    async def run(self, script: str, keys: Sequence[str], *arguments: Argument) -> Any:
        """Run a Lua script there and return its reply; raises as `ask` does.

        Args:
            script: Sent each time, because a server that was restarted has forgotten it.
            keys: Its `KEYS`.
            arguments: Its `ARGV`.
        """
        return (await self.ask(("EVAL", script, len(keys), *keys, *arguments)))[0]

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncGenerator[AsyncGenerator[bytes]]:
        """Subscribe to a channel while the block lasts; gives what is published there.

        Args:
            channel: Its name.

        Raises:
            BusDown: On entering or later: the server is gone, or silent for some seconds.
            PmwError: The server refuses.
        """
        connection = None
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                connection = await self._connect()
                await connection.send_command("SUBSCRIBE", channel)
                await connection.read_response()
            yield _published(connection)
        except (exceptions.RedisError, OSError) as error:
            await self._disconnect()
            raise _translate(error, self.place, self._rights) from error
        finally:
            if connection is not None:
                await connection.disconnect(nowait=True)  # nobody unsubscribes at a dead server

    async def close(self, *last: Command) -> None:
        """Send the last commands if the server is there, and close all connections.

        Args:
            last: What they answer is not told; nobody waits for it over `LEAVE_WITHIN`.
        """
        try:
            if last:
                with suppress(TimeoutError, PmwError):
                    async with asyncio.timeout(LEAVE_WITHIN):
                        await self.ask(*last)
        finally:
            await self._disconnect()


async def _published(connection: AbstractConnection) -> AsyncGenerator[bytes]:
    """Give what is published to a connection that has subscribed.

    Raises:
        TimeoutError: Nothing came for too long, though it was asked for.
    """
    asked = 0
    while True:
        reply = await connection.read_response(disable_decoding=True, timeout=ASK_AFTER)
        if reply is None:
            if asked * ASK_AFTER >= ANSWER_WITHIN:
                raise TimeoutError
            asked += 1
            await connection.send_command("PING")
            continue
        asked = 0
        if reply[0] == b"message":
            yield reply[2]


async def _round_trip(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    # Its annotation allows a single argument; it takes any number.
    packed = b"".join(hiredis.pack_command(cast(tuple[str], command)) for command in commands)
    await connection.send_packed_command(packed, check_health=False)
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response())
        except exceptions.ResponseError as error:
            replies.append(error)  # and the replies after it are still to be read
    return replies


def _parse(url: str) -> tuple[str, dict[str, Any]]:
    """Return where a URL leads, without its secrets, and redis-py's settings for it."""
    try:
        if hides_login(url):
            raise ValueError
        parts = urlsplit(url)
        place = f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
        settings: dict[str, Any] = dict(parse_url(url))
    except ValueError:  # its text may show the password
        raise ConfigurationError(
            "the Redis URL can't be read",
            mend="write it as redis://user:password@host:6379/0; "
            "in a password %2F is a /, %3F a ?, %23 a #, %40 an @",
        ) from None
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name not in URL_OPTIONS:
            raise ConfigurationError(
                f"a Redis URL takes no option '{name[:40]}'", mend=near_miss(name, URL_OPTIONS)
            )
    return place, settings


class _Cause(NamedTuple):
    """What redis-py or the system says, and what we say then."""

    kinds: type[Exception] | tuple[type[Exception], ...]
    error: type[PmwError]
    what: str
    mend: str


_CAUSES = (  # from the special to the general: the first that fits is told
    _Cause(
        (exceptions.AuthenticationError, exceptions.AuthenticationWrongNumberOfArgsError),
        PmwError,
        "{place} refuses the user or the password",
        "write both into the URL: redis://user:password@host",
    ),
    _Cause(
        exceptions.NoPermissionError,
        PmwError,
        "the user at {place} may not do all that is needed",
        "let it do that: ACL SETUSER name {rights}",
    ),
    _Cause(
        exceptions.OutOfMemoryError,
        PmwError,
        "{place} has no memory left",
        "raise its maxmemory, or delete something there",
    ),
    _Cause(
        exceptions.InvalidResponse,
        PmwError,
        "what answers at {place} is no Redis",
        "check host and port in the URL",
    ),
    _Cause(
        (FileNotFoundError, PermissionError, IsADirectoryError),
        PmwError,
        "a file for TLS with {place} can't be read",
        "check the ssl_ options in the URL",
    ),
    _Cause(
        ssl.SSLCertVerificationError,
        PmwError,
        "the certificate of {place} isn't trusted",
        "name its authority in the URL: ?ssl_ca_certs=FILE",
    ),
    _Cause(
        ssl.SSLError,
        BusDown,
        "{place} takes no part in TLS",
        "write redis:// if it speaks none, or see its log",
    ),
    _Cause(gaierror, BusDown, "no address is known for {place}", "check the host in the URL"),
    _Cause(
        ConnectionRefusedError,
        BusDown,
        "nothing listens at {place}",
        "start Redis or Valkey there, or correct the URL",
    ),
    _Cause(
        (
            exceptions.BusyLoadingError,
            exceptions.ReadOnlyError,
            exceptions.ClusterDownError,
            exceptions.TryAgainError,
        ),
        BusDown,
        "{place} is loading its data, or is no primary",
        "wait, or correct the URL",
    ),
    _Cause(
        (exceptions.TimeoutError, TimeoutError),
        BusDown,
        "{place} does not answer",
        "see whether it runs, the network lets you through, and TLS is right",
    ),
    _Cause(
        (exceptions.ConnectionError, OSError),
        BusDown,
        "no connection to {place}",
        "see whether it runs; if it speaks TLS, write rediss://",
    ),
)

_DENIED_IN_A_SCRIPT = (  # which redis-py knows no class for
    "ACL failure in script",
    "The user executing the script can't",  # Redis 7.0
)


def _translate(error: Exception, place: str, rights: str) -> PmwError:
    """Say in our words what a request failed of; redis-py hides the cause at times."""
    chain: list[BaseException] = [error]
    while following := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(following)
    if str(error).startswith(_DENIED_IN_A_SCRIPT):
        chain = [exceptions.NoPermissionError()]
    for cause in _CAUSES:
        if any(isinstance(link, cause.kinds) for link in chain):
            mend = cause.mend.format(rights=rights)
            return cause.error(cause.what.format(place=place), mend=mend)
    said = str(error).partition(", with args")[0][:100]  # which may be a caller's words
    return PmwError(f"{place} refuses: {said}", mend="have Redis 7 or Valkey there; see its log")
