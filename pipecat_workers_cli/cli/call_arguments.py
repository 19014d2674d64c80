"""The options of calls, declared once: what a command takes that holds some.

`takes_call_options` gives a command all of `call_options`' parameters; the command gets
them as one frozen `CallOptions`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Optional

import typer

from pipecat_workers_cli.cli.arguments import (
    CALLERS,
    LOCAL,
    SCRIPT,
    Bus,
    Channel,
    DatabaseUrl,
    Detach,
    EnvFile,
    Host,
    Json,
    Llm,
    LogFile,
    LogFormatOption,
    LogLevel,
    OutputOption,
    Port,
    Quiet,
    RedisUrl,
    ServicesOption,
    Sets,
    Stt,
    Transport,
    Tts,
    Verbose,
    log_options,
)
from pipecat_workers_cli.cli.joining import join
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.options import (
    BusOptions,
    CallOptions,
    Duplex,
    LocalOptions,
    Output,
    ServeOptions,
    ServiceOptions,
    TrafficMode,
)

PAGE_TOKEN = "PMW_PAGE_TOKEN"  # noqa: S105  # the variable's name


def call_options(
    context: typer.Context,
    transport: Transport = None,
    host: Host = "localhost",
    port: Port = 7860,
    allowed_origins: Annotated[
        Optional[list[str]],  # noqa: UP045  # Typer reads it at run time
        typer.Option(
            "--allowed-origins",
            metavar="ORIGIN",
            rich_help_panel=CALLERS,
            help="Pages of this origin may call too. Repeatable.",
        ),
    ] = None,
    page_token: Annotated[
        str | None,
        typer.Option(
            "--page-token",
            metavar="TOKEN",
            rich_help_panel=CALLERS,
            help="Asked of every caller; needed beyond localhost.",
            show_default=f"${PAGE_TOKEN}",
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            rich_help_panel=CALLERS,
            help="Listen beyond localhost without a page token.",
        ),
    ] = False,
    max_calls: Annotated[
        int | None,
        typer.Option(
            "--max-calls",
            min=1,
            rich_help_panel=CALLERS,
            help="Calls at once.",
            show_default="what the slowest service bears",
        ),
    ] = None,
    idle_timeout: Annotated[
        float,
        typer.Option(
            "--idle-timeout",
            min=1,
            metavar="S",
            rich_help_panel=CALLERS,
            help="Ends a call in which nobody says anything.",
        ),
    ] = 300.0,
    duplex: Annotated[
        Duplex,
        typer.Option(
            "--duplex",
            rich_help_panel=LOCAL,
            help="half: the bot doesn't hear itself; full: it can be interrupted, by headphones.",
        ),
    ] = Duplex.HALF,
    input_device: Annotated[
        str | None,
        typer.Option(
            "--input-device",
            metavar="NAME",
            rich_help_panel=LOCAL,
            help="The microphone: a number or a part of its name.",
        ),
    ] = None,
    output_device: Annotated[
        str | None,
        typer.Option(
            "--output-device", metavar="NAME", rich_help_panel=LOCAL, help="The loudspeaker."
        ),
    ] = None,
    list_devices: Annotated[
        bool,
        typer.Option("--list-devices", rich_help_panel=LOCAL, help="Only list what is there."),
    ] = False,
    bus: Bus = None,
    redis_url: RedisUrl = None,
    database_url: DatabaseUrl = None,
    channel: Channel = None,
    services: ServicesOption = None,
    llm: Llm = None,
    stt: Stt = None,
    tts: Tts = None,
    sets: Sets = None,
    say: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--say",
            metavar="TEXT",
            rich_help_panel=SCRIPT,
            help="One turn of the caller, in words. Repeatable.",
        ),
    ] = None,
    say_file: Annotated[
        Path | None,
        typer.Option(
            "--say-file",
            metavar="FILE",
            rich_help_panel=SCRIPT,
            help="A turn a line; - is stdin.",
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            metavar="FILE",
            help="Every bus message, as JSON lines; .gz or .zst packs them.",
        ),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(
            "--audio",
            metavar="FILE.wav",
            rich_help_panel=CALLERS,
            help="Records the call: caller left, bot right. What --say says is spoken for it.",
        ),
    ] = None,
    max_turn_ms: Annotated[
        int | None,
        typer.Option(
            "--max-turn-ms",
            min=1,
            metavar="N",
            rich_help_panel=CALLERS,
            help="Exit 1 at the end if an answer took longer.",
        ),
    ] = None,
    traffic: Annotated[
        TrafficMode | None,
        typer.Option(
            "--traffic",
            help="What workers say to each other.",
            show_default="table on a terminal, else off",
        ),
    ] = None,
    detach: Detach = False,
    output: OutputOption = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_level: LogLevel = None,
    log_file: LogFile = None,
    log_format: LogFormatOption = None,
    env_file: EnvFile = None,
) -> CallOptions:
    """Freeze what was typed.

    Raises:
        ConfigurationError: Two options contradict each other, or a file can't be read.
    """
    log_options(context, quiet, verbose, log_level, log_file, log_format, env_file)
    turns = read_turns(say, say_file)
    if turns is not None and transport not in (None, "console"):
        raise ConfigurationError(
            f"--say and --say-file speak at the console, not by {transport}",
            mend="leave --transport out",
        )
    return CallOptions(
        services=ServiceOptions(profile=services, llm=llm, stt=stt, tts=tts),
        serve=ServeOptions(
            transport="console" if turns is not None else transport,
            host=host,
            port=port,
            allowed_origins=tuple(allowed_origins or ()),
            page_token=page_token,
            insecure=insecure,
            runner_args=Terminal.of(context).runner_args,
        ),
        local=LocalOptions(duplex, input_device, output_device, list_devices),
        bus=BusOptions(bus, redis_url, database_url, channel),
        sets=tuple(sets or ()),
        traffic=traffic,
        say=turns,
        record=record,
        output=Output.JSON if json else output,
        audio=audio,
        max_turn_ms=max_turn_ms,
        idle_timeout=idle_timeout,
        max_calls=max_calls,
        detach=detach,
    )


def read_turns(say: list[str] | None, say_file: Path | None) -> tuple[str, ...] | None:
    """Collect the caller's turns from `--say` and `--say-file`; None if neither was typed.

    Raises:
        ConfigurationError: The file can't be read, or there is no word in all of it.
    """
    if say is None and say_file is None:
        return None
    turns = list(say or ())
    if say_file is not None:
        import sys

        try:
            if str(say_file) == "-":
                text = sys.stdin.read() if sys.stdin else ""  # None: it is closed
            else:
                text = say_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8 text"
            raise ConfigurationError(
                f"cannot read {say_file}: {reason}", mend="name a text file, one turn a line"
            ) from None
        turns += text.splitlines()
    spoken = tuple(turn for turn in turns if turn.strip())
    if not spoken:
        raise ConfigurationError(
            "there is no turn to say", mend="--say TEXT, or --say-file FILE with a turn a line"
        )
    return spoken


def takes_call_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take all of `call_options`; it gets them as its argument `options`."""
    return join(command, call_options, into=("options",))


def takes_call_options_but(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return what does as `takes_call_options`, without some: they keep their defaults."""
    return lambda command: join(command, call_options, into=("options",), left_out=left_out)
