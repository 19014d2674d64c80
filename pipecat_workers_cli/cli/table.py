"""Shows a session's traffic at the terminal: as a live table, or a line an event.

Both write to stderr: stdout is for what was asked for.
"""

import asyncio
import sys
import webbrowser
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from pipecat_workers_cli.cli.cells import Sheet
from pipecat_workers_cli.cli.chosen import Chosen, Memory, Source, save_remembered
from pipecat_workers_cli.cli.keys import lent_screen, open_keys, terminal_fd
from pipecat_workers_cli.cli.parts import clock
from pipecat_workers_cli.cli.plain_text import plain
from pipecat_workers_cli.cli.sheet import Header, render_table
from pipecat_workers_cli.cli.turns import render_entry
from pipecat_workers_cli.cli.view import Mode, View, press

if TYPE_CHECKING:
    from pipecat_workers_cli.traffic.entry import Entry
    from pipecat_workers_cli.traffic.tap import Tap

SHORTEST = 0.1  # seconds between two drawings, whatever the traffic
LONGEST = 0.25  # seconds; rates and times of last sight move without an event
ANEW = 1.0  # seconds after which the same picture is drawn again, over stray output
HAND_OVER = 0.0005  # seconds for which drawing may hold up the calls; Python's own are 5 ms
LINES = 1_000  # waiting to be written; a terminal that stands still must not fill memory


async def run_table(
    tap: Source,
    *,
    header: Callable[[], Header],
    console: Console,
    stop: asyncio.Event,
    event_loop_lag: Callable[[], float],
    keys: Mapping[str, Callable[[], None]] | None = None,
) -> None:
    """Draw the table on the terminal's other screen until `stop` is set.

    `q` sets it, `o` opens the page, `s` saves what is remembered; `cli.view` has what the
    other keys do. Drawing happens in a thread, because a terminal may be slower than the
    calls can wait. The screen and the terminal's mode are put back however this ends; a way
    out that runs no `finally` calls `keys.restore_terminal`.

    Args:
        tap: Where snapshots come from; one that is a `Memory`, too, can be filtered by what
            crossed the bus, and saved.
        header: Tells what stands above the table now.
        console: The terminal to draw on, on stderr.
        stop: Ends the table.
        event_loop_lag: Tells how late the event loop is, in seconds.
        keys: What some more keys do.
    """
    table = _Table(tap, header, stop, keys=terminal_fd() is not None, more=keys or {})
    live = Live(
        console=console,
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    unsubscribe = tap.subscribe(lambda _: table.wake.set())
    loop = asyncio.get_running_loop()
    drawn, drawn_at = None, 0.0
    try:
        with (
            lent_screen(console.file.fileno()),
            live,
            open_keys(table.press),
            quick_hand_over(),
        ):
            while not stop.is_set():
                table.wake.clear()
                sheet = table.draw(console, event_loop_lag())
                if sheet != drawn or loop.time() - drawn_at >= ANEW:
                    drawn, drawn_at = sheet, loop.time()
                    await asyncio.to_thread(live.update, sheet, refresh=True)
                await _wait(stop, SHORTEST)
                if not stop.is_set():
                    await _wait(table.wake, LONGEST - SHORTEST)
    finally:
        unsubscribe()
        table.close()


@contextmanager
def quick_hand_over() -> Generator[None]:
    """Have threads hand the interpreter over soon, for as long as the block lasts.

    A drawing takes some 5 ms of it; without this each would hold up every call for as long.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(HAND_OVER)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


async def run_lines(tap: "Tap", *, console: Console, stop: asyncio.Event) -> None:
    """Write one line for each entry until `stop` is set.

    A line has the time since the call began, the call, and what happened. Lines are
    written in a thread; more than `LINES` waiting are dropped, and their number is said.

    Args:
        tap: Where entries come from.
        console: Where to, on stderr.
        stop: Ends it, after what is waiting has been written.
    """
    waiting: deque[str] = deque()
    wake = asyncio.Event()
    dropped = 0

    def note(entry: "Entry") -> None:
        nonlocal dropped
        if len(waiting) >= LINES:
            dropped += 1
        else:
            waiting.append(entry_line(entry))
        wake.set()

    unsubscribe = tap.subscribe(note)
    try:
        while not stop.is_set() or waiting:
            await _either(wake, stop)
            wake.clear()
            lines = [*waiting]
            waiting.clear()
            if dropped:
                lines.append(f"({dropped} lines were left out)")
                dropped = 0
            if lines:
                await asyncio.to_thread(_write, console, lines)
    finally:
        unsubscribe()


def entry_line(entry: "Entry") -> str:
    """Say an entry in one line, with its time and its call."""
    return f"{clock(entry.at_ms / 1000):>7} {entry.call} {plain(render_entry(entry))}"


class _Table:
    """What the keys change."""

    def __init__(
        self,
        tap: Source,
        header: Callable[[], Header],
        stop: asyncio.Event,
        *,
        keys: bool,
        more: Mapping[str, Callable[[], None]],
    ) -> None:
        self.wake = asyncio.Event()
        self._tap = tap
        self._memory = tap if isinstance(tap, Memory) else None
        self._header = header
        self._stop = stop
        self._keys = keys
        self._more = more
        self._view = View()
        self._chosen: Chosen | None = None
        self._opening: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[None] | None = None

    def press(self, key: str) -> None:
        types, mode = self._view.typing is not None, self._view.mode
        if key == "q" and not types and mode is not Mode.MESSAGE:
            self._stop.set()
        elif key == "o" and not types:
            self._open_page()
        elif key == "s" and not types:
            self._save()
        elif key in self._more and not types:
            self._more[key]()
        else:
            self._change(press(self._view, key, self._tap.snapshot()))
        self.wake.set()

    def draw(self, console: Console, lag: float) -> Sheet:
        width, height = console.size
        if self._chosen is not None and self._view.still is None:
            self._view = replace(self._view, chosen=self._chosen.entries)
        return render_table(
            self._tap.snapshot(),
            self._header(),
            width,
            height,
            lag=lag,
            keys=self._keys,
            view=self._view,
        )

    def close(self) -> None:
        for task in (self._opening, self._saving):
            if task is not None:
                task.cancel()
        if self._chosen is not None:
            self._chosen.close()

    def _change(self, view: View) -> None:
        if view.filter is not self._view.filter:
            if self._chosen is not None:
                self._chosen.close()
                self._chosen = None
            if view.filter is not None and view.wants_all and self._memory is not None:
                self._chosen = Chosen(self._memory, view.filter, self.wake.set)
                view = replace(view, chosen=())
        self._view = view

    def _open_page(self) -> None:
        header = self._header()
        link = header.link or header.address
        if self._opening is None and link:
            self._opening = asyncio.create_task(self._open(link), name="open page")

    async def _open(self, address: str) -> None:
        try:
            await asyncio.to_thread(open_page, address)
        finally:
            self._opening = None

    def _save(self) -> None:
        if self._memory is None:
            self._tell("nothing to save from here: pmw bus record FILE --so-far does it")
        elif self._saving is None:
            self._tell("saving the last ten minutes…")
            name = self._header().recipe
            self._saving = asyncio.create_task(self._save_all(self._memory, name), name="save")

    async def _save_all(self, memory: Memory, name: str) -> None:
        try:
            self._tell(await save_remembered(memory, name))
        finally:
            self._saving = None

    def _tell(self, notice: str) -> None:
        self._view = replace(self._view, notice=notice)
        self.wake.set()


def open_page(address: str) -> None:
    """Open an address in a browser with a window; one in the terminal would draw over us."""
    with suppress(webbrowser.Error):
        browser = webbrowser.get()
        if type(browser) is not webbrowser.GenericBrowser:
            browser.open(address)


def _write(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _either(one: asyncio.Event, other: asyncio.Event) -> None:
    tasks = {asyncio.create_task(event.wait()) for event in (one, other)}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
