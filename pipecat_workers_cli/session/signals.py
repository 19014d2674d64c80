"""SIGINT and SIGTERM of a session that serves: its calls end first, then Pipecat's runner."""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType

LEAVE_WITHIN = 4.8  # seconds from a signal to the end of the process, whatever hangs


class Signals:
    """Ends a session by signals, in stages; a second one ends the process at once.

    Attributes:
        first: The number of the one that came; None if none has.
        aborting: Called before the process leaves at once, to restore the terminal.
    """

    def __init__(self, end_calls: Callable[[], Awaitable[None]]) -> None:
        """Prepare; no signal is taken yet.

        Args:
            end_calls: Ends all calls, and returns when they are over.
        """
        self.first: int | None = None
        self.aborting: list[Callable[[], None]] = []
        self._end_calls = end_calls
        self._on_signal: Callable[[int, FrameType | None], None] | None = None

    def take(self) -> None:
        """Take the signals from the runner, which gets them once the calls have ended."""
        loop = asyncio.get_running_loop()
        kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        stopping: list[asyncio.Task[None]] = []

        async def stop(number: int, frame: FrameType | None) -> None:
            await self._end_calls()
            handler = kept[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)

        def on_signal(number: int, frame: FrameType | None) -> None:
            if self.first is not None:
                self._leave_at_once(number)
            self.first = number
            # A terminal that takes no more output holds up every way out but this one.
            late = threading.Timer(LEAVE_WITHIN, self._leave_at_once, (number,))
            late.daemon = True
            late.start()
            loop.call_soon_threadsafe(
                lambda: stopping.append(loop.create_task(stop(number, frame), name="stop"))
            )

        self._on_signal = on_signal
        for number in kept:
            signal.signal(number, on_signal)

    async def keep_sigint(self) -> None:
        """Take SIGINT back from whoever in this event loop takes it next; returns when done.

        One that comes in between is not lost: it is handed to the event loop, which looks
        for what to do with it no sooner than all that is ready has run, this among it.
        """
        if (ours := self._on_signal) is None:
            return
        loop = asyncio.get_running_loop()
        taken = False
        while not taken:
            await asyncio.sleep(0)
            taken = signal.getsignal(signal.SIGINT) is not ours
        loop.add_signal_handler(signal.SIGINT, ours, signal.SIGINT, None)
        for _ in range(2):  # turns of the loop, for one that is on its way
            await asyncio.sleep(0)
        # Not the loop's to handle for longer: output that is stuck would keep it from that.
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, ours)

    def _leave_at_once(self, number: int) -> None:
        for restore in self.aborting:
            restore()
        os._exit(130 if number == signal.SIGINT else 1)
