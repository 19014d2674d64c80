"""`pmw ps`, `say` and `stop`: which sessions there are, a turn to say in one, their end."""

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from pipecat_workers_cli.cli.arguments import Json, OutputOption, takes_log_options
from pipecat_workers_cli.cli.complete import complete_session
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import Output

if TYPE_CHECKING:
    from rich.console import Console, Group

    from pipecat_workers_cli.session.messages import Status

WATCH_EVERY = 1.0  # seconds; ages are shown in seconds
LATE = 5.0  # seconds beyond a turn's own time in which the session must say how it went
SESSION_COLUMNS = ("SESSION", "PID", "CALLS", "UPTIME", "VERSION", "RECIPE", "ADDRESS")
CALL_COLUMNS = ("CALL", "SESSION", "WORKER", "TURNS", "AGE")

SessionOption = Annotated[
    str | None,
    typer.Option(
        "--session",
        "-s",
        metavar="NAME",
        autocompletion=complete_session,
        help="Which session, where there are several.",
    ),
]


@takes_log_options
def ps(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Again each second.")] = False,
    output: OutputOption = Output.TEXT,
    as_json: Json = False,
) -> None:
    """List your sessions and their calls."""
    from pipecat_workers_cli.session.attached import START, statuses

    terminal = Terminal.of(context)
    as_json = as_json or output is Output.JSON
    if watch and not as_json and sys.stdout.isatty():
        import asyncio

        asyncio.run(_watch(terminal.console()))
        return
    while True:
        found = statuses()
        if as_json:
            _print_json(found)
        elif sys.stdout.isatty():
            terminal.console().print(_tables(found))
        else:
            _print_columns(found)
        if not watch:
            if not found and not as_json:
                terminal.say(f"no session is running; {START}")
            return
        if not as_json:
            print()  # which tells this second's columns from the next one's
        sys.stdout.flush()
        time.sleep(WATCH_EVERY)


@takes_log_options
def say(
    words: Annotated[list[str], typer.Argument(metavar="TEXT…", help="One turn of the caller.")],
    session: SessionOption = None,
    call: Annotated[
        str | None,
        typer.Option("--call", metavar="ID", help="Which call, where there are several."),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option("--timeout", min=0.1, max=3600, metavar="S", help="For the whole answer."),
    ] = 30.0,
    output: OutputOption = Output.TEXT,
    as_json: Json = False,
) -> None:
    """Say a turn in a session's call, and print what follows until the bot has finished.

    A session without a call opens one in words, and keeps it for the next turn.
    """
    from pipecat_workers_cli.cli.turns import TurnPrinter
    from pipecat_workers_cli.session.attached import attached, find_session
    from pipecat_workers_cli.session.messages import TURN, Done, Say, Told
    from pipecat_workers_cli.traffic.entry import TOLD

    text = " ".join(words).strip()
    if not text or len(text) > TURN:
        raise ConfigurationError(
            f"a turn has between 1 and {TURN} characters", mend="say something, or break it up"
        )
    as_json = as_json or output is Output.JSON
    events = TOLD if as_json else TOLD - {"error"}  # which ends it, in two lines
    show = TurnPrinter(Output.JSON if as_json else Output.TEXT, events=events)
    request = Say(text=text, call=call, timeout=timeout)
    with attached(find_session(session)) as attachment:
        for reply in attachment.ask(request, timeout=timeout + LATE):
            if isinstance(reply, Told):
                show(reply.entry)
            elif isinstance(reply, Done):
                return
    raise PmwError("the session ended before the answer", mend="see which there are: pmw ps")


@takes_log_options
def stop(
    context: typer.Context,
    names: Annotated[
        Optional[list[str]],  # noqa: UP045  # Typer reads it at run time
        typer.Argument(
            metavar="[NAME]…",
            autocompletion=complete_session,
            help="Sessions of pmw ps; left out: the only one.",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All of yours.")] = False,
    timeout: Annotated[
        float,
        typer.Option("--timeout", min=0, metavar="S", help="Until their processes are gone."),
    ] = 10.0,
) -> None:
    """End sessions as SIGTERM does, and wait until they are gone."""
    from pipecat_workers_cli.session import attached

    if every and names:
        raise ConfigurationError("--all leaves no names to choose", mend="leave one of both out")
    if every:
        chosen = list(attached.living())
    else:
        chosen = [attached.find_session(name) for name in dict.fromkeys(names or (None,))]
    terminal = Terminal.of(context)
    if not chosen:
        terminal.say("no session is running")
    attached.stop(chosen, within=timeout, on_end=lambda name: typer.echo(f"stopped {name}"))


def session_rows(found: Sequence["Status"]) -> Iterator[tuple[str, ...]]:
    """Give a row of `SESSION_COLUMNS` a session; what isn't known is a dash."""
    for one in found:
        calls = f"{len(one.calls)}/{one.max_calls or '-'}" if one.answers else "-"
        uptime = "-" if one.uptime is None else _age(one.uptime)
        told = (one.version, one.recipe, one.address)
        yield one.name, str(one.pid or "-"), calls, uptime, *(text or "-" for text in told)


def call_rows(found: Sequence["Status"]) -> Iterator[tuple[str, ...]]:
    """Give a row of `CALL_COLUMNS` a call."""
    for one in found:
        for call in one.calls:
            yield call.call, one.name, call.worker or "-", str(call.turns), _age(call.age)


def _age(seconds: float) -> str:
    from pipecat_workers_cli.cli.parts import clock

    return clock(seconds)


def _print_columns(found: Sequence["Status"]) -> None:
    """Print rows whose fields hold no space, for awk and its like."""
    _print_aligned([SESSION_COLUMNS, *session_rows(found)])
    calls = list(call_rows(found))
    if calls:
        print()
        _print_aligned([CALL_COLUMNS, *calls])


def _print_aligned(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(f"{field:<{width}}" for field, width in zip(row, widths, strict=True))
        print(line.rstrip())


def _print_json(found: Sequence["Status"]) -> None:
    import msgspec

    for one in found:
        fields = msgspec.to_builtins(one)
        del fields["is"]
        print(msgspec.json.encode(fields).decode())


def _tables(found: Sequence["Status"]) -> "Group":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    tables: list[Table] = []
    for columns, rows in (
        (SESSION_COLUMNS, list(session_rows(found))),
        (CALL_COLUMNS, list(call_rows(found))),
    ):
        if rows:
            table = Table(*map(str.lower, columns), box=None, header_style="dim", pad_edge=False)
            for first, *rest in rows:
                table.add_row(Text(first, style="bold"), *map(Text, rest))
            tables.append(table)
    return Group(*[part for table in tables for part in ("", table)][1:])


async def _watch(console: "Console") -> None:
    """Draw the tables anew each second, until `q`, SIGTERM or Ctrl-C."""
    import asyncio

    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from pipecat_workers_cli.cli.keys import open_keys, terminal_fd
    from pipecat_workers_cli.session.attached import START, statuses

    key = "Ctrl-C" if terminal_fd() is None else "q"
    ending = Text(f"\n{key} ends watching", style="dim")
    stop = asyncio.Event()

    def press(key: str) -> None:
        if key == "q":
            stop.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with Live(console=console, auto_refresh=False, screen=True) as live, open_keys(press):
        while not stop.is_set():
            found = await asyncio.to_thread(statuses)
            told = _tables(found) if found else Text(f"no session is running; {START}")
            live.update(Group(told, ending), refresh=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), WATCH_EVERY)
