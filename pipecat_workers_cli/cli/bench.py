"""`pmw bus bench`: how fast a shared bus is from here, beside its engine in the same run."""

import signal
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipecat_workers_cli.cli.arguments import (
    BusOrRedis,
    Channel,
    DatabaseUrl,
    Json,
    OutputOption,
    RedisUrl,
    takes_log_options,
)
from pipecat_workers_cli.cli.choice import read_span
from pipecat_workers_cli.cli.progress import Progress
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import BusOptions, Output

if TYPE_CHECKING:
    from pipecat_workers_cli.buses.bench import Bench

SECONDS = 10.0
ROWS = {"raw": "the engine alone", "pmw": "pmw over it"}


@takes_log_options
def bench(
    context: typer.Context,
    bus: BusOrRedis = None,
    redis_url: RedisUrl = None,
    database_url: DatabaseUrl = None,
    channel: Channel = None,
    span: Annotated[
        str | None,
        typer.Option("--for", metavar="10s", help="How long to measure.", show_default="10s"),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", min=1, metavar="N", help="Rounds to measure, however long."),
    ] = None,
    output: OutputOption = Output.TEXT,
    json: Json = False,
) -> None:
    """Measure a shared bus from here, beside its engine alone: latency, throughput, claims."""
    import asyncio

    from pipecat_workers_cli.settings import load_env

    terminal = Terminal.of(context)
    load_env(terminal.env_file)
    terminal.set_up_logs()
    seconds = read_span(span)
    if seconds is not None and count is not None:
        raise ConfigurationError("--for and --count both say when it is enough", mend="use one")
    from pipecat_workers_cli.buses.urls import choose_bus

    chosen = choose_bus(BusOptions(bus, redis_url, database_url, channel), otherwise="redis")
    if chosen is None:
        raise ConfigurationError(
            "a local bus is inside a session, with no engine beside it", mend="--bus redis, or pgmq"
        )
    from pipecat_workers_cli.buses.bench import run_bench

    if seconds is None and count is None:
        seconds = SECONDS
    enough = _count(count) if count else f"{seconds:g} s"
    terminal.say(f"measuring {chosen.told} for {enough}; Ctrl-C ends it")
    with Progress(terminal, "connecting") as progress:

        def tell(done: int, _took: float) -> None:
            progress.tell(f"{_count(done)}, of {enough}")

        found = asyncio.run(
            _until_told(run_bench(chosen, seconds=seconds, rounds=count, tell=tell))
        )
    if found.load > found.processors:
        terminal.say(
            f"this machine is busy (load {found.load:.1f} on {found.processors} processors): "
            "trust the ratios more than the times"
        )
    if json or output is Output.JSON:
        import msgspec

        print(msgspec.json.encode(found).decode())
    else:
        _show(terminal, found)


async def _until_told(measuring: "Coroutine[Any, Any, Bench]") -> "Bench":
    """Measure until that is done or SIGTERM comes, and leave nothing on the bus in either case."""
    import asyncio

    task = asyncio.create_task(measuring)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        if (this := asyncio.current_task()) is not None and this.cancelling():  # by SIGINT
            raise
        raise PmwError("the bench was stopped before it was done", mend="run it again") from None


def _show(terminal: Terminal, found: "Bench") -> None:
    from rich.table import Table

    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(_count(found.rounds), no_wrap=True)
    for title in ("p50 ms", "p99 ms", "frames a second"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, told in ROWS.items():
        speed = getattr(found, name)
        figures = (f"{speed.p50_ms:.2f}", f"{speed.p99_ms:.2f}", f"{speed.frames_per_s:,.0f}")
        table.add_row(told, *figures)
    table.add_row("ratio", *(f"{ratio:.2f}" for ratio in found.ratio.values()))
    terminal.console().print(table)
    print(f"an offer is claimed within {found.claim_p50_ms:.2f} ms (p99 {found.claim_p99_ms:.2f})")
    for name, told in ROWS.items():
        if lost := getattr(found, name).lost:
            print(f"{told}: {lost:,} frames did not arrive")


def _count(rounds: int) -> str:
    return "1 round" if rounds == 1 else f"{rounds} rounds"
