"""What goes on while somebody waits: one line on stderr, which is gone when it is over.

Only on a terminal, and never with `-q` or `-v`: what is logged would be torn by it.
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pipecat_workers_cli.cli.terminal import Terminal

if TYPE_CHECKING:
    from pipecat_workers_cli.traffic.record import Recording

AFTER = 0.4  # seconds; what is over sooner is not worth a line that flickers
EVERY = 0.25  # seconds between two drawings
ERASE_LINE = "\x1b[K"


class Progress:
    """Draws a line from a thread of its own, since what is waited for may hold up the loop.

    Leaving the block takes the line away; so does `end`, for whoever draws something else from
    then on.
    """

    def __init__(self, terminal: Terminal, what: str | Callable[[], str] = "") -> None:
        """Prepare; the block draws.

        Args:
            terminal: Says whether anything may be drawn.
            what: What is waited for, such as `loading Pipecat`; or is asked for it at each
                drawing, and says how far it is.
        """
        wanted = not terminal.quiet and not terminal.verbose
        self._moves = (
            wanted
            and sys.stderr is not None
            and sys.stderr.isatty()
            and os.environ.get("TERM") != "dumb"
        )
        self._what = what
        self._began = time.monotonic()
        self._shown = False
        self._over = threading.Event()
        self._drawing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Self:
        """Begin to draw, if it takes long enough."""
        if self._moves:
            self._began = time.monotonic()
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the line away."""
        self.end()

    def tell(self, what: str) -> None:
        """Say what is waited for now, and how far it is: `3 of 8: the bus`."""
        self._what = what
        if self._shown:
            self._draw()

    def clear(self) -> None:
        """Take the line away until it is drawn next, so that something can be printed."""
        with self._drawing:
            if self._shown:
                self._shown = False
                self._write("")

    def end(self) -> None:
        """Take the line away and draw no more; a second time does nothing."""
        self._over.set()
        self.clear()

    def _run(self) -> None:
        self._over.wait(AFTER)
        while not self._over.is_set():
            self._draw()
            self._over.wait(EVERY)

    def _draw(self) -> None:
        with self._drawing:
            what = self._what() if callable(self._what) else self._what
            if self._over.is_set() or not what:
                return
            seconds = time.monotonic() - self._began
            self._shown = True
            self._write(f"… {what} ({seconds:.0f} s)" if seconds >= 1 else f"… {what}")

    def _write(self, line: str) -> None:
        from pipecat_workers_cli.cli.plain_text import plain

        width = shutil.get_terminal_size().columns - 1
        # The cursor goes back to the margin, so that whatever is printed next begins there.
        with suppress(OSError, ValueError):  # a terminal that is gone is no reason to stop
            sys.stderr.write(f"\r{ERASE_LINE}{plain(line)[:width]}\r")
            sys.stderr.flush()


def reading(terminal: Terminal, recording: "Recording[Any]") -> Progress:
    """Return a progress that says how much of a recording has been read."""

    def told() -> str:
        try:
            size = recording.path.stat().st_size
        except OSError:  # stdin
            size = 0
        far = f"{min(1.0, recording.read / size):.0%}" if size else f"{recording.read / 1e6:.0f} MB"
        return f"reading {recording.path}: {far}"

    return Progress(terminal, told)
