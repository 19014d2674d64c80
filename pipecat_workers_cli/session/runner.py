"""Pipecat's runner as seen from a session: its arguments, its port, its app."""

import argparse
import sys
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pipecat.evals.serializer import EvalConnectionFlags
from pipecat.runner.types import RunnerArguments, WebSocketRunnerArguments

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.options import ServeOptions

PAGE = Path(__file__).parent / "page"
OURS = ("--host", "--port", "-t", "--transport", "--allowed-origins")
"""Options of the runner that are ours too. Behind `--` they would go past our checks."""

SHORT, SHORT_FLAGS = ("-t", "-x", "-f", "-u"), ("-d", "-v")
"""The runner's short options, with a value and without: they may be joined, as in `-dtdaily`."""


class RunnerParser(argparse.ArgumentParser):
    """Hands Pipecat's runner our arguments instead of the process's."""

    def __init__(self, options: ServeOptions) -> None:
        """Take what the session was told.

        Raises:
            ConfigurationError: An option that is ours stands behind `--`.
        """
        super().__init__(prog="pmw … --", add_help=False, allow_abbrev=False)
        for name in OURS:
            if runner_option(options, name) is not None:
                raise ConfigurationError(
                    f"{name} stands behind '--', where it isn't ours",
                    mend=f"put {name} before '--'",
                )
        self._argv = ["--host", options.host, "--port", str(options.port)]
        if options.transport:
            self._argv += ["--transport", options.transport]
        self._argv += options.runner_args

    def parse_args(self, args: object = None, namespace: object = None) -> argparse.Namespace:  # type: ignore[override]
        """Read our arguments, whatever the process's are."""
        return super().parse_args(self._argv)

    def error(self, message: str) -> None:  # type: ignore[override]
        """Refuse in our two lines.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            f"Pipecat's runner refuses what follows '--': {message}",
            mend="see what it takes: python -m pipecat.runner.run --help",
        )


def runner_option(options: ServeOptions, *names: str) -> str | None:
    """Return the value of an option behind `--`; None if it isn't there, "" if it has no value.

    Args:
        options: What was typed.
        names: The option's names.
    """
    reader = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    reader.add_argument(*names, dest="found", nargs="?", const="")
    for name in set(SHORT) - set(names):
        reader.add_argument(name, nargs="?")
    for flag in SHORT_FLAGS:
        reader.add_argument(flag, action="count")
    try:
        return reader.parse_known_args(options.runner_args)[0].found
    except argparse.ArgumentError:
        return None  # the runner, too, refuses them


def add_page(app: FastAPI) -> None:
    """Serve our page at `/` and its files at `/page/`, before the runner's own routes."""

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE))


def set_bot(bot: object) -> None:
    """Put `bot` where the runner looks for it; without one it would run every .py file around."""
    sys.modules["__main__"].bot = bot  # type: ignore[attr-defined]


def wants_text(runner_args: RunnerArguments) -> bool:
    """Say whether the caller is an eval client that reads answers and wants none spoken.

    Skipping the voice frame by frame, as Pipecat does, holds for a turn's first response
    only: what follows a tool call or a transfer would be spoken.
    """
    if not isinstance(runner_args, WebSocketRunnerArguments) or runner_args.call_data is None:
        return False
    if runner_args.transport_type != "eval":
        return False
    return EvalConnectionFlags.model_validate(runner_args.call_data.body).skip_tts
