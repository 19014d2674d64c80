"""The commands that hold calls: a pattern is a shipped recipe with options of its own."""

import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pipecat_workers_cli.cli.arguments import WireOption
from pipecat_workers_cli.cli.call_arguments import PAGE_TOKEN, takes_call_options
from pipecat_workers_cli.cli.complete import complete_recipe
from pipecat_workers_cli.cli.progress import Progress
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.options import CallOptions, EngineName, ServeOptions, Trust, Wire


@takes_call_options
def handoff(
    context: typer.Context,
    options: CallOptions,
    tts_per_worker: Annotated[
        bool, typer.Option("--tts-per-worker", help="Each agent speaks with a voice of its own.")
    ] = False,
) -> None:
    """A greeter and a support agent hand one voice call to each other."""
    sets = {"main.tts_per_worker": tts_per_worker or None}
    hold_calls(Terminal.of(context), "handoff", with_sets(options, sets))


@takes_call_options
def debate(
    context: typer.Context,
    options: CallOptions,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            min=0.1,
            metavar="S",
            help="How long all three may take.",
            show_default="30",
        ),
    ] = None,
) -> None:
    """A moderator asks an advocate, a critic and an analyst at once and weighs the answers."""
    sets = {"main.jobs.debate.timeout": timeout}
    hold_calls(Terminal.of(context), "debate", with_sets(options, sets))


@takes_call_options
def code(
    context: typer.Context,
    options: CallOptions,
    path: Annotated[
        Path | None,
        typer.Argument(
            help="The code's folder.", show_default="$PROJECT_PATH, else the working directory"
        ),
    ] = None,
    engine: Annotated[
        EngineName | None,
        typer.Option(
            "--engine",
            help="claude (Claude Agent SDK) or search (over the files, no key).",
            show_default="claude with its key, unless --services offline",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="Of --engine claude.", show_default="sonnet"),
    ] = None,
    max_turns: Annotated[
        int | None,
        typer.Option(
            "--max-turns",
            min=1,
            metavar="N",
            help="Steps of --engine claude a question.",
            show_default="10",
        ),
    ] = None,
    allow_bash: Annotated[
        bool,
        typer.Option("--allow-bash", help="Let --engine claude run shell commands, unfenced."),
    ] = False,
) -> None:
    """Ask aloud about the code in a folder: a voice agent and a code worker."""
    option = "workers.coder.options"
    sets = {
        f"{option}.path": None if path is None else str(path),
        f"{option}.engine": engine,
        f"{option}.model": model,
        f"{option}.max_turns": max_turns,
    }
    options = replace(with_sets(options, sets), trust=Trust(bash=allow_bash))
    hold_calls(Terminal.of(context), "code", options)


@takes_call_options
def sensor(
    context: typer.Context,
    options: CallOptions,
    start_temp: Annotated[
        float | None,
        typer.Option(
            "--start-temp",
            metavar="CELSIUS",
            help="What the thermometer begins with.",
            show_default="22.0",
        ),
    ] = None,
    sample_period: Annotated[
        float | None,
        typer.Option(
            "--sample-period", metavar="S", help="Between two readings.", show_default="1.0"
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            metavar="SHARE",
            help="Of the way to the target, a sample.",
            show_default="0.05",
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            "--noise",
            metavar="CELSIUS",
            help="Standard deviation of a reading.",
            show_default="0.1",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", help="The same noise each time."),
    ] = None,
) -> None:
    """A voice agent and the controller of a thermometer with an LLM of its own."""
    option = "workers.controller.options"
    sets = {
        f"{option}.start_temp": start_temp,
        f"{option}.sample_period": sample_period,
        f"{option}.rate": rate,
        f"{option}.noise": noise,
        f"{option}.seed": seed,
    }
    hold_calls(Terminal.of(context), "sensor", with_sets(options, sets))


@takes_call_options
def run(
    context: typer.Context,
    options: CallOptions,
    recipe: Annotated[
        str,
        typer.Argument(
            help="A shipped recipe's name, or a path: with a / or ending in .toml.",
            autocompletion=complete_recipe,
        ),
    ],
    wire: WireOption = Wire.PMW,
) -> None:
    """Hold calls by a recipe."""
    options = replace(options, links=replace(options.links, wire=wire))
    hold_calls(Terminal.of(context), recipe, options)


def with_sets(options: CallOptions, sets: Mapping[str, object]) -> CallOptions:
    """Add a pattern's own options, each short for a `--set`; what is None wasn't typed.

    A `--set` that was typed stands after them, and wins.
    """
    typed = (f"{key}={json.dumps(value)}" for key, value in sets.items() if value is not None)
    return replace(options, sets=(*typed, *options.sets))


def hold_calls(terminal: Terminal, recipe: str, options: CallOptions) -> None:
    """Load, check, and hand over to a session: one call at the console, or a server."""
    from pipecat_workers_cli.cli.detach import check_detachable, in_background
    from pipecat_workers_cli.settings import load_env, variable
    from pipecat_workers_cli.tracing.setup import set_up_tracing

    if options.local.list_devices:
        from pipecat_workers_cli.cli.devices import print_devices

        print_devices(terminal, options.output)
        return
    if options.detach:
        check_detachable(options)
        if in_background(terminal, recipe, options.output):
            return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until a session takes it over
    load_env(terminal.env_file)
    if options.serve.page_token is None:
        options = replace(options, serve=replace(options.serve, page_token=variable(PAGE_TOKEN)))
    terminal.set_up_logs()
    set_up_tracing()
    lines = None
    if options.serve.transport == "local":  # looked for first: all else takes seconds
        from pipecat_workers_cli.transports.devices import choose_lines

        lines = choose_lines(options.local)
    from pipecat_workers_cli.buses.urls import choose_bus
    from pipecat_workers_cli.call.plan import Plan
    from pipecat_workers_cli.call.ready import ready_plan

    bus = choose_bus(options.bus)
    part = Plan.linking if bus is None else partial(Plan.main_alone, at=bus.told)
    at_console = options.serve.transport == "console"

    def read() -> Plan:
        return ready_plan(
            recipe,
            options.services,
            sets=options.sets,
            speech=not at_console or options.audio is not None,
            trust=options.trust,
            part=part,
        )

    with Progress(terminal, f"reading {recipe}"):
        plan = read()
    if options.audio is not None:
        from pipecat_workers_cli.call.audio import check_audio

        check_audio(options.audio)
    if (at_console or lines) and options.serve.runner_args:
        raise ConfigurationError(
            "what follows '--' is for Pipecat's runner, which a call at a terminal hasn't",
            mend="leave it out, or call from a browser",
        )
    if at_console:
        with Progress(terminal, "loading Pipecat"):
            from pipecat_workers_cli.cli.talk import talk

        talk(terminal, plan, options, bus=bus)
    elif lines is not None:
        from pipecat_workers_cli.cli.voice import talk_aloud

        talk_aloud(terminal, plan, options, lines, bus=bus)
    else:
        check_serving(options.serve)
        with Progress(terminal, "loading Pipecat"):
            from pipecat_workers_cli.cli.serving import serve_calls

        serve_calls(terminal, plan, options, bus=bus, read=read)


def check_serving(serve: ServeOptions) -> None:
    """Refuse to serve where that can't be, before seconds go by in loading Pipecat.

    Raises:
        ConfigurationError: There is no such transport, or the bind isn't safe.
        PmwError: The transport lacks something, or the port is taken.
    """
    from pipecat_workers_cli.session.door_rules import door_rules
    from pipecat_workers_cli.session.ports import require_port
    from pipecat_workers_cli.transports.params import check_transport

    if serve.transport is not None:
        check_transport(serve.transport)
    door_rules(serve)
    require_port(serve.host, serve.port)
