"""What a session remembers of its traffic, for the live table: chosen by a filter, or saved."""

import asyncio
import re
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pipecat_workers_cli.errors import ConfigurationError

if TYPE_CHECKING:
    from pipecat_workers_cli.traffic.entry import Entry
    from pipecat_workers_cli.traffic.filter import Filter
    from pipecat_workers_cli.traffic.views import Snapshot

KEPT = 200  # entries that a filter chose, the latest; as many as a snapshot has
AT_ONCE = 50  # entries that are made at once, some 1 ms; calls go on in between
PAUSE = 0.002  # seconds between them
UNSAFE = re.compile(r"[^\w.-]+")  # in a file's name


class Source(Protocol):
    """What a table draws: this process's tap, or what another one tells of its own."""

    def snapshot(self) -> "Snapshot":
        """Sum up what was seen until now."""
        ...

    def subscribe(self, callback: "Callable[[Entry], None]") -> Callable[[], None]:
        """Have `callback` told every entry; returns what ends that."""
        ...


@runtime_checkable
class Memory(Protocol):
    """A source that also has the messages on the bus, those to come and those of the past."""

    def watch(self, callback: "Callable[[Sequence[Entry]], None]") -> Callable[[], None]:
        """Have `callback` told all entries, in batches; returns what ends that."""
        ...

    def remembered(self) -> "Iterable[Entry]":
        """Give all entries of the last ten minutes, as far as they were kept."""
        ...


class Chosen:
    """The latest entries that a filter chose among all, those of the past included."""

    def __init__(self, memory: Memory, wanted: "Filter", news: Callable[[], None]) -> None:
        """Begin to choose.

        Args:
            memory: Where entries come from.
            wanted: Chooses.
            news: Called when there are more.
        """
        self._wanted = wanted
        self._news = news
        self._past: deque[Entry] = deque(maxlen=KEPT)
        self._new: deque[Entry] = deque(maxlen=KEPT)
        past = iter(memory.remembered())
        first = next(past, None)  # the past ends here, where the watch begins
        self._unwatch = memory.watch(self._note)
        found = () if first is None else (first,)
        self._looking = asyncio.create_task(self._look_back(found, past), name="look back")

    @property
    def entries(self) -> "tuple[Entry, ...]":
        """What it has, the oldest first."""
        return (*self._past, *self._new)[-KEPT:]

    def close(self) -> None:
        """Choose no more."""
        self._unwatch()
        self._looking.cancel()

    def _note(self, entries: "Sequence[Entry]") -> None:
        chosen = [entry for entry in entries if self._wanted(entry)]
        if chosen:
            self._new.extend(chosen)
            self._news()

    async def _look_back(self, first: "Iterable[Entry]", past: "Iterable[Entry]") -> None:
        self._past.extend(filter(self._wanted, first))
        for number, entry in enumerate(past):
            if self._wanted(entry):
                self._past.append(entry)
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(PAUSE)
        self._news()


async def save_remembered(memory: Memory, name: str) -> str:
    """Write all that is remembered into a recording, and say where it is.

    It goes into the working directory, or where that can't be written, into the folder of
    logs, else a temporary one.

    Args:
        memory: Has it.
        name: What the file's name begins with.

    Returns:
        A line for the person who asked.
    """
    entries: list[Entry] = []
    for number, entry in enumerate(memory.remembered()):
        entries.append(entry)
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(PAUSE)
    if not entries:
        return "nothing has been said yet that could be saved"
    return await asyncio.to_thread(_save, entries, name)


def _save(entries: "Sequence[Entry]", name: str) -> str:
    from platformdirs import user_log_path

    stamp = time.strftime("%Y%m%d-%H%M%S")
    file = f"{UNSAFE.sub('-', name)}-{stamp}.jsonl"
    folders: tuple[Callable[[], Path], ...] = (
        Path.cwd,
        lambda: user_log_path("pmw", appauthor=False, ensure_exists=True),
        lambda: Path(tempfile.mkdtemp(prefix="pmw-")),
    )
    failure = ""
    for folder in folders:
        try:
            path = folder() / file
            failure = _write(entries, path)
        except (OSError, ConfigurationError) as error:
            failure = str(error)
        else:
            if not failure:
                return f"saved the last ten minutes, {len(entries):,} entries: {path}"
    return f"could not save: {failure}"


def _write(entries: "Sequence[Entry]", path: Path) -> str:
    """Write a recording; return why it is not complete, or nothing."""
    from pipecat_workers_cli.traffic.record import open_recording

    with open_recording(path) as recorder:
        for start in range(0, len(entries), 1_000):
            recorder.add(entries[start : start + 1_000])
    if recorder.failure is not None:
        path.unlink()
    return recorder.failure or ""
