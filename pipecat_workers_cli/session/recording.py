"""A session that is recorded while it lasts."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.record import Recorder, open_recording
from pipecat_workers_cli.traffic.tap import Tap


@contextmanager
def recorded(tap: Tap, path: Path | None) -> Generator[Recorder | None]:
    """Record all that a tap sees for as long as the block lasts; a full disk ends no call.

    Args:
        tap: Sees the session's calls; if nothing more can be written, it is told so, once.
        path: The file; None records nothing.

    Raises:
        ConfigurationError: The file can't be opened.
    """
    if path is None:
        yield None
        return
    with open_recording(path) as recorder:
        told = False

        def write(entries: Sequence[Entry]) -> None:
            nonlocal told
            recorder.add(entries)
            if recorder.failure is not None and not told:
                told = True
                tap.add(Entry(event="error", call="", at_ms=0, text=recorder.failure))

        unwatch = tap.watch(write)
        try:
            yield recorder
        finally:
            tap.collect()
            unwatch()
