"""A connection to Postgres that is made anew when it is lost, and what its errors become."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg

from pipecat_workers_cli.addresses import hides_login
from pipecat_workers_cli.buses.network import ANSWER_WITHIN, BusDown
from pipecat_workers_cli.buses.waits import answered_within
from pipecat_workers_cli.errors import ConfigurationError

T = TypeVar("T")

FAILURES = (
    OSError,  # a timeout is one, too
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What asyncpg raises when it can't get a statement answered."""

_LOST = ("the connection to Postgres at {place} is lost", "wait until it serves again")
_NOBODY_THERE = (
    "no Postgres can be reached at {place}",
    "start it, or check host and port in --bus",
)
_WHY: Sequence[tuple[type[Exception] | tuple[type[Exception], ...], str, str]] = (
    (
        asyncpg.InvalidAuthorizationSpecificationError,  # a wrong password is one
        "Postgres at {place} refused the user or the password",
        "check both in --bus, and pg_hba.conf there",
    ),
    (
        asyncpg.InvalidCatalogNameError,
        "there is no such database: {place}",
        "create it, or name another in --bus",
    ),
    (
        (
            asyncpg.InvalidSchemaNameError,
            asyncpg.UndefinedTableError,
            asyncpg.UndefinedFunctionError,
        ),
        "PGMQ is not installed in the database {place}",
        "pmw bus init --bus postgresql://…",
    ),
    (
        asyncpg.InsufficientPrivilegeError,
        "Postgres at {place} does not let this user work with PGMQ",
        "grant it usage, create on schema pgmq and select, insert, delete on pgmq.meta; "
        "before PGMQ 1.6 it must own the extension, too",
    ),
    (
        asyncpg.TooManyConnectionsError,
        "Postgres at {place} has no connection left",
        "raise max_connections there; a process takes three",
    ),
    ((asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError), *_LOST),
    (asyncpg.PostgresError, "Postgres at {place} failed ({error})", "see its log"),
    (TimeoutError, "Postgres at {place} did not answer in time", "check the network to it"),
    (
        socket.gaierror,
        "no host is known by the name in {place}",
        "check it in --bus, and the DNS",
    ),
    (
        (ConnectionRefusedError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError),
        *_NOBODY_THERE,
    ),
    (
        (ssl.SSLError, ConnectionError),  # the latter is asyncpg's own, for TLS that is refused
        "no connection with TLS to Postgres at {place}",
        "see whether it runs, and check sslmode and the certificates in --bus",
    ),
    (OSError, *_NOBODY_THERE),
    (Exception, *_LOST),
)
"""What an error means, the narrower before the wider."""


class Line:
    """One connection, made when it is first needed and again after it was lost.

    One statement at a time, in the order they were asked for. A statement that is cancelled
    or takes too long ends the connection: nothing of it can come in later, and nobody waits
    for an engine that is dead.

    Attributes:
        statements_kept: How many prepared statements a new connection keeps. None at first:
            a pooler that gives each transaction to another server can't carry them.
    """

    def __init__(
        self, url: str, *, on_connect: Callable[[Any], Awaitable[None]] | None = None
    ) -> None:
        """Connect to nothing yet.

        Args:
            url: `postgresql://…`, as asyncpg takes it.
            on_connect: Awaited with each new connection of asyncpg's before it is used.
        """
        self._url = url
        self._on_connect = on_connect
        self._connection: Any = None
        self._turn = asyncio.Lock()
        self.statements_kept = 0

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None and not self._connection.is_closed()

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do something with the connection, within `ANSWER_WITHIN` all in all.

        Args:
            work: Given asyncpg's connection; has it to itself until it returns.

        Raises:
            BusDown: Postgres or the network failed.
            ConfigurationError: The URL is none.
        """
        try:
            async with answered_within(ANSWER_WITHIN), self._turn:
                return await self._have_done(work)
        except FAILURES as error:
            raise failure(error, self._url) from error

    async def _have_done(self, work: Callable[[Any], Awaitable[T]]) -> T:
        connection = await self._connected()
        try:
            return await work(connection)
        except asyncio.CancelledError:
            # asyncpg is about to open a second connection, to ask for the statement's end, and
            # would wait for both. A connection that is dropped at once doesn't.
            self.drop()
            raise

    async def _connected(self) -> Any:
        if self.connected:
            return self._connection
        self._connection = None
        connection = await open_connection(self._url, statement_cache_size=self.statements_kept)
        try:
            if self._on_connect is not None:
                await self._on_connect(connection)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        return connection

    def drop(self) -> None:
        """Be without a connection at once; the next statement makes a new one."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Say goodbye to Postgres; for a line that nobody uses any more."""
        if self.connected:
            with suppress(*FAILURES):
                await self._connection.close()


async def open_connection(url: str, **options: Any) -> Any:
    """Connect to Postgres.

    Args:
        url: `postgresql://…`.
        options: More that asyncpg's `connect` takes.

    Raises:
        ConfigurationError: The URL is none.
        One of `FAILURES`: Postgres can't be reached or refuses.
    """
    try:
        return await asyncpg.connect(url, **options)
    except ValueError as error:  # its text may hold what was typed
        raise ConfigurationError(
            f"this is no URL of a Postgres ({type(error).__name__})",
            mend="postgresql://user:password@host:5432/database, special characters as %40",
        ) from None


def failure(error: Exception, url: str) -> BusDown:
    """Say what an error of asyncpg's or the system's means, without a password.

    Args:
        error: One of `FAILURES`.
        url: Where it happened.
    """
    what, mend = next((what, mend) for kind, what, mend in _WHY if isinstance(error, kind))
    return BusDown(what.format(place=place(url), error=type(error).__name__), mend=mend)


def place(url: str) -> str:
    """Return a URL's host, port and database, to be shown."""
    if hides_login(url):
        return "that address"
    try:
        parts = urlsplit(url)
        host = parts.hostname or parse_qs(parts.query).get("host", ["localhost"])[0]
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "that address"
    return f"{host}{port}{parts.path}"
