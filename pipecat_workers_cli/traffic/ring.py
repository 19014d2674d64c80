"""Reads a bus's ring of recent messages bit by bit, off the path."""

from itertools import islice

from pipecat.bus import BusMessage

from pipecat_workers_cli.buses.local import LocalBus


class RingReader:
    """Gives each message of a ring once.

    Attributes:
        missed: Messages that left the ring before they were read.
    """

    def __init__(self, bus: LocalBus) -> None:
        """Begin with what the ring of `bus` holds."""
        self.missed = 0
        self._bus = bus
        self._read = 0

    def read(self) -> list[tuple[float, BusMessage]]:
        """Return what came since the last time, the oldest first, and when it did."""
        recent, noted = self._bus.recent, self._bus.noted
        new = min(noted - self._read, len(recent))
        self.missed += noted - self._read - new
        self._read = noted
        return list(islice(recent, len(recent) - new, None))
