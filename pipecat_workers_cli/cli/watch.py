"""`pmw bus watch`: what happens in a running session, seen from another terminal."""

import asyncio
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pipecat_workers_cli.cli.arguments import Json, takes_log_options
from pipecat_workers_cli.cli.sessions import SessionOption
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError, PmwError

if TYPE_CHECKING:
    from pipecat_workers_cli.session.attached import Attachment
    from pipecat_workers_cli.session.messages import Status
    from pipecat_workers_cli.traffic.entry import Entry
    from pipecat_workers_cli.traffic.snapshot import Snapshot

SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
SECONDS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0}
FIRST_WITHIN = 5.0  # seconds until a session that lives has shown what it does


class View(StrEnum):
    """How a session is shown."""

    TABLE = "table"
    LINES = "lines"
    JSON = "json"


@takes_log_options
def watch(
    context: typer.Context,
    session: SessionOption = None,
    output: Annotated[
        View | None,
        typer.Option("--output", "-o", help="How.", show_default="table on a terminal, else lines"),
    ] = None,
    as_json: Json = False,
    expression: Annotated[
        str | None,
        typer.Option(
            "--filter", metavar="EXPR", help='Only these: worker:support kind:job "boots"'
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, metavar="N", help="Ends after so many.")
    ] = None,
    span: Annotated[
        str | None, typer.Option("--for", metavar="10s", help="Ends after this time.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="EXPR", help="Ends with one like this; exit 1 if time ran out first."
        ),
    ] = None,
) -> None:
    """Show what the workers of a running session say to each other."""
    from pipecat_workers_cli.session.attached import attached, find_session
    from pipecat_workers_cli.traffic.filter import Filter

    terminal = Terminal.of(context)
    wanted = Filter(expression) if expression else None
    met = Filter(until) if until else None
    seconds = None if span is None else read_span(span)
    chooses = (expression, count, until) != (None, None, None)
    view = View.JSON if as_json else output
    if view is None:
        view = View.TABLE if sys.stdout.isatty() and not chooses else View.LINES
    if view is View.TABLE and chooses:
        raise ConfigurationError(
            "--filter, --count and --until choose entries, and the table shows all",
            mend="-o lines, or leave them out",
        )
    with attached(find_session(session)) as attachment:
        if view is View.TABLE:
            _show_table(terminal, attachment, seconds)
            return
        shown = _Shown(view, wanted, count, met)
        _tell_entries(terminal, attachment, seconds, shown)
    if met is not None and not shown.met:
        raise typer.Exit(1)


def read_span(text: str) -> float:
    """Return the seconds that `10s`, `500ms`, `2m` or a bare number mean.

    Raises:
        ConfigurationError: It is no length of time.
    """
    found = SPAN.fullmatch(text)
    if found is None or not float(found[1]):
        raise ConfigurationError(f"'{text}' is no length of time", mend="10s, 500ms or 2m")
    return float(found[1]) * SECONDS[found[2]]


class _Shown:
    """Writes the entries that are wanted, and says when it is enough."""

    def __init__(
        self,
        view: View,
        wanted: "Callable[[Entry], bool] | None",
        count: int | None,
        met: "Callable[[Entry], bool] | None",
    ) -> None:
        self.met = False
        self._view = view
        self._wanted = wanted
        self._left = count
        self._until = met

    def enough(self, entry: "Entry") -> bool:
        """Write an entry, if it is wanted; return whether it is the last."""
        if self._wanted is None or self._wanted(entry):
            self._write(entry)
            if self._left is not None:
                self._left -= 1
        self.met = self._until is not None and self._until(entry)
        return self.met or self._left == 0

    def _write(self, entry: "Entry") -> None:
        if self._view is View.JSON:
            import msgspec

            print(msgspec.json.encode(entry).decode(), flush=True)
        else:
            from pipecat_workers_cli.cli.table import entry_line

            print(entry_line(entry), flush=True)


def _tell_entries(
    terminal: Terminal, attachment: "Attachment", seconds: float | None, shown: _Shown
) -> None:
    from pipecat_workers_cli.session.messages import Bye, Told, Watch

    with suppress(TimeoutError):  # --for is over
        for reply in attachment.ask(Watch(), timeout=seconds):
            if isinstance(reply, Told) and shown.enough(reply.entry):
                return
            if isinstance(reply, Bye):
                terminal.say(f"session '{attachment.name}' has ended")
                return
        raise _gone(attachment)


def _gone(attachment: "Attachment") -> PmwError:
    return PmwError(
        f"session '{attachment.name}' is gone, or let go of this watcher", mend="see: pmw ps"
    )


def _show_table(terminal: Terminal, attachment: "Attachment", seconds: float | None) -> None:
    from pipecat_workers_cli.logs import set_up_logs
    from pipecat_workers_cli.session.attached import attached, find_session
    from pipecat_workers_cli.session.messages import AskStatus, Status

    set_up_logs(terminal.log_level, terminal.log_file)  # of Pipecat, which knows the kinds
    with attached(find_session(attachment.name)) as other:  # one request a connection
        status = next(other.ask(AskStatus()), None)
    if not isinstance(status, Status):
        raise _gone(attachment)
    asyncio.run(_run_table(terminal, attachment, status, seconds))


class _Remote:
    """What a session in another process tells of itself, read in a thread."""

    def __init__(self, attachment: "Attachment", loop: asyncio.AbstractEventLoop) -> None:
        self.first = asyncio.Event()
        self.over = asyncio.Event()
        self.error: PmwError | None = None
        self.lag = 0.0
        self._attachment = attachment
        self._loop = loop
        self._latest: Snapshot | None = None
        self._on_news: dict[object, Callable[[Entry], None]] = {}
        threading.Thread(target=self._read, name="read the session", daemon=True).start()

    def snapshot(self) -> "Snapshot":
        assert self._latest is not None  # nobody draws before the first
        return self._latest

    def subscribe(self, callback: "Callable[[Entry], None]") -> Callable[[], None]:
        ticket = object()
        self._on_news[ticket] = callback

        def unsubscribe() -> None:
            self._on_news.pop(ticket, None)

        return unsubscribe

    def _read(self) -> None:
        try:
            for snapshot, lag in self._snapshots():
                self._loop.call_soon_threadsafe(self._take, snapshot, lag)
        except (PmwError, OSError) as error:
            self.error = error if isinstance(error, PmwError) else _gone(self._attachment)
        with suppress(RuntimeError):  # the loop is closed: nobody watches any more
            self._loop.call_soon_threadsafe(self.over.set)

    def _snapshots(self) -> "Iterator[tuple[Snapshot, float]]":
        import msgspec

        from pipecat_workers_cli.session.messages import Seen, Watch
        from pipecat_workers_cli.traffic.snapshot import Snapshot

        decode = msgspec.json.Decoder(Snapshot).decode
        request = Watch(entries=False, snapshots=True)
        for reply in self._attachment.ask(request, timeout=None):
            if isinstance(reply, Seen):
                yield decode(reply.snapshot), reply.lag

    def _take(self, snapshot: "Snapshot", lag: float) -> None:
        news = self._latest is None or snapshot.recent[-1:] != self._latest.recent[-1:]
        self._latest, self.lag = snapshot, lag
        self.first.set()
        if news and snapshot.recent:
            for callback in tuple(self._on_news.values()):
                callback(snapshot.recent[-1])


async def _run_table(
    terminal: Terminal, attachment: "Attachment", status: "Status", seconds: float | None
) -> None:
    """Draw a session's table until `q`, the end of the time, or the end of the session."""
    from pipecat_workers_cli.cli.sheet import Header
    from pipecat_workers_cli.cli.table import run_table

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
