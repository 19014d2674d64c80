"""A process that holds one call at its terminal: how it begins, is stopped, and ends."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pipecat_workers_cli.call.audio import AudioRecorder
from pipecat_workers_cli.call.latency import turn_limit
from pipecat_workers_cli.cli.keys import restore_terminal
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import CallOptions
from pipecat_workers_cli.session.recording import recorded
from pipecat_workers_cli.traffic.record import Recorder
from pipecat_workers_cli.traffic.tap import Tap

PATIENCE = 12.0  # seconds to end the workers, longer than all that a well-behaved one is given

OnFailure = Callable[[OSError], None]
"""Told that stdout can't be written to, which ends the call."""


def hold(
    options: CallOptions,
    tap: Tap,
    audio: AudioRecorder | None,
    begin: Callable[[Callable[[], None]], Coroutine[Any, Any, None]],
) -> None:
    """Run a call with its recordings; blocks until it is over.

    Args:
        options: What was typed.
        tap: Is told what happens in the call.
        audio: Records the call.
        begin: Returns the call; what it gets is to be called when all that is left to do is
            to end the workers.

    Raises:
        PmwError: An answer took too long, or a recording is not whole.
    """
    recorder: Recorder | None = None
    try:
        with turn_limit(tap, options.max_turn_ms), recorded(tap, options.record) as recorder:
            # A thread, since what must be left behind may hold the loop.
            patience = threading.Timer(PATIENCE, _abandon)
            patience.name = "patience"
            patience.daemon = True
            try:
                asyncio.run(begin(patience.start))
            finally:
                patience.cancel()
    except PmwError as error:
        error.what = "; ".join((error.what, *_lost(options, recorder, audio)))
        raise
    if lost := _lost(options, recorder, audio):
        raise PmwError("; ".join(lost), mend="make room, or record elsewhere")


def _lost(
    options: CallOptions, recorder: Recorder | None, audio: AudioRecorder | None
) -> list[str]:
    """Say of each recording that is not whole why it isn't."""
    kept = ((options.record, recorder), (options.audio, audio))
    return [f"{path}: {one.failure}" for path, one in kept if one and one.failure]


def _abandon() -> None:
    """Leave the process, whatever a worker of the user's still does."""
    restore_terminal()
    print(
        f"error: a worker did not end within {PATIENCE:.0f} seconds of the call\n"
        "  try: let CancelledError through in the code of your workers",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


async def until_stopped(run: Callable[[OnFailure], Awaitable[None]]) -> None:
    """Run a call; a signal ends it as a hang-up does, and so does a stdout that fails.

    Args:
        run: Runs it; gets what is to be told of a stdout that fails.

    Raises:
        PmwError: Stdout can't be written to.
        BrokenPipeError: Whoever read stdout has gone.
        KeyboardInterrupt: SIGINT ended the call.
    """
    task = asyncio.current_task()
    signals: list[int] = []
    failures: list[OSError] = []

    def stop() -> None:
        if task is not None:
            task.cancel()

    def stdout_failed(error: OSError) -> None:
        failures.append(error)
        stop()

    try:
        with _taking_signals(signals, stop):
            await run(stdout_failed)
    except asyncio.CancelledError:
        if not signals and not failures:
            raise
    for error in failures:
        raise _unwritten(error)
    if signal.SIGINT in signals:
        raise KeyboardInterrupt


@contextmanager
def _taking_signals(taken: list[int], stop: Callable[[], None]) -> Generator[None]:
    """Have the first signal noted and `stop` called; the second leaves the process at once."""
    loop = asyncio.get_running_loop()

    def take(number: int, _frame: FrameType | None) -> None:
        if taken:
            restore_terminal()
            os._exit(130 if number == signal.SIGINT else 1)
        taken.append(number)
        loop.call_soon_threadsafe(stop)

    # Not the event loop's own way, which a worker that holds up the loop would hold up, too.
    before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if not taken:  # or a second one, while threads end, would be told with a traceback
            for number, handler in before.items():
                signal.signal(number, handler)


def _unwritten(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error  # no trouble: the reader has seen enough
    return PmwError(
        f"cannot write to stdout: {error.strerror}", mend="make room, or write elsewhere"
    )
