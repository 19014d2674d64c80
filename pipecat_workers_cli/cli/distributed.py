"""The commands that put workers into processes of their own."""

from typing import Annotated, Optional

import typer

from pipecat_workers_cli.cli.arguments import (
    BusOrRedis,
    Channel,
    DatabaseUrl,
    Detach,
    DrainTimeout,
    Llm,
    RedisUrl,
    ServicesOption,
    Sets,
    Tts,
    takes_log_options,
)
from pipecat_workers_cli.cli.call_arguments import takes_call_options_but
from pipecat_workers_cli.cli.complete import complete_recipe, complete_worker
from pipecat_workers_cli.cli.progress import Progress
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.options import BusOptions, CallOptions, HostOptions, ServiceOptions


@takes_log_options
def worker(
    context: typer.Context,
    names: Annotated[
        Optional[list[str]],  # noqa: UP045  # Typer reads it at run time
        typer.Argument(
            metavar="NAME", help="Workers of the recipe.", autocompletion=complete_worker
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All workers of the recipe.")] = False,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            metavar="RECIPE",
            help="Whose workers: a name or a path.",
            autocompletion=complete_recipe,
        ),
    ] = "handoff",
    max_calls: Annotated[
        int | None,
        typer.Option(
            "--max-calls",
            min=1,
            help="Calls at once, for each worker.",
            show_default="what the slowest service bears",
        ),
    ] = None,
    drain_timeout: DrainTimeout = 60.0,
    health_port: Annotated[
        int | None,
        typer.Option(
            "--health-port",
            min=1,
            max=65535,
            metavar="P",
            help="Serves /healthz, /readyz and /metrics.",
        ),
    ] = None,
    bus: BusOrRedis = None,
    redis_url: RedisUrl = None,
    database_url: DatabaseUrl = None,
    channel: Channel = None,
    services: ServicesOption = None,
    llm: Llm = None,
    tts: Tts = None,
    sets: Sets = None,
    detach: Detach = False,
) -> None:
    """Host workers for calls whose main workers run elsewhere."""
    from pipecat_workers_cli.cli.detach import in_background
    from pipecat_workers_cli.settings import load_env
    from pipecat_workers_cli.tracing.setup import set_up_tracing

    terminal = Terminal.of(context)
    if detach and in_background(terminal, recipe):
        return
    load_env(terminal.env_file)
    terminal.set_up_logs()
    with Progress(terminal, "loading Pipecat"):
        set_up_tracing()
        from pipecat_workers_cli.cli.hosting import host_workers

    options = HostOptions(
        names=tuple(names or ()),
        every=every,
        services=ServiceOptions(profile=services, llm=llm, tts=tts),
        bus=BusOptions(bus, redis_url, database_url, channel),
        sets=tuple(sets or ()),
        max_calls=max_calls,
        drain_timeout=drain_timeout,
        health_port=health_port,
    )
    host_workers(terminal, recipe, options)


@takes_call_options_but("bus", "redis_url", "database_url", "channel", "detach")
def up(
    context: typer.Context,
    options: CallOptions,
    recipe: Annotated[
        str,
        typer.Argument(
            help="A shipped recipe's name, or a path: with a / or ending in .toml.",
            autocompletion=complete_recipe,
        ),
    ],
    postgres: Annotated[
        bool, typer.Option("--postgres", help="Over an embedded Postgres, instead of a Valkey.")
    ] = False,
) -> None:
    """Run a recipe as on many machines: each worker in a process, over a bus of its own."""
    from pipecat_workers_cli.settings import load_env

    terminal = Terminal.of(context)
    load_env(terminal.env_file)
    terminal.set_up_logs()
    from pipecat_workers_cli.cli.up import bring_up

    engine = "pgmq" if postgres else "redis"
    raise typer.Exit(bring_up(context, terminal, recipe, options, engine=engine))
