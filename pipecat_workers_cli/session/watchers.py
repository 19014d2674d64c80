"""Those who watch a session: what happens is encoded once and written to all of them.

The tap hands on what it has collected to a list. Encoding and writing follow on a timer, and
only while somebody watches.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import msgspec

from pipecat_workers_cli.session.messages import Seen, Told, Watch
from pipecat_workers_cli.session.outlet import encode, encode_line
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap

WRITE_EVERY = 0.05  # seconds; below what an eye notices
SNAPSHOT_EVERY = 5  # writings; four snapshots a second, as the table is drawn
ENTRIES = 10_000  # kept until they are written; what comes faster is counted
BATCH = 131_072  # bytes at once, some thousand entries; the rest waits for the next writing
UNSAYABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""What JSON has no sign for: a model may give a tool half a surrogate pair."""


class Outlet(Protocol):
    """The way to one watcher; never waited for."""

    @property
    def is_behind(self) -> bool:
        """Whether something waits for the watcher."""
        ...

    def write(self, lines: bytes) -> None:
        """Write whole lines, keep them for later, or give something up."""
        ...


class Watchers:
    """Any number of watchers of one session; costs nothing while there is none."""

    def __init__(self, tap: Tap, lag: Callable[[], float]) -> None:
        """Begin with nobody.

        Args:
            tap: What happens in the session's calls.
            lag: Tells how late the session's event loop is, in seconds.
        """
        self._tap = tap
        self._lag = lag
        self._watching: dict[Outlet, Watch] = {}
        self._entries: deque[Entry] = deque()
        self._left_out = 0
        self._unwatch: Callable[[], None] | None = None
        self._feeding: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, outlet: Outlet, request: Watch) -> Generator[None]:
        """Write to a watcher for as long as the block lasts."""
        self._watching[outlet] = request
        if self._feeding is None:
            self._unwatch = self._tap.watch(self._note)
            self._feeding = asyncio.create_task(self._feed(), name="feed watchers")
        try:
            yield
        finally:
            del self._watching[outlet]
            if not self._watching:
                self.close()

    def close(self) -> None:
        """Write what is left, and write no more."""
        self._write(snapshots=True)
        while self._entries:
            self._write(snapshots=False)
        if self._unwatch is not None:
            self._unwatch()
        if self._feeding is not None:
            self._feeding.cancel()
        self._unwatch = self._feeding = None

    def _note(self, entries: Sequence[Entry]) -> None:
        room = max(0, ENTRIES - len(self._entries))
        self._entries.extend(entries[:room])
        self._left_out += len(entries[room:])

    async def _feed(self) -> None:
        turn = 0
        while True:
            self._write(snapshots=turn % SNAPSHOT_EVERY == 0)
            turn += 1
            await asyncio.sleep(WRITE_EVERY)

    def _write(self, *, snapshots: bool) -> None:
        lines = self._take_entries()
        wanted = snapshots and any(watch.snapshots for watch in self._watching.values())
        seen = self._snapshot() if wanted else b""
        for outlet, watch in self._watching.items():
            if watch.entries and lines:
                outlet.write(lines)
            # Whoever is late needs no picture of what was.
            if watch.snapshots and seen and not outlet.is_behind:
                outlet.write(seen)

    def _take_entries(self) -> bytes:
        lines: list[bytes] = []
        size = 0
        while self._entries and size < BATCH:
            entry = self._entries.popleft()
            try:
                lines.append(encode_line(Told(entry=entry)))
                size += len(lines[-1])
            except UNSAYABLE:
                self._left_out += 1
        if self._left_out:
            note = Entry(event="left_out", call="", at_ms=0, count=self._left_out)
            lines.append(encode_line(Told(entry=note)))
            self._left_out = 0
        return b"".join(lines)

    def _snapshot(self) -> bytes:
        snapshot = self._tap.snapshot()
        try:
            encoded = encode(snapshot)
        except UNSAYABLE:
            encoded = encode(replace(snapshot, recent=()))
        return encode_line(Seen(snapshot=msgspec.Raw(encoded), lag=self._lag()))
