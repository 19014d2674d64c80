"""What every command shares: how loud it is, where its logs go, what stdout is for."""

import contextlib
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipecat_workers_cli.options import LogFormat

if TYPE_CHECKING:
    from rich.console import Console

KEPT_LOGS = 20  # sessions with a table whose logs are kept, of each recipe


@dataclass(slots=True)
class Terminal:
    """The options that work everywhere, before and after a command's name.

    Attributes:
        words: What was typed after `pmw`, without what followed `--`.
        runner_args: What followed `--`.
        quiet: Say nothing but results and errors.
        verbose: Log at debug level, and show tracebacks.
        log_level: A loguru level; None is quiet about the framework.
        log_file: Where logs go; None is stderr.
        log_format: How their lines look; None is for people.
        env_file: What `--env-file` named.
    """

    words: tuple[str, ...] = ()
    runner_args: tuple[str, ...] = ()
    quiet: bool = False
    verbose: bool = False
    log_level: str | None = None
    log_file: Path | None = None
    log_format: LogFormat | None = None
    env_file: Path | None = None

    @classmethod
    def of(cls, context: typer.Context) -> "Terminal":
        """Return the terminal of a running command; a new one in a bare Typer app."""
        root = context.find_root()
        if not isinstance(root.obj, cls):
            root.obj = cls()
        return root.obj

    def adopt(
        self,
        *,
        quiet: bool,
        verbose: bool,
        log_level: str | None,
        log_file: Path | None,
        log_format: LogFormat | None,
    ) -> None:
        """Take options that were typed; those left out keep what was typed elsewhere."""
        self.quiet = self.quiet or quiet
        self.verbose = self.verbose or verbose
        self.log_level = log_level or self.log_level or ("debug" if self.verbose else None)
        self.log_file = log_file or self.log_file
        self.log_format = log_format or self.log_format

    def set_up_logs(self, log_file: Path | None = None) -> None:
        """Send log lines where they were asked for, as loud and in the form that was.

        Args:
            log_file: Where to instead; None keeps to what was typed.
        """
        from pipecat_workers_cli.logs import set_up_logs

        set_up_logs(self.log_level, log_file or self.log_file, self.log_format)

    def say(self, text: str) -> None:
        """Write a line for the person at the terminal, to stderr; silent when quiet."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def console(self, *, stderr: bool = False) -> "Console":
        """Return a Rich console; colour and redraw only on a terminal without NO_COLOR."""
        from rich.console import Console

        return Console(stderr=stderr, highlight=False)

    def log_beside_table(self, name: str) -> Path:
        """Choose a file for the logs of a session that has no terminal for them; drop the oldest.

        Where the user's folder for logs can't be written, it is in a temporary one.
        """
        from platformdirs import user_log_path

        folder = user_log_path("pmw", appauthor=False)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            writable = os.access(folder, os.W_OK)
        except OSError:
            writable = False
        if writable:
            _drop_old_logs(folder, name)
        else:
            folder = Path(tempfile.mkdtemp(prefix="pmw-"))  # for this user's eyes only
        stamp = time.strftime("%Y%m%d-%H%M%S")
        return folder / f"{name}-{stamp}-{os.getpid()}.log"


def _drop_old_logs(folder: Path, name: str) -> None:
    """Make room for one more log of a recipe; its stamp makes the name's order that of time."""
    ours = re.compile(re.escape(name) + r"-\d{8}-\d{6}(-\d+)?\.log")
    with contextlib.suppress(OSError):  # another session may be dropping the same
        logs = sorted(path for path in folder.iterdir() if ours.fullmatch(path.name))
        for path in logs[: -(KEPT_LOGS - 1)]:
            path.unlink(missing_ok=True)
