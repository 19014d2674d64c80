"""How late an event loop is: shown in the table, and why a session takes no more calls."""

import asyncio
from collections import deque

LAG_EVERY = 0.25  # seconds between measurements
LAGS = 4  # measurements; a call that begins makes one or two late, an overload all of them
LAG_BUSY = 0.1  # seconds; five audio frames late is heard as stutter


class LoopLag:
    """Measures the event loop in which it runs.

    Attributes:
        seconds: By how much it was late when it was last measured.
    """

    def __init__(self) -> None:
        """Begin with nothing measured."""
        self.seconds = 0.0
        self._latest: deque[float] = deque(maxlen=LAGS)

    @property
    def stutters(self) -> bool:
        """Whether it was late for so long that callers hear it."""
        return len(self._latest) == LAGS and min(self._latest) > LAG_BUSY

    async def measure(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            self.seconds = loop.time() - due
            self._latest.append(self.seconds)
