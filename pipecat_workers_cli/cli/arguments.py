"""The options that commands share, declared once; those of calls are in `call_arguments`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from pipecat_workers_cli.cli.complete import (
    LOG_LEVELS,
    complete_bus,
    complete_llm,
    complete_log_level,
    complete_stt,
    complete_transport,
    complete_tts,
)
from pipecat_workers_cli.cli.joining import join
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.options import (
    LogFormat,
    Output,
    Profile,
    Wire,
)


def _log_level(value: str | None) -> str | None:
    if value is not None and value.lower() not in LOG_LEVELS:
        raise typer.BadParameter(f"'{value}' is not one of {str(LOG_LEVELS)[1:-1]}")
    return value


LOGS, SERVICES, CALLERS, SCRIPT = "Logs", "Services", "Callers", "A call without a person"
BUS, LOCAL = "Bus", "This machine's microphone (-t local)"
PROXY_TOKEN = "PMW_PROXY_TOKEN"  # noqa: S105  # the variable's name

Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Only results and errors.", rich_help_panel=LOGS)
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="--log-level debug.", rich_help_panel=LOGS)
]
LogLevel = Annotated[
    str | None,
    typer.Option(
        "--log-level",
        callback=_log_level,
        autocompletion=complete_log_level,
        metavar="LEVEL",
        help="From trace to critical.",
        rich_help_panel=LOGS,
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option("--log-file", metavar="FILE", help="Logs go there.", rich_help_panel=LOGS),
]
LogFormatOption = Annotated[
    LogFormat | None,
    typer.Option(
        "--log-format",
        help="Lines for people, or a JSON object a line.",
        show_default="text",
        rich_help_panel=LOGS,
    ),
]
EnvFile = Annotated[
    Path | None,
    typer.Option(
        "--env-file", metavar="FILE", help="Instead of the nearest .env.", rich_help_panel=LOGS
    ),
]
OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="What stdout is for: a person or a program.")
]
Json = Annotated[bool, typer.Option("--json", help="-o json.")]
ServicesOption = Annotated[
    Profile | None,
    typer.Option(
        "--services",
        help="cloud, offline (no key, no network), or auto: each role by its key.",
        rich_help_panel=SERVICES,
    ),
]
WireOption = Annotated[
    Wire,
    typer.Option(
        "--wire",
        help="What is spoken over links: stock is what Pipecat's own WebSocket proxies speak.",
    ),
]
Llm = Annotated[
    str | None,
    typer.Option(
        "--llm",
        autocompletion=complete_llm,
        metavar="NAME[:MODEL]",
        help="Who thinks.",
        rich_help_panel=SERVICES,
    ),
]
Stt = Annotated[
    str | None,
    typer.Option(
        "--stt",
        autocompletion=complete_stt,
        metavar="NAME[:MODEL]",
        help="Who hears.",
        rich_help_panel=SERVICES,
    ),
]
Tts = Annotated[
    str | None,
    typer.Option(
        "--tts",
        autocompletion=complete_tts,
        metavar="NAME[:VOICE]",
        help="Who speaks.",
        rich_help_panel=SERVICES,
    ),
]
Sets = Annotated[
    Optional[list[str]],  # noqa: UP045  # Typer reads it at run time
    typer.Option("--set", metavar="KEY=VALUE", help="Sets a key of the recipe. Repeatable."),
]


def _bus(otherwise: str) -> Any:
    """Return the option for a bus; commands differ in what is meant if none is named."""
    return typer.Option(
        "--bus",
        autocompletion=complete_bus,
        metavar="URL",
        help="Where workers meet: local, redis, pgmq, or a URL: redis://…, postgresql://….",
        show_default=otherwise,
        rich_help_panel=BUS,
    )


Bus = Annotated[str | None, _bus("$PMW_BUS, else local")]
BusOrRedis = Annotated[str | None, _bus("$PMW_BUS, else redis")]
BusOrPgmq = Annotated[str | None, _bus("$PMW_BUS, else pgmq")]
BusOrSession = Annotated[str | None, _bus("a session of this machine")]
BusOfCommands = Annotated[str | None, _bus("$PMW_BUS, else local; of worker redis")]
RedisUrl = Annotated[
    str | None,
    typer.Option("--redis-url", metavar="URL", help="--bus URL.", rich_help_panel=BUS),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", metavar="URL", help="--bus URL.", rich_help_panel=BUS),
]
CHANNELS = "$PMW_CHANNEL, else pipecat:acme; on Postgres $PGMQ_CHANNEL, else pipecat_acme"
Channel = Annotated[
    str | None,
    typer.Option(
        "--channel",
        metavar="NAME",
        help="The application's name on a shared bus.",
        show_default=CHANNELS,
        rich_help_panel=BUS,
    ),
]
Transport = Annotated[
    str | None,
    typer.Option(
        "--transport",
        "-t",
        autocompletion=complete_transport,
        metavar="NAME",
        rich_help_panel=CALLERS,
        help="local, console, webrtc, daily, …; left out: all that the web server can serve.",
    ),
]
Host = Annotated[
    str, typer.Option("--host", help="Where the web server listens.", rich_help_panel=CALLERS)
]
Port = Annotated[
    int, typer.Option("--port", min=1, max=65535, help="Its port.", rich_help_panel=CALLERS)
]

Detach = Annotated[
    bool,
    typer.Option("--detach", help="Run in the background; print name and log once it is ready."),
]

DrainTimeout = Annotated[
    float,
    typer.Option(
        "--drain-timeout",
        min=0,
        metavar="S",
        help="How long calls may go on here after SIGTERM.",
    ),
]


def log_options(
    context: typer.Context,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_level: LogLevel = None,
    log_file: LogFile = None,
    log_format: LogFormatOption = None,
    env_file: EnvFile = None,
) -> None:
    """Give the terminal what was typed of the options that work everywhere."""
    terminal = Terminal.of(context)
    terminal.adopt(
        quiet=quiet,
        verbose=verbose,
        log_level=log_level,
        log_file=log_file,
        log_format=log_format,
    )
    terminal.env_file = env_file or terminal.env_file


def takes_log_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take the options that work everywhere; its terminal gets them."""
    return join(command, log_options, into=())
