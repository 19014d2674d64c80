"""`pmw bus watch`: what happens in a running session, seen from another terminal."""

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pipecat_workers_cli.cli.arguments import Json, takes_log_options
from pipecat_workers_cli.cli.sessions import SessionOption
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError

if TYPE_CHECKING:
    from pipecat_workers_cli.session.attached import Attachment
    from pipecat_workers_cli.traffic.entry import Entry

SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
SECONDS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0}


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
    from pipecat_workers_cli.logs import set_up_logs
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
            set_up_logs(terminal.log_level, terminal.log_file)  # Pipecat greets as it is imported
            from pipecat_workers_cli.cli.remote import show_table

            show_table(terminal, attachment, seconds)
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
        raise attachment.gone()
