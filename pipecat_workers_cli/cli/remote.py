"""The live table of sessions in other processes, drawn here from what they tell of themselves."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TypeVar

import msgspec

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.cli.sheet import Header
from pipecat_workers_cli.cli.table import run_table
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.session.attached import Attachment, attached, find_session
from pipecat_workers_cli.session.bus_attached import watching
from pipecat_workers_cli.session.messages import (
    AnyReply,
    AskStatus,
    Done,
    Remember,
    Seen,
    Status,
    Told,
    Watch,
)
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.merge import merged
from pipecat_workers_cli.traffic.views import Snapshot

REMEMBERED_WITHIN = 10.0  # seconds for what a session remembers; some 15 MB at most
GONE_AFTER = 3.0  # seconds without a summary of a session on a bus; four a second are sent
RECENT = 200  # entries, as many as one session's summary has
REMEMBERED = 50_000  # entries of all sessions on a bus; some 30 MB
FIRST_WITHIN = 5.0  # seconds until a session that lives has shown what it does


def show_table(terminal: Terminal, attachment: Attachment, seconds: float | None) -> None:
    """Draw a session's table on this terminal; blocks.

    Args:
        terminal: Where to draw, on stderr.
        attachment: Nothing was asked over it yet.
        seconds: After which it ends; None leaves that to `q` and to the session.

    Raises:
        PmwError: The session is gone, or has let go of this watcher.
    """
    with attached(find_session(attachment.name)) as other:  # one request a connection
        status = next(other.ask(AskStatus()), None)
    if not isinstance(status, Status):
        raise attachment.gone()
    asyncio.run(_run_table(terminal, attachment, status, seconds))


class _Remote:
    """What a session in another process tells of itself, read in a thread."""

    def __init__(self, attachment: Attachment, loop: asyncio.AbstractEventLoop) -> None:
        self.first = asyncio.Event()
        self.over = asyncio.Event()
        self.error: PmwError | None = None
        self.lag = 0.0
        self._attachment = attachment
        self._loop = loop
        self._latest: Snapshot | None = None
        self._on_news: dict[object, Callable[[Entry], None]] = {}
        threading.Thread(target=self._read, name="read the session", daemon=True).start()

    def snapshot(self) -> Snapshot:
        assert self._latest is not None  # nobody draws before the first
        return self._latest

    def subscribe(self, callback: Callable[[Entry], None]) -> Callable[[], None]:
        return _listening(self._on_news, callback)

    def watch(self, callback: Callable[[Sequence[Entry]], None]) -> Callable[[], None]:
        over = threading.Event()

        def read() -> None:
            with suppress(PmwError, OSError, RuntimeError), self._other() as other:
                for reply in other.ask(Watch(), timeout=None):
                    if over.is_set():
                        return
                    if isinstance(reply, Told):
                        self._loop.call_soon_threadsafe(callback, [reply.entry])

        threading.Thread(target=read, name="read entries", daemon=True).start()
        return over.set

    def remembered(self) -> Iterator[Entry]:
        with suppress(PmwError, OSError), self._other() as other:
            for reply in other.ask(Remember(), timeout=REMEMBERED_WITHIN):
                if isinstance(reply, Told):
                    yield reply.entry
                elif isinstance(reply, Done):
                    return

    def _other(self) -> AbstractContextManager[Attachment]:
        """Attach once more: one request a connection."""
        return attached(find_session(self._attachment.name))

    def _read(self) -> None:
        try:
            for snapshot, lag in self._snapshots():
                self._loop.call_soon_threadsafe(self._take, snapshot, lag)
        except (PmwError, OSError, msgspec.MsgspecError) as error:
            self.error = error if isinstance(error, PmwError) else self._attachment.gone()
        with suppress(RuntimeError):  # the loop is closed: nobody watches any more
            self._loop.call_soon_threadsafe(self.over.set)

    def _snapshots(self) -> Iterator[tuple[Snapshot, float]]:
        decode = msgspec.json.Decoder(Snapshot).decode
        request = Watch(entries=False, snapshots=True)
        for reply in self._attachment.ask(request, timeout=None):
            if isinstance(reply, Seen):
                yield decode(reply.snapshot), reply.lag

    def _take(self, snapshot: Snapshot, lag: float) -> None:
        news = self._latest is None or snapshot.recent[-1:] != self._latest.recent[-1:]
        self._latest, self.lag = snapshot, lag
        self.first.set()
        if news and snapshot.recent:
            for callback in tuple(self._on_news.values()):
                callback(snapshot.recent[-1])


async def _run_table(
    terminal: Terminal, attachment: Attachment, status: Status, seconds: float | None
) -> None:
    """Draw a session's table until `q`, the end of the time, or the end of the session."""
    header = Header(
        recipe=status.recipe or status.name,
        address=status.address,
        providers=status.providers or "",
        ending=f"q ends watching {status.name}",
        max_calls=status.max_calls,
    )
    remote = _Remote(attachment, asyncio.get_running_loop())
    async with asyncio.timeout(FIRST_WITHIN):
        await remote.first.wait()
    showing = run_table(
        remote,
        header=lambda: header,
        console=terminal.console(stderr=True),
        stop=remote.over,
        event_loop_lag=lambda: remote.lag,
    )
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await showing
    if remote.error is not None:
        raise remote.error


class _Channel:
    """What all sessions on a bus tell of themselves, as if they were one."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, Seen, Snapshot]] = {}
        self._recent: deque[Entry] = deque(maxlen=RECENT)
        self._past: deque[Entry] = deque(maxlen=REMEMBERED)
        self._on_news: dict[object, Callable[[Entry], None]] = {}
        self._watchers: dict[object, Callable[[Sequence[Entry]], None]] = {}
        self._decode = msgspec.json.Decoder(Snapshot).decode

    @property
    def lag(self) -> float:
        """How late the latest of their event loops is, in seconds."""
        return max((seen.lag for _, seen, _ in self._living()), default=0.0)

    def hear(self, session: str, reply: AnyReply) -> None:
        if isinstance(reply, Seen):
            with suppress(msgspec.MsgspecError):  # of another version
                self._told[session] = (time.monotonic(), reply, self._decode(reply.snapshot))
        elif isinstance(reply, Told):
            entry = reply.entry
            self._past.append(entry)
            for watch in tuple(self._watchers.values()):
                watch([entry])
            if entry.told:
                self._recent.append(entry)
                for callback in tuple(self._on_news.values()):
                    callback(entry)

    def _living(self) -> list[tuple[float, Seen, Snapshot]]:
        now = time.monotonic()
        self._told = {k: told for k, told in self._told.items() if now - told[0] < GONE_AFTER}
        return list(self._told.values())

    def snapshot(self) -> Snapshot:
        return merged([snapshot for _, _, snapshot in self._living()], recent=self._recent)

    def subscribe(self, callback: Callable[[Entry], None]) -> Callable[[], None]:
        return _listening(self._on_news, callback)

    def watch(self, callback: Callable[[Sequence[Entry]], None]) -> Callable[[], None]:
        return _listening(self._watchers, callback)

    def remembered(self) -> Iterator[Entry]:
        return iter(tuple(self._past))


_Callback = TypeVar("_Callback")


def _listening(listeners: dict[object, _Callback], callback: _Callback) -> Callable[[], None]:
    ticket = object()
    listeners[ticket] = callback

    def leave() -> None:
        listeners.pop(ticket, None)

    return leave


def show_bus_table(terminal: Terminal, bus: SharedBus, seconds: float | None) -> None:
    """Draw the table of all sessions on a bus on this terminal; blocks.

    Args:
        terminal: Where to draw, on stderr.
        bus: Which engine, which channel.
        seconds: After which it ends; None leaves that to `q`.

    Raises:
        PmwError: The bus can't be reached.
    """
    asyncio.run(_run_bus_table(terminal, bus, seconds))


async def _run_bus_table(terminal: Terminal, bus: SharedBus, seconds: float | None) -> None:
    channel = _Channel()
    header = Header(
        recipe=f"{bus.channel} at {bus.shown}",
        address=None,
        providers="",
        ending="q ends watching",
        max_calls=None,
    )
    async with watching(bus, Watch(snapshots=True), channel.hear):
        showing = run_table(
            channel,
            header=lambda: header,
            console=terminal.console(stderr=True),
            stop=asyncio.Event(),
            event_loop_lag=lambda: channel.lag,
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await showing
