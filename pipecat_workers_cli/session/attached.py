"""Attaches to sessions of this user: what `ps`, `say`, `stop` and `bus watch` are made of.

Nothing of Pipecat is imported here: these commands answer at once.
"""

import os
import socket
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress

import msgspec

from pipecat_workers_cli.errors import ConfigurationError, PmwError, near_miss
from pipecat_workers_cli.session.address import Address, Departure, living, peer_of
from pipecat_workers_cli.session.messages import (
    REPLY_BYTES,
    AnyReply,
    AskStatus,
    Refused,
    Request,
    Status,
    Stop,
)

ANSWER_WITHIN = 2.0  # seconds; a session whose loop is late by as much is heard as silence
SHORTEST = 0.001  # seconds; zero would mean not to wait at all
READ = 65_536  # bytes at once
LOOK_EVERY = 0.02  # seconds between looks whether a session is gone
AT_ONCE = 16  # sessions asked side by side
START = "start one: pmw handoff --detach"

_decode = msgspec.json.Decoder(AnyReply).decode


class Attachment:
    """A connection to a session."""

    def __init__(self, address: Address, connection: socket.socket) -> None:
        """Take a connection over.

        Raises:
            PmwError: Another user's process is at the other end.
        """
        self.name = address.name
        self._connection = connection
        self.pid, uid = peer_of(connection)
        if uid not in (None, os.geteuid()):
            raise PmwError(
                f"session '{address.name}' is another user's", mend=f"remove {address.path}"
            )

    def ask(self, request: Request, *, timeout: float | None = ANSWER_WITHIN) -> Iterator[AnyReply]:
        """Send a request and give the replies as they come, until the session ends them.

        Args:
            request: What is wanted; one a connection.
            timeout: Seconds for all of it; None has no end.

        Raises:
            TimeoutError: They are over.
            ConfigurationError: What was typed is refused.
            PmwError: The session refused, or says what this pmw doesn't understand.
        """
        until = None if timeout is None else time.monotonic() + timeout
        self._connection.settimeout(timeout)
        with suppress(ConnectionError):  # turned away: what was said of it can still be read
            self._connection.sendall(msgspec.json.encode(request) + b"\n")
        for line in self._lines(until):
            reply = _understood(line)
            if isinstance(reply, Refused):
                refusal = ConfigurationError if reply.typed else PmwError
                raise refusal(reply.what, mend=reply.mend)
            yield reply

    def gone(self) -> PmwError:
        """Return the error of a session that ended without a goodbye."""
        return PmwError(
            f"session '{self.name}' is gone, or let go of this watcher", mend="see: pmw ps"
        )

    def _lines(self, until: float | None) -> Iterator[bytes]:
        left = b""
        while True:
            if until is not None:
                self._connection.settimeout(max(SHORTEST, until - time.monotonic()))
            try:
                read = self._connection.recv(READ)
            except ConnectionError:
                read = b""
            if not read:
                return
            *lines, left = (left + read).split(b"\n")
            if len(left) > REPLY_BYTES:
                raise PmwError(
                    f"session '{self.name}' says more than it may", mend="see what it is: pmw ps"
                )
            yield from lines


def _understood(line: bytes) -> AnyReply:
    try:
        return _decode(line)
    except msgspec.MsgspecError:
        raise PmwError(
            "the session says what this pmw doesn't understand",
            mend="use the version that pmw ps shows for it",
        ) from None


@contextmanager
def attached(address: Address) -> Generator[Attachment]:
    """Be attached to a session for as long as the block lasts.

    Raises:
        PmwError: The session is gone, takes nobody any more, or does not answer.
    """
    try:
        connection = address.connect()
    except TimeoutError:
        raise _silent(address) from None
    if connection is None:
        raise PmwError(f"session '{address.name}' is gone", mend="see which there are: pmw ps")
    with connection:
        try:
            yield Attachment(address, connection)
        except TimeoutError:
            raise _silent(address) from None


def _silent(address: Address) -> PmwError:
    return PmwError(
        f"session '{address.name}' does not answer", mend="see whether its process hangs: pmw ps"
    )


def find_session(name: str | None) -> Address:
    """Return the session that is meant.

    Args:
        name: Its name; None means the only one.

    Raises:
        ConfigurationError: None has this name, or there are several.
        PmwError: There is none at all.
    """
    there = {address.name: address for address in living()}
    if name is not None and name in there:
        return there[name]
    if not there:
        raise PmwError("no session is running", mend=START)
    if name is not None:
        raise ConfigurationError(f"no session '{name}'", mend=near_miss(name, there))
    if len(there) > 1:
        raise ConfigurationError(
            f"several sessions are running: {', '.join(there)}", mend="choose one with -s NAME"
        )
    return next(iter(there.values()))


def statuses() -> list[Status]:
    """Ask every session what it is and does; of one that does not answer, little is known."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [status for status in pool.map(_status, living()) if status is not None]


def _status(address: Address) -> Status | None:
    with suppress(PmwError), attached(address) as session:
        pid = session.pid or 0
        try:
            reply = next(session.ask(AskStatus()), None)
        except TimeoutError:
            return Status(name=address.name, pid=pid, answers=False)
        return reply if isinstance(reply, Status) else None
    return None


def stop(addresses: Sequence[Address], *, within: float, on_end: Callable[[str], None]) -> None:
    """End sessions as SIGTERM does, all at once, and wait until their processes are gone.

    Args:
        addresses: Which.
        within: Seconds for all of them.
        on_end: Told the name of each as it is gone.

    Raises:
        PmwError: Some are still there.
    """
    until = time.monotonic() + within
    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        leaving: dict[Address, Departure] = {}
        for address in addresses:
            with suppress(FileNotFoundError):  # gone by itself meanwhile
                leaving[address] = stack.enter_context(closing(Departure(address)))
        pids = dict(zip(leaving, pool.map(_ask_to_stop, leaving), strict=True))
        while leaving:
            for address in [one for one, departure in leaving.items() if departure.is_over()]:
                del leaving[address]
                on_end(address.name)
            if time.monotonic() > until:
                break
            time.sleep(LOOK_EVERY if leaving else 0)
    if leaving:
        names = ", ".join(address.name for address in leaving)
        processes = " ".join(str(pids[address] or "PID") for address in leaving)
        raise PmwError(f"still there after {within:g} s: {names}", mend=f"kill -9 {processes}")


def _ask_to_stop(address: Address) -> int | None:
    """Ask a session to end; one that can't answer now may still read it later."""
    with suppress(PmwError), attached(address) as session:
        with suppress(TimeoutError):
            next(session.ask(Stop()), None)
        return session.pid
    return None
