"""The live table of a session in another process, drawn here from what it tells of itself."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress

import msgspec

from pipecat_workers_cli.cli.sheet import Header
from pipecat_workers_cli.cli.table import run_table
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.session.attached import Attachment, attached, find_session
from pipecat_workers_cli.session.messages import (
    AskStatus,
    Done,
    Remember,
    Seen,
    Status,
    Told,
    Watch,
)
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.snapshot import Snapshot

REMEMBERED_WITHIN = 10.0  # seconds for what a session remembers; some 15 MB at most
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
        ticket = object()
        self._on_news[ticket] = callback

        def unsubscribe() -> None:
            self._on_news.pop(ticket, None)

        return unsubscribe

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
