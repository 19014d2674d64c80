"""The commands that hold calls: a pattern is a shipped recipe with options of its own."""

import signal
import sys
from dataclasses import replace
from typing import Annotated

import typer

from pipecat_workers_cli.cli.arguments import takes_call_options
from pipecat_workers_cli.cli.complete import complete_recipe
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.options import CallOptions


@takes_call_options
def handoff(
    context: typer.Context,
    options: CallOptions,
    tts_per_worker: Annotated[
        bool, typer.Option("--tts-per-worker", help="Each agent speaks with a voice of its own.")
    ] = False,
) -> None:
    """A greeter and a support agent hand one voice call to each other."""
    if tts_per_worker:
        options = replace(options, sets=(*options.sets, "main.tts_per_worker=true"))
    hold_calls(Terminal.of(context), "handoff", options)


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
) -> None:
    """Hold calls by a recipe."""
    hold_calls(Terminal.of(context), recipe, options)


def hold_calls(terminal: Terminal, recipe: str, options: CallOptions) -> None:
    """Load, check, and hand over to a session: one call at the console, or a server."""
    from pipecat_workers_cli.logs import set_up_logs
    from pipecat_workers_cli.settings import load_env

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until a session takes it over
    load_env(terminal.env_file)
    set_up_logs(terminal.log_level, terminal.log_file)
    from pipecat_workers_cli.call.plan import plan_call, require_ready
    from pipecat_workers_cli.call.resolve import find_faults
    from pipecat_workers_cli.recipe.load import load_recipe

    loaded = load_recipe(recipe, sets=options.sets, resolve=find_faults)
    at_console = options.serve.transport == "console"
    plan = plan_call(loaded, options.services, speech=not at_console, trust=options.trust)
    require_ready(plan)
    if at_console and options.serve.runner_args:
        raise ConfigurationError(
            "what follows '--' is for Pipecat's runner, which a call at the console hasn't",
            mend="leave it out, or call by voice",
        )
    if at_console:
        from pipecat_workers_cli.cli.talk import talk

        talk(terminal, plan, options)
    else:
        from pipecat_workers_cli.cli.serving import serve_calls

        serve_calls(terminal, plan, options)
