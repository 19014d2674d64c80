"""`pmw up`, as seen from a terminal: what its processes are told, and what they say."""

import asyncio
import sys
import time
from collections.abc import Collection, Iterator
from itertools import cycle

import typer
from rich.text import Text

from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.cli.call_arguments import PAGE_TOKEN
from pipecat_workers_cli.cli.detach import READY
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.fleet.child import Listener
from pipecat_workers_cli.fleet.engine import ENGINES, require_engine
from pipecat_workers_cli.fleet.up import Progress, System, run_up
from pipecat_workers_cli.options import CallOptions, LogFormat, TrafficMode
from pipecat_workers_cli.recipe.load import load_recipe

HOSTS_TAKE = ("services", "llm", "tts", "sets", "max_calls")
NOT_HANDED_ON = (
    *("recipe", "postgres", "say", "say_file"),
    "page_token",  # by its environment: of a process any user can read the words
    *("quiet", "verbose", "log_level", "log_file", "log_format", "env_file"),
)
DRAIN = 2  # seconds; their calls end with the main worker, which ends first
COLOURS = ("cyan", "magenta", "green", "yellow", "blue")


def bring_up(
    context: typer.Context, terminal: Terminal, recipe: str, options: CallOptions, *, engine: str
) -> int:
    """Run a recipe's workers as processes over a bus of their own, until it is over; blocks.

    Args:
        context: Of the command; knows what was typed.
        terminal: Where to say how it goes.
        recipe: A name or a path, as it was typed.
        options: What else was typed.
        engine: A name in `ENGINES`.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: The recipe is wrong.
        PmwError: A package is missing, or a process could not be started or died too often.
    """
    if options.traffic is TrafficMode.TABLE:
        raise ConfigurationError(
            "the lines of several processes leave no room for a table",
            mend="draw it in another terminal: pmw bus watch",
        )
    require_engine(engine)
    found = load_recipe(recipe, sets=options.sets).recipe
    # Whoever has an `at` is behind a proxy already.
    names = [worker.name for worker in found.workers if worker.at is None]
    at_console = options.serve.transport in ("console", "local")
    logs = tuple(_log_words(terminal))
    host = ("-q", *logs, "worker", f"--recipe={recipe}", f"--drain-timeout={DRAIN}")
    token = options.serve.page_token
    handed_on = tuple(typed_words(context, HOSTS_TAKE))
    system = System(
        engine=engine,
        main=found.main.name,
        main_env={} if token is None else {PAGE_TOKEN: token},
        main_words=("pipecat_workers_cli", *logs, *_main_words(context, terminal, recipe, options)),
        hosts={name: ("pipecat_workers_cli", *host, *handed_on, name) for name in names},
        serves=not at_console,
        foreground=at_console and options.say is None,
        ready=READY,
    )
    screen = _Screen(terminal, [ENGINES[engine].title, *names, found.main.name])
    return asyncio.run(
        run_up(system, Listener(screen.line, screen.note), Progress(screen.starting, screen.ready))
    )


def _main_words(
    context: typer.Context, terminal: Terminal, recipe: str, options: CallOptions
) -> Iterator[str]:
    if terminal.quiet:
        yield "-q"
    yield from ("run", recipe)
    every = {param.name or "" for param in context.command.params}
    yield from typed_words(context, every - set(NOT_HANDED_ON))
    yield from (f"--say={turn}" for turn in options.say or ())  # a file of turns has been read
    if terminal.runner_args:
        yield from ("--", *terminal.runner_args)


def typed_words(context: typer.Context, names: Collection[str]) -> Iterator[str]:
    """Give what was typed of some options once more, for another command that takes them.

    Args:
        context: Of the command in which it was typed.
        names: Of the options' parameters.
    """
    for param in context.command.params:
        source = context.get_parameter_source(param.name or "")
        if param.name not in names or source is None or source.name != "COMMANDLINE":
            continue
        option, value = param.opts[0], context.params[param.name]
        if value is True:
            yield option
        elif isinstance(value, list | tuple):
            yield from (f"{option}={one}" for one in value)
        else:
            yield f"{option}={value}"


def _log_words(terminal: Terminal) -> Iterator[str]:
    for option, value in (
        ("--log-level", terminal.log_level),
        ("--log-file", terminal.log_file),
        ("--log-format", terminal.log_format),
        ("--env-file", terminal.env_file),
    ):
        if value is not None:
            yield f"{option}={value}"


class _Screen:
    """Says on stderr how it goes, and which process wrote what."""

    def __init__(self, terminal: Terminal, names: list[str]) -> None:
        self._terminal = terminal
        self._console = terminal.console(stderr=True)
        self._colours = dict(zip(names, cycle(COLOURS), strict=False))
        self._width = max(map(len, names))
        self._began = time.monotonic()
        self._in_line = False

    def starting(self, name: str) -> None:
        self._write(f" {name}…" if self._in_line else f"starting {name}…")

    def ready(self, bus: SharedBus) -> None:
        took = f"ready in {time.monotonic() - self._began:.1f} s"
        self._write(f" {took}" if self._in_line else took)
        self._end_line()
        self._say(f"from another terminal: pmw ps --bus '{bus.url}'")

    def note(self, text: str) -> None:
        self._end_line()
        self._say(text)

    def line(self, name: str, text: str) -> None:
        self._end_line()
        text = "".join(sign if sign.isprintable() else " " for sign in text)
        if self._terminal.log_format is LogFormat.JSON and text.startswith("{"):
            print(text, file=sys.stderr)  # for a program, to which a label would be a fault
            return
        label = Text(f"{name:<{self._width}} | ", style=self._colours[name])
        self._console.print(label + Text(text), soft_wrap=True)

    def _say(self, text: str) -> None:
        if not self._terminal.quiet:
            self._console.print(Text(text), soft_wrap=True)

    def _write(self, text: str) -> None:
        if not self._terminal.quiet:
            self._console.print(Text(text), end="", soft_wrap=True)
            self._console.file.flush()
            self._in_line = True

    def _end_line(self) -> None:
        if self._in_line:
            self._console.print()
            self._in_line = False
