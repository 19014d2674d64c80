"""A session's socket: who it is, what happens in it, a turn to say, its end.

Nothing runs here while nobody is attached. Who watches is never waited for: what can't be
written at once is kept up to a bound, and a watcher that takes nothing is dropped.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol
from weakref import WeakKeyDictionary

import msgspec
from loguru import logger

from pipecat_workers_cli.buses.presence import own_version
from pipecat_workers_cli.call.run import Call
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.logs import name_session
from pipecat_workers_cli.session.address import claim, peer_of
from pipecat_workers_cli.session.messages import (
    REQUEST_BYTES,
    AnyRequest,
    AskStatus,
    Bye,
    CallStatus,
    Done,
    Refused,
    Remember,
    Reply,
    Say,
    Status,
    Stop,
    Told,
    Watch,
)
from pipecat_workers_cli.session.outlet import Outlet
from pipecat_workers_cli.session.watchers import Watchers
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap

CLIENTS = 64  # attached at once; twenty watchers are many
ASK_WITHIN = 5.0  # seconds from a connection to its request
AT_ONCE = 100  # entries told before calls have their turn; some 1 ms
LEAVE_WITHIN = 0.2  # seconds in which clients are told that the session ends
FIRST_WORDS = 256  # entries kept until it is known which call they are about


class Host(Protocol):
    """A session, as whoever attaches to it meets it."""

    @property
    def recipe(self) -> str:
        """The name of what it runs."""
        ...

    @property
    def address(self) -> str | None:
        """Where callers reach it, to be shown; None if they don't."""
        ...

    @property
    def max_calls(self) -> int | None:
        """Calls at once; None is any number."""
        ...

    @property
    def providers(self) -> str | None:
        """Who hears, thinks and speaks, and why these."""
        ...

    @property
    def lag(self) -> float:
        """Seconds by which its event loop was late when it was last measured."""
        ...

    def stop(self) -> None:
        """End the session as SIGTERM does."""
        ...

    async def call_for(self, call: str | None) -> Call:
        """Return the call in which to say something, opened if there is none.

        Raises:
            PmwError: There is no such call, there are several, or no more room.
        """
        ...


class SessionSocket:
    """Answers those who attach to a session, in its event loop."""

    def __init__(self, host: Host, tap: Tap, name: str) -> None:
        """Prepare to answer; `open_socket` lets clients in.

        Args:
            host: The session.
            tap: What happens in its calls.
            name: Its name.
        """
        self._host = host
        self._tap = tap
        self._name = name
        self._began = time.monotonic()
        self._watchers = Watchers(tap, lambda: host.lag)
        self._clients: set[asyncio.Task[None]] = set()
        self._turns: WeakKeyDictionary[Call, asyncio.Lock] = WeakKeyDictionary()

    def attach(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection in; it is served by a task of its own."""
        client = asyncio.create_task(self._serve(reader, writer), name="attached to the session")
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def close(self) -> None:
        """Tell all who are attached that the session ends, and let go of them."""
        self._watchers.close()
        for client in self._clients:
            client.cancel()
        if self._clients:
            await asyncio.wait(self._clients, timeout=2 * LEAVE_WITHIN)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outlet = Outlet(writer)
        try:
            if not _is_ours(writer.get_extra_info("socket")):
                return
            if len(self._clients) > CLIENTS:
                mend = "detach some: pmw bus watch is attached until it ends"
                outlet.send(Refused(what=f"{CLIENTS} clients are attached already", mend=mend))
                return
            async with asyncio.timeout(ASK_WITHIN):
                request = await _read_request(reader)
            await self._answer(request, reader, outlet)
        except asyncio.CancelledError:
            outlet.send(Bye())
        except PmwError as error:
            typed = isinstance(error, ConfigurationError)
            outlet.send(Refused(what=error.what, mend=error.mend, typed=typed))
        except (TimeoutError, ConnectionError):
            pass  # it asked nothing, or is gone
        finally:
            await outlet.close(LEAVE_WITHIN)

    async def _answer(
        self, request: AnyRequest, reader: asyncio.StreamReader, outlet: Outlet
    ) -> None:
        match request:
            case AskStatus():
                outlet.send(self._status())
            case Watch():
                with self._watchers.watching(outlet, request):
                    await _gone(reader, outlet)
            case Remember():
                await self._remember(outlet)
            case Stop():
                outlet.send(Done())
                self._host.stop()
            case Say():
                outlet.send(await self._say_while_there(request, reader, outlet))

    async def _remember(self, outlet: Outlet) -> None:
        """Tell what was, no faster than the client takes it, and never for long at once."""
        for number, entry in enumerate(self._tap.remembered()):
            outlet.send(Told(entry=entry))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            await outlet.caught_up()
            if outlet.dropped.is_set():
                return
        outlet.send(Done())

    def _status(self) -> Status:
        calls = self._tap.snapshot().calls
        return Status(
            name=self._name,
            pid=os.getpid(),
            recipe=self._host.recipe,
            address=self._host.address,
            providers=self._host.providers,
            max_calls=self._host.max_calls,
            uptime=time.monotonic() - self._began,
            version=own_version(),
            calls=tuple(
                CallStatus(
                    call=call.call,
                    worker=call.active[0] if call.active else None,
                    turns=call.turns,
                    age=call.age,
                )
                for call in calls
            ),
        )

    async def _say_while_there(
        self, request: Say, reader: asyncio.StreamReader, outlet: Outlet
    ) -> Reply:
        """Say a turn; a client that leaves no longer waits for its answer, the call goes on."""
        turn = asyncio.create_task(self._say(request, outlet), name="say a turn")
        gone = asyncio.create_task(_gone(reader, outlet), name="client gone")
        try:
            await asyncio.wait({turn, gone}, return_when=asyncio.FIRST_COMPLETED)
            return turn.result() if turn.done() else Done()
        finally:
            turn.cancel()
            gone.cancel()
            await asyncio.wait({turn, gone}, timeout=LEAVE_WITHIN)

    async def _say(self, request: Say, outlet: Outlet) -> Reply:
        """Send a turn to its call, tell what follows, and return when the bot has finished.

        Raises:
            PmwError: No answer came in time, or there is no call for it.
        """
        hearing = _Hearing(outlet)
        unsubscribe = self._tap.subscribe(hearing)
        try:
            async with asyncio.timeout(request.timeout):
                call = await self._host.call_for(request.call)
                # Two who talk at once would each take the other's answer for theirs.
                async with self._turns.setdefault(call, asyncio.Lock()):
                    hearing.listen_to(call.id)
                    await call.say(request.text)
                    await call.settled()
                    if call.ended.is_set():  # with a goodbye, and its end is told last
                        await hearing.over.wait()
        except TimeoutError:
            raise PmwError(
                f"no answer within {request.timeout:g} s", mend="wait longer with --timeout"
            ) from None
        finally:
            unsubscribe()
        if call.log.failure is not None:
            raise PmwError(f"no answer: {call.log.failure}", mend=call.log.mend)
        return Done()


class _Hearing:
    """Tells a client of one call's entries, from before it is known which call that is."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self.over = asyncio.Event()
        self._call: str | None = None
        self._first: list[Entry] = []

    def __call__(self, entry: Entry) -> None:
        if self._call is not None:
            if entry.call == self._call:
                self._outlet.send(Told(entry=entry))
                if entry.event == "end":
                    self.over.set()
        elif len(self._first) < FIRST_WORDS:
            self._first.append(entry)

    def listen_to(self, call: str) -> None:
        self._call = call
        for entry in self._first:
            self(entry)
        self._first.clear()


async def _read_request(reader: asyncio.StreamReader) -> AnyRequest:
    """Read the one line that a client sends.

    Raises:
        ConfigurationError: It is no request.
        ConnectionError: The client left without one.
    """
    try:
        line = await reader.readline()
        if not line:
            raise ConnectionError
        return msgspec.json.decode(line, type=AnyRequest)
    except (ValueError, msgspec.MsgspecError) as error:  # ValueError: the line has no end
        told = str(error) if isinstance(error, msgspec.MsgspecError) else "a line too long"
        raise ConfigurationError(
            f"this is no request: {told}", mend="attach with a pmw of this version"
        ) from None


async def _gone(reader: asyncio.StreamReader, outlet: Outlet) -> None:
    """Wait until a client leaves, says more than it may, or is dropped."""
    leaving = asyncio.create_task(reader.read(1), name="read on")
    dropped = asyncio.create_task(outlet.dropped.wait(), name="dropped")
    try:
        await asyncio.wait({leaving, dropped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in (leaving, dropped):
            wait.cancel()
        await asyncio.wait({leaving, dropped}, timeout=LEAVE_WITHIN)


def _is_ours(connection: socket.socket) -> bool:
    _, uid = peer_of(connection)
    if uid in (None, os.geteuid()):
        return True
    logger.warning(f"user {uid} tried to attach to this session and was turned away")
    return False


@asynccontextmanager
async def open_socket(host: Host, tap: Tap) -> AsyncGenerator[str | None]:
    """Let this user's other processes attach for as long as the block lasts.

    A session that no name can be had for serves its callers all the same, and says so.

    Returns:
        The session's name, if it has one.
    """
    async with AsyncExitStack() as stack:
        name = None
        try:
            name = await stack.enter_async_context(_listening(host, tap))
        except PmwError as error:
            logger.warning(f"no other command can reach this session: {error.what} ({error.mend})")
        yield name


@asynccontextmanager
async def _listening(host: Host, tap: Tap) -> AsyncGenerator[str]:
    claimed = claim(host.recipe)
    try:
        attached = SessionSocket(host, tap, claimed.address.name)
        server = await asyncio.start_unix_server(
            attached.attach, sock=claimed.listener, limit=REQUEST_BYTES
        )
        try:
            name_session(claimed.address.name)
            yield claimed.address.name
        finally:
            server.close()
            await attached.close()
    finally:
        claimed.leave()
