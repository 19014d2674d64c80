"""`pmw bus`: traffic that was recorded, shown, summed up and compared."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from pipecat_workers_cli.cli.arguments import Json, OutputOption, takes_log_options
from pipecat_workers_cli.cli.bench import bench
from pipecat_workers_cli.cli.choice import FilterOption
from pipecat_workers_cli.cli.plain_text import plain
from pipecat_workers_cli.cli.progress import reading
from pipecat_workers_cli.cli.shared_bus import init
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.cli.watch import record, watch
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import Output, Words

if TYPE_CHECKING:
    from pipecat_workers_cli.traffic.record import Recording
    from pipecat_workers_cli.traffic.stats import Row, Rows, Stats
    from pipecat_workers_cli.traffic.story import Story, Turn

bus_app = typer.Typer(no_args_is_help=True)


@bus_app.callback()
def bus(context: typer.Context) -> None:
    """Watch, record, show and compare traffic."""
    rest = Terminal.of(context).runner_args
    if rest and context.invoked_subcommand != "watch":
        raise ConfigurationError(
            f"pmw bus {context.invoked_subcommand} takes nothing after '--', such as '{rest[0]}'",
            mend="leave it out; watch runs it under the tap",
        )


bus_app.command("watch")(watch)
bus_app.command("record")(record)
bus_app.command("init")(init)
bus_app.command("bench")(bench)


class Form(StrEnum):
    """What a call is shown as."""

    TEXT = "text"
    MERMAID = "mermaid"
    JSON = "json"
    SCENARIO = "scenario"


File = Annotated[Path, typer.Argument(metavar="FILE", help="A recording; - is stdin.")]
Call = Annotated[
    str | None, typer.Option("--call", metavar="ID", help="Only this call; a beginning will do.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Fail if a line of the file can't be read.")]


@bus_app.command("show")
@takes_log_options
def show(
    context: typer.Context,
    file: File,
    call: Call = None,
    turn: Annotated[
        int | None,
        typer.Option("--turn", metavar="N", min=0, help="What a worker was given in this turn."),
    ] = None,
    form: Annotated[
        Form,
        typer.Option("--format", help="scenario: what pmw eval runs, out of a call."),
    ] = Form.TEXT,
    expression: FilterOption = None,
    strict: Strict = False,
    output: OutputOption = Output.TEXT,
    as_json: Json = False,
) -> None:
    """Show recorded calls: each turn with its tools, transfers and jobs."""
    import msgspec

    from pipecat_workers_cli.traffic.show import (
        as_mermaid,
        as_scenario,
        as_text,
        lines,
        turn_as_text,
    )

    recording, stories = _read(Terminal.of(context), file, call, expression)
    if as_json or output is Output.JSON:
        form = Form.JSON
    if turn is not None:
        stories = [_only_turn(story, turn) for story in [_only_one(stories, file)]]
    match form:
        case Form.JSON:
            told = iter(msgspec.json.encode(story).decode() for story in stories)
        case Form.SCENARIO:
            told = as_scenario(_only_one(stories, file))
        case Form.MERMAID:
            told = as_mermaid(_only_one(stories, file))
        case Form.TEXT if turn is not None:
            told = turn_as_text(stories[0], stories[0].turns[0])
        case Form.TEXT:
            told = lines(map(as_text, stories))
    for line in told:
        typer.echo(plain(line) if form in (Form.TEXT, Form.MERMAID) else line)
    _report(Terminal.of(context), recording, strict=strict)


@bus_app.command("stats")
@takes_log_options
def stats(
    context: typer.Context,
    file: File,
    call: Call = None,
    expression: FilterOption = None,
    strict: Strict = False,
    output: OutputOption = Output.TEXT,
    as_json: Json = False,
) -> None:
    """Sum a recording up: counts, rates, and how long workers, jobs and tools took."""
    import json

    from pipecat_workers_cli.traffic.entry import Entry
    from pipecat_workers_cli.traffic.filter import Filter
    from pipecat_workers_cli.traffic.record import Recording
    from pipecat_workers_cli.traffic.stats import Line, sum_up

    recording: Recording[Any]
    if expression is None:
        recording = Recording(file, Line)
        wanted: Iterable[Any] = recording
    else:  # which may ask for more than sums need
        recording = Recording(file, Entry)
        wanted = filter(Filter(expression), recording)
    with reading(Terminal.of(context), recording):
        summed = sum_up(wanted, call=call)
    if not summed.calls:
        raise _no_call(file, call, expression)
    if as_json or output is Output.JSON:
        typer.echo(json.dumps(_fields(summed)))
    else:
        _print_stats(Terminal.of(context), summed)
    _report(Terminal.of(context), recording, strict=strict)


@bus_app.command("diff")
@takes_log_options
def diff(
    context: typer.Context,
    one: Annotated[Path, typer.Argument(metavar="A", help="A recording of how it was.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="A recording of how it is.")],
    call: Call = None,
    words: Annotated[
        Words, typer.Option("--words", help="fuzzy: other words pass, other numbers don't.")
    ] = Words.EXACT,
    ignore: Annotated[
        Optional[list[str]],  # noqa: UP045  # Typer reads it at run time
        typer.Option(
            "--ignore",
            metavar="WHAT",
            help="user, bot, tool, args, result, transfer, reason, job, error or end. Repeatable.",
        ),
    ] = None,
    strict: Strict = False,
    output: OutputOption = Output.TEXT,
    as_json: Json = False,
) -> None:
    """Compare two recorded calls by meaning: 0 alike, 1 different, 2 trouble."""
    import json

    from pipecat_workers_cli.traffic.compare import find_divergence

    try:
        recordings = [_read(Terminal.of(context), file, call, None) for file in (one, other)]
        stories = [read[1] for read in recordings]
        if len(stories[0]) != len(stories[1]) and call is None:
            counts = " and ".join(str(len(found)) for found in stories)
            raise ConfigurationError(
                f"the files hold {counts} calls", mend="name one of each with --call"
            )
        found = [
            find_divergence(mine, yours, words=words, ignore=tuple(ignore or ()))
            for mine, yours in zip(*stories, strict=True)
        ]
        for recording, _ in recordings:
            _report(Terminal.of(context), recording, strict=strict)
    except PmwError as error:
        error.exit_code = 2  # 1 says that they differ
        raise
    first = next((divergence for divergence in found if divergence), None)
    if as_json or output is Output.JSON:
        place = None if first is None else {
            "turn": first.turn, "before": first.before, "a": first.one, "b": first.other,
        }  # fmt: skip
        typer.echo(json.dumps({"alike": first is None, "first": place}, ensure_ascii=False))
    elif first is None:
        typer.echo("alike")
    else:
        typer.echo(f"different in turn {first.turn}:")
        for line in first.before:
            typer.echo(f"  {plain(line)}")
        typer.echo(f"- {plain(first.one or '(nothing more)')}")
        typer.echo(f"+ {plain(first.other or '(nothing more)')}")
    if first is not None:
        raise typer.Exit(1)


def _read(
    terminal: Terminal, file: Path, call: str | None, expression: str | None
) -> "tuple[Recording[Any], list[Story]]":
    from pipecat_workers_cli.traffic.entry import Entry
    from pipecat_workers_cli.traffic.filter import Filter
    from pipecat_workers_cli.traffic.record import Recording
    from pipecat_workers_cli.traffic.story import read_stories

    meant = Filter(expression or "")
    recording = Recording(file, Entry)
    # Without its beginning and its turns nothing of a call could be placed.
    frame = ("call", "user", "end")
    with reading(terminal, recording):
        stories = read_stories((e for e in recording if meant(e) or e.event in frame), call=call)
    if not stories:
        raise _no_call(file, call)
    return recording, stories


def _no_call(file: Path, call: str | None, expression: str | None = None) -> ConfigurationError:
    if expression is not None:
        return ConfigurationError(
            f"{file} holds nothing that --filter '{expression}' means", mend="leave a term out"
        )
    if call is None:
        return ConfigurationError(f"{file} holds no call", mend="record while one is held")
    mend = f"see which there are: pmw bus show {file}"
    return ConfigurationError(f"{file} holds no call {call}", mend=mend)


def _only_one(stories: "list[Story]", file: Path) -> "Story":
    if len(stories) > 1:
        ids = ", ".join(story.call for story in stories[:10])
        raise ConfigurationError(
            f"{file} holds {len(stories)} calls", mend=f"name one with --call: {ids}"
        )
    return stories[0]


def _only_turn(story: "Story", number: int) -> "Story":
    import msgspec

    found: list[Turn] = [turn for turn in story.turns if turn.number == number]
    if not found:
        numbers = f"from {story.turns[0].number} to {story.turns[-1].number}"
        raise ConfigurationError(
            f"call {story.call} has no turn {number}", mend=f"its turns go {numbers}"
        )
    return msgspec.structs.replace(story, turns=found)


def _report(terminal: Terminal, recording: "Recording[Any]", *, strict: bool) -> None:
    """Say what of a file could not be read."""
    notes: list[str] = []
    if recording.broken:
        shown = ", ".join(map(str, recording.broken[:10]))
        more = f" and {len(recording.broken) - 10} more" if len(recording.broken) > 10 else ""
        notes.append(f"{recording.path}: passed over what can't be read in line {shown}{more}")
    if recording.cut:
        notes.append(f"{recording.path}: it was cut off; all before that has been read")
    if notes and strict:
        raise PmwError("; ".join(notes), mend="leave out --strict to make do with the rest")
    for note in notes:
        terminal.say(note)


def _fields(summed: "Stats") -> dict[str, Any]:
    def row_fields(row: "Row", *, timed: bool) -> dict[str, Any]:
        told: dict[str, Any] = {"count": row.count}
        if timed:
            told |= {"failed": row.failed, **_times(row)}
        elif row.size:
            told["bytes"] = row.size
        return told

    def all_fields(rows: "Rows", *, timed: bool) -> dict[str, Any]:
        return {name: row_fields(row, timed=timed) for name, row in sorted(rows.items())}

    return {
        "calls": summed.calls,
        "seconds": summed.seconds,
        "left_out": summed.left_out,
        "kinds": all_fields(summed.kinds, timed=False),
        "workers": all_fields(summed.workers, timed=True),
        "jobs": all_fields(summed.jobs, timed=True),
        "tools": all_fields(summed.tools, timed=True),
    }


def _times(row: "Row") -> dict[str, float]:
    shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
    times = {name: round(row.times.percentile(share), 1) for name, share in shares.items()}
    return {**times, "max_ms": round(row.times.most, 1)}


def _print_stats(terminal: Terminal, summed: "Stats") -> None:
    from rich.table import Table
    from rich.text import Text

    console = terminal.console()
    calls = "1 call" if summed.calls == 1 else f"{summed.calls} calls"
    typer.echo(f"{calls}, {summed.seconds:,.1f} s the longest")
    if summed.left_out:
        typer.echo(f"{summed.left_out} messages came too fast to be recorded")

    def table(title: str, *columns: str) -> Table:
        made = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
        made.add_column(title, no_wrap=True)
        for column in columns:
            made.add_column(column, justify="right", no_wrap=True)
        return made

    kinds = table("kind", "count", "a second", "bytes")
    for name, row in sorted(summed.kinds.items()):
        rate = row.count / summed.seconds if summed.seconds else 0.0
        kinds.add_row(Text(name), f"{row.count:,}", f"{rate:,.2f}", f"{row.size:,}")
    console.print(kinds)
    for title, rows in (("worker", summed.workers), ("job", summed.jobs), ("tool", summed.tools)):
        if not rows:
            continue
        timed = table(title, "count", "failed", "p50 ms", "p95 ms", "p99 ms", "most ms")
        for name, row in sorted(rows.items()):
            figures = [f"{ms:,.1f}" for ms in _times(row).values()]
            timed.add_row(Text(name), f"{row.count:,}", str(row.failed), *figures)
        console.print(timed)
