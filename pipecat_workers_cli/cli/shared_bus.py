"""`pmw bus init`: what a shared bus needs before it carries calls."""

import typer

from pipecat_workers_cli.cli.arguments import (
    BusOrPgmq,
    Channel,
    DatabaseUrl,
    Json,
    OutputOption,
    RedisUrl,
    takes_log_options,
)
from pipecat_workers_cli.cli.progress import Progress
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.options import BusOptions, Output


@takes_log_options
def init(
    context: typer.Context,
    bus: BusOrPgmq = None,
    redis_url: RedisUrl = None,
    database_url: DatabaseUrl = None,
    channel: Channel = None,
    output: OutputOption = Output.TEXT,
    json: Json = False,
) -> None:
    """Make a bus ready for calls: install PGMQ's SQL into a Postgres that lacks it."""
    import asyncio
    import sys

    import msgspec

    from pipecat_workers_cli.settings import load_env

    terminal = Terminal.of(context)
    load_env(terminal.env_file)
    from pipecat_workers_cli.buses.urls import choose_bus, prepare

    chosen = choose_bus(BusOptions(bus, redis_url, database_url, channel), otherwise="pgmq")
    with Progress(terminal, f"making {chosen.shown} ready" if chosen else ""):
        told = asyncio.run(prepare(chosen)) if chosen else "local: there is nothing to make ready"
    if json or output is Output.JSON:
        where = chosen.shown if chosen else "local"
        sys.stdout.write(msgspec.json.encode({"bus": where, "ready": told}).decode() + "\n")
    else:
        print(told)
