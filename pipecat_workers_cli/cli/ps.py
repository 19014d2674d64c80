"""`pmw ps`: this user's sessions, and the hosts and calls on a shared bus."""

import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from pipecat_workers_cli.cli.arguments import (
    Bus,
    Channel,
    DatabaseUrl,
    Json,
    OutputOption,
    RedisUrl,
    takes_log_options,
)
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import BusOptions, Output

if TYPE_CHECKING:
    from asyncio import Event

    from rich.console import Console, Group, RenderableType
    from rich.live import Live
    from rich.text import Text

    from pipecat_workers_cli.buses.presence import Present
    from pipecat_workers_cli.buses.urls import SharedBus
    from pipecat_workers_cli.session.messages import Status

WATCH_EVERY = 1.0  # seconds; ages are shown in seconds
ODD = "!"
"""Stands after the hash of a recipe that is not what most run by its name."""

SESSIONS = ("SESSION", "PID", "CALLS", "UPTIME", "VERSION", "RECIPE", "ADDRESS")
OWN_CALLS = ("CALL", "SESSION", "WORKER", "TURNS", "AGE")
CHANNELS = ("CHANNEL", "BUS")
HOSTS = ("HOST", "WORKER", "CALLS/MAX", "STATE", "SEEN", "VERSION", "RECIPE")
CALLS = ("CALL", "WORKER", "TURN", "AGE")

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """What there is at one moment.

    Attributes:
        sessions: This user's on this machine.
        bus: Where else was looked; None is nowhere.
        present: Who is there; None if that can't be told.
        failure: Why the bus can't be reached.
    """

    sessions: "Sequence[Status]"
    bus: "SharedBus | None" = None
    present: "Present | None" = None
    failure: PmwError | None = None


@takes_log_options
def ps(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Again each second.")] = False,
    bus: Bus = None,
    redis_url: RedisUrl = None,
    database_url: DatabaseUrl = None,
    channel: Channel = None,
    output: OutputOption = Output.TEXT,
    as_json: Json = False,
) -> None:
    """List your sessions and their calls; on a shared bus, all hosts and calls."""
    from pipecat_workers_cli.settings import load_env

    terminal = Terminal.of(context)
    load_env(terminal.env_file)
    import asyncio

    from pipecat_workers_cli.buses.urls import choose_bus

    chosen = choose_bus(BusOptions(bus, redis_url, database_url, channel))
    as_json = as_json or output is Output.JSON
    if watch and not as_json and sys.stdout.isatty():
        asyncio.run(_watch(terminal.console(), chosen))
        return
    if watch:
        asyncio.run(_print_again(_print_json if as_json else _print_columns_and_line, chosen))
        return
    found = asyncio.run(_take_once(chosen))
    if as_json:
        _print_json(found)
    elif sys.stdout.isatty():
        terminal.console().print(_tables(found))
    else:
        _print_columns(found)
    for note in () if as_json else _notes(found):
        terminal.say(note)
    if found.failure is not None:
        raise found.failure


@asynccontextmanager
async def looking(bus: "SharedBus | None") -> AsyncGenerator[Callable[[], Awaitable[Listing]]]:
    """Give what sees what there is now, over one connection while the block lasts.

    Args:
        bus: Where to look besides this machine; None is nowhere.
    """
    import asyncio

    from pipecat_workers_cli.buses.presence import look
    from pipecat_workers_cli.buses.urls import open_network
    from pipecat_workers_cli.session.attached import statuses

    network = None
    async with AsyncExitStack() as stack:

        async def take() -> Listing:
            nonlocal network
            sessions = await asyncio.to_thread(statuses)
            if bus is None or bus.kind.stock:
                return Listing(sessions, bus)
            try:
                if network is None:  # which connects anew by itself, once it is there
                    network = await stack.enter_async_context(open_network(bus))
                return Listing(sessions, bus, await look(network))
            except PmwError as error:
                return Listing(sessions, bus, failure=error)

        yield take


async def _take_once(bus: "SharedBus | None") -> Listing:
    async with looking(bus) as take:
        return await take()


async def _print_again(show: Callable[[Listing], None], bus: "SharedBus | None") -> None:
    """Print what there is each second, until SIGTERM or Ctrl-C."""
    import asyncio

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with looking(bus) as take:
        while not stop.is_set():
            show(await take())
            sys.stdout.flush()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), WATCH_EVERY)


def sections(found: Listing) -> Iterator[tuple[Row, list[Row]]]:
    """Give what is listed: columns with their rows, as far as there are any."""
    listed = (
        (SESSIONS, session_rows(found.sessions)),
        (OWN_CALLS, own_call_rows(found.sessions)),
        (CHANNELS, [(found.bus.channel, found.bus.shown)] if found.bus else []),
        (HOSTS, host_rows(found.present) if found.present else []),
        (CALLS, call_rows(found.present) if found.present else []),
    )
    for columns, rows in listed:
        if rows := list(rows):
            yield columns, rows


def session_rows(found: "Sequence[Status]") -> Iterator[Row]:
    """Give a row of `SESSIONS` a session; what isn't known is a dash."""
    for one in found:
        calls = f"{len(one.calls)}/{one.max_calls or '-'}" if one.answers else "-"
        uptime = "-" if one.uptime is None else _age(one.uptime)
        told = (one.version, one.recipe, one.address)
        yield one.name, str(one.pid or "-"), calls, uptime, *(text or "-" for text in told)


def own_call_rows(found: "Sequence[Status]") -> Iterator[Row]:
    """Give a row of `OWN_CALLS` a call of this user's sessions."""
    for one in found:
        for call in one.calls:
            yield call.call, one.name, call.worker or "-", str(call.turns), _age(call.age)


def host_rows(present: "Present") -> Iterator[Row]:
    """Give a row of `HOSTS` a worker of each host."""
    odd = present.odd_hashes()
    for seen in present.hosts:
        host = seen.row
        calls = f"{host.calls}/{host.max_calls}"
        mark = ODD if (host.recipe, host.hash) in odd else ""
        recipe = f"{host.recipe}@{host.hash}{mark}"
        told = (calls, host.state, f"{seen.age:.1f}s", host.version, recipe)
        yield host.host, host.worker, *told


def call_rows(present: "Present") -> Iterator[Row]:
    """Give a row of `CALLS` a call on the bus."""
    for seen in present.sessions:
        for call in seen.row.calls:
            yield call.call, call.worker or "-", str(call.turn), _age(call.age + seen.age)


def _age(seconds: float) -> str:
    from pipecat_workers_cli.cli.parts import clock

    return clock(seconds)


def _notes(found: Listing) -> Iterator[str]:
    """Give what is to be said beside the listing."""
    if not found.sessions and found.bus is None:
        from pipecat_workers_cli.session.attached import START

        yield f"no session is running; {START}"
    if found.bus is not None and found.bus.kind.stock:
        yield "stock Pipecat's processes don't tell who is there"
    present = found.present
    if present is None:
        return
    if not present.hosts and not any(seen.row.calls for seen in present.sessions):
        yield "no host and no call is there; start a host: pmw worker NAME"
    if present.odd_hashes():
        yield f"{ODD} differs from the recipe that most run by this name"
    if more := sum(seen.row.unlisted for seen in present.sessions):
        yield f"{more} more calls are not listed"


def _print_columns(found: Listing) -> None:
    """Print rows whose fields hold no space, for awk and its like; a blank line between."""
    blocks = [_aligned([columns, *rows]) for columns, rows in sections(found)]
    if not any(columns is SESSIONS for columns, _ in sections(found)):
        blocks.insert(0, _aligned([SESSIONS]))
    print("\n\n".join(blocks))


def _print_columns_and_line(found: Listing) -> None:
    _print_columns(found)
    print()  # which tells this second's columns from the next one's


def _aligned(rows: Sequence[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(f"{field:<{width}}" for field, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _print_json(found: Listing) -> None:
    """Print an object a line: each session, then each host's worker and each call on the bus."""
    import msgspec

    told: list[dict[str, object]] = []
    for one in found.sessions:
        told.append({**msgspec.to_builtins(one), "is": "session"})
    if found.present is not None and found.bus is not None:
        where = {"channel": found.bus.channel, "bus": found.bus.shown}
        odd = found.present.odd_hashes()
        for host in found.present.hosts:
            differs = (host.row.recipe, host.row.hash) in odd
            row = {**msgspec.to_builtins(host.row), "seen": host.age, "differs": differs}
            told.append({"is": "host", **row, **where})
        for session in found.present.sessions:
            for call in session.row.calls:
                row = {**msgspec.to_builtins(call), "session": session.row.session}
                told.append({"is": "call", **row, **where})
    for fields in told:
        print(msgspec.json.encode(fields).decode())


def _tables(found: Listing) -> "Group":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    tables: list[Table] = []
    for columns, rows in sections(found):
        table = Table(*map(str.lower, columns), box=None, header_style="dim", pad_edge=False)
        for first, *rest in rows:
            cells = [Text(cell, style="red" if cell.endswith(ODD) else "") for cell in rest]
            table.add_row(Text(first, style="bold"), *cells)
        tables.append(table)
    return Group(*[part for table in tables for part in ("", table)][1:])


async def _watch(console: "Console", bus: "SharedBus | None") -> None:
    """Draw the tables anew each second, until `q`, SIGTERM or Ctrl-C."""
    import asyncio

    from rich.live import Live
    from rich.text import Text

    from pipecat_workers_cli.cli.keys import open_keys, terminal_fd

    key = "Ctrl-C" if terminal_fd() is None else "q"
    ending = Text(f"\n{key} ends watching", style="dim")
    stop = asyncio.Event()

    def press(key: str) -> None:
        if key == "q":
            stop.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with looking(bus) as take:
        with Live(console=console, auto_refresh=False, screen=True) as live, open_keys(press):
            await _draw(live, take, ending, stop)


async def _draw(
    live: "Live", take: Callable[[], Awaitable[Listing]], ending: "Text", stop: "Event"
) -> None:
    import asyncio

    from rich.console import Group
    from rich.text import Text

    while not stop.is_set():
        found = await take()
        told: list[RenderableType] = [_tables(found), *map(Text, _notes(found))]
        if found.failure is not None:
            told.append(Text(found.failure.what, style="red"))
        live.update(Group(*told, ending), refresh=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), WATCH_EVERY)
