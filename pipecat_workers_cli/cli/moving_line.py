"""One line of stderr that says what goes on now, where somebody looks at it."""

import os
import shutil
import sys
from contextlib import suppress

from pipecat_workers_cli.cli.terminal import Terminal

ERASE_LINE = "\x1b[K"


class MovingLine:
    """Stands in the last line of a terminal, and nowhere else."""

    def __init__(self, terminal: Terminal) -> None:
        wanted = not terminal.quiet and not terminal.verbose
        self._moves = wanted and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def show(self, line: str) -> None:
        """Put a line in the place of the one before, where the cursor stays."""
        if not self._moves:
            return
        from pipecat_workers_cli.cli.cells import plain

        width = shutil.get_terminal_size().columns - 1
        with suppress(OSError):  # a terminal that is gone is no reason to stop
            print(f"\r{ERASE_LINE}{plain(line)[:width]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leave the line empty, for what is to stand there instead."""
        self.show("")
