"""The program: its commands, and the one place where an error is printed.

What a command needs is imported when it runs: Pipecat takes over two seconds to import,
and `--help` must not wait for it.
"""

import errno
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipecat_workers_cli.cli.arguments import (
    EnvFile,
    LogFile,
    LogFormatOption,
    LogLevel,
    Quiet,
    Verbose,
    log_options,
)
from pipecat_workers_cli.cli.bus import bus_app
from pipecat_workers_cli.cli.completions import completions
from pipecat_workers_cli.cli.distributed import up, worker
from pipecat_workers_cli.cli.doctor import doctor
from pipecat_workers_cli.cli.eval import evaluate
from pipecat_workers_cli.cli.family import HELP
from pipecat_workers_cli.cli.patterns import code, debate, handoff, run, sensor
from pipecat_workers_cli.cli.plain_text import plain
from pipecat_workers_cli.cli.proxy import proxy_app
from pipecat_workers_cli.cli.ps import ps
from pipecat_workers_cli.cli.recipe import recipe_app
from pipecat_workers_cli.cli.sessions import say, stop
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.cli.usage import UsageError, explain_usage
from pipecat_workers_cli.cli.voices import voices
from pipecat_workers_cli.errors import ConfigurationError, PmwError

PANELS = ("Patterns", "Recipes", "Distributed", "Sessions", "Traffic", "Tools")


class ByPanel(TyperGroup):
    """Lists commands by their panels; Typer would list all groups last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands' names, in the order of their panels."""
        return sorted(super().list_commands(ctx), key=lambda name: PANELS.index(self._panel(name)))

    def _panel(self, name: str) -> str:
        return getattr(self.commands[name], "rich_help_panel", PANELS[-1])


app = typer.Typer(
    name="pmw",
    cls=ByPanel,
    help=HELP,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(rich_help_panel="Patterns")(handoff)
app.command(rich_help_panel="Patterns")(debate)
app.command(rich_help_panel="Patterns")(code)
app.command(rich_help_panel="Patterns")(sensor)
app.command(rich_help_panel="Recipes")(run)
app.command("eval", rich_help_panel="Recipes")(evaluate)
app.add_typer(recipe_app, name="recipe", rich_help_panel="Recipes")
app.command(rich_help_panel="Distributed")(worker)
app.add_typer(proxy_app, name="proxy", rich_help_panel="Distributed")
app.command(rich_help_panel="Distributed")(up)
app.command(rich_help_panel="Sessions")(ps)
app.command(rich_help_panel="Sessions")(say)
app.command(rich_help_panel="Sessions")(stop)
app.add_typer(bus_app, name="bus", rich_help_panel="Traffic")
app.command(rich_help_panel="Tools")(doctor)
app.command(rich_help_panel="Tools")(voices)
app.command(rich_help_panel="Tools")(completions)

HAND_ON = (
    *("handoff", "debate", "code", "sensor", "run"),
    *("proxy", "up"),
)  # what follows `--` to Pipecat's runner
LIFELINE = "PMW_LIFELINE_FD"  # as fleet/lifeline.py has it, which others needn't import
TRACING = "pipecat_workers_cli.tracing.setup"  # imported by those commands that hold calls
OWN_REST = ("bus",)  # what follows `--` is another program


def print_version(wanted: bool) -> None:
    """Print the versions of pmw and Pipecat, and leave."""
    if wanted:
        from importlib.metadata import version

        print(f"pmw {version('pipecat-workers-cli')} (pipecat-ai {version('pipecat-ai')})")
        raise typer.Exit


@app.callback()
def everywhere(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", is_eager=True, callback=print_version, help="Show versions."
        ),
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_level: LogLevel = None,
    log_file: LogFile = None,
    log_format: LogFormatOption = None,
    env_file: EnvFile = None,
) -> None:
    """Assemble, run and watch Pipecat workers."""
    terminal = Terminal.of(context)
    if terminal.runner_args and context.invoked_subcommand not in (*HAND_ON, *OWN_REST):
        raise ConfigurationError(
            f"pmw {context.invoked_subcommand} takes nothing after '--', such as "
            f"'{terminal.runner_args[0]}'",
            mend=f"leave it out; {', '.join(HAND_ON)} hand it to Pipecat's runner",
        )
    log_options(context, quiet, verbose, log_level, log_file, log_format, env_file)


def main(argv: Sequence[str] | None = None, *, program: str = "pmw") -> None:
    """Run `pmw` and leave the process: with 0 when done, an error's own exit code, or 130.

    Args:
        argv: The words after `pmw`; None takes the process's own.
        program: What was typed before them, as help and errors call it.
    """
    if sys.platform == "win32":  # sessions need Unix sockets, file locks and signals
        sys.exit("error: pmw runs on Linux and macOS, not on Windows\n  try: run it inside WSL")
    words = list(sys.argv[1:] if argv is None else argv)
    rest: list[str] = []
    if "--" in words:
        split = words.index("--")
        words, rest = words[:split], words[split + 1 :]
    terminal = Terminal(words=tuple(words), runner_args=tuple(rest))
    if isinstance(sys.stdout, TextIOWrapper):  # what a locale has no sign for is told by number
        sys.stdout.reconfigure(errors="backslashreplace")
    if LIFELINE in os.environ:
        from pipecat_workers_cli.fleet.lifeline import follow_lifeline

        follow_lifeline()
    try:
        code = app(words, prog_name=program, standalone_mode=False, obj=terminal) or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # while an error of it can still be told
        sys.exit(code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        silence_stdout()  # whoever read it has seen enough
        sys.exit(1)
    except Exception as error:
        sys.exit(report(unwritten_stdout() or error, terminal, words, program))
    finally:
        if (tracing := sys.modules.get(TRACING)) is not None:
            tracing.flush_tracing()


def silence_stdout() -> None:
    """Let stdout lead nowhere: what it still holds can't be flushed when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def unwritten_stdout() -> PmwError | None:
    """Return what keeps stdout from being written, if anything does; it is silenced then."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        silence_stdout()
        return PmwError(
            f"cannot write to stdout: {error.strerror}", mend="make room, or write elsewhere"
        )
    return None


def _explained(error: Exception) -> PmwError:
    """Say what any program may meet, a full disk or a directory that is gone; else its name."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        return PmwError(f"cannot write: {error.strerror}", mend="make room, or write elsewhere")
    if isinstance(error, FileNotFoundError):
        try:
            Path.cwd()
        except FileNotFoundError:
            what = "the directory that this was started in is gone"
            return PmwError(what, mend="go to one that is there: cd")
    name = type(error).__name__  # its text may hold a key or a password
    return PmwError(f"unexpected {name}", mend="see it all with -v")


def report(error: Exception, terminal: Terminal, words: Sequence[str], program: str = "pmw") -> int:
    """Print an error in two lines: what happened, what to do. A recipe's faults each get two.

    Returns:
        The exit code.
    """
    while isinstance(error, ExceptionGroup):  # task groups wrap what they raise
        error = error.exceptions[0]
    if isinstance(error, UsageError):
        usage = explain_usage(error, words, program)
        if usage is None:
            return 0
        error = usage
    elif not isinstance(error, PmwError):
        if terminal.verbose:
            import traceback

            from pipecat_workers_cli.logs import redact

            print(redact("".join(traceback.format_exception(error))), end="", file=sys.stderr)
        error = _explained(error)
    told = [(fault.headline, fault.mend) for fault in getattr(error, "faults", ())]
    for what, mend in told or [(error.what, error.mend)]:
        print(f"error: {plain(what)}\n  try: {plain(mend)}", file=sys.stderr)
    return error.exit_code
