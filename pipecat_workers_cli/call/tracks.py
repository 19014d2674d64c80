"""The two sides of a call as sound, side by side on one clock, and the file they go to.

Pipecat's `AudioBufferProcessor` would nearly do: but while the bot speaks it lets its track
slip by every gap of up to 0.2 s, it pads whichever track is behind in mid-word whenever its
buffer is full, and it has no place in time for what is said beside each other.
"""

import errno
import os
import struct
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

RATE = 24_000  # Hz; what the bot speaks with. What comes in fewer samples is made to fit
SAMPLE = 2  # bytes
SIDES = 2
SLACK = 0.1  # seconds by which a piece may be early or late and still follows the one before
AHEAD = 120.0  # seconds of sound that a transport may be given before it is due; 6 MB a side
HEADER = 44  # bytes
MOST_BYTES = 2**32 - HEADER - 8  # what a WAV file can say of itself: twelve hours

Samples = npt.NDArray[np.int16]


class Track:
    """One side of a call: pieces go in by their time, and come out without a gap."""

    def __init__(self) -> None:
        """Begin in silence."""
        self._out = np.zeros(0, np.int16)
        self._taken = 0  # samples given away
        self._due = 0.0  # seconds; where the next piece follows the last
        self._rate = 0
        self._stream: soxr.ResampleStream | None = None

    def put(self, samples: Samples, *, rate: int, until: float) -> None:
        """Add a piece.

        A piece that comes about when it is due follows the one before without a seam; one
        that comes later has silence before it. What is too early for anybody to hear is
        left out.

        Args:
            samples: Mono.
            rate: In Hz.
            until: When it ends, in seconds of the call.
        """
        begins = until - len(samples) / rate
        if begins > self._due + SLACK or rate != self._rate:
            self._begin(max(begins, self._due), rate)
        if self._due > until + AHEAD:
            return
        self._due += len(samples) / rate
        stream = self._stream
        self._add(samples if stream is None else stream.resample_chunk(samples))

    def take(self, until: float) -> Samples:
        """Give what has not been given yet up to `until` seconds, silence where nothing is."""
        count = round(until * RATE) - self._taken
        if count <= 0:
            return np.zeros(0, np.int16)
        if until > self._due + SLACK:  # a pause has come
            self._let_out()
        given, self._out = self._out[:count], self._out[count:].copy()
        self._taken += count
        return np.pad(given, (0, count - len(given)))

    def _begin(self, at: float, rate: int) -> None:
        self._let_out()
        self._rate = rate
        self._stream = None if rate == RATE else soxr.ResampleStream(rate, RATE, 1, "int16")
        place = round(at * RATE)
        here = self._taken + len(self._out)
        if place > here:
            self._add(np.zeros(place - here, np.int16))
        self._due = max(place, here) / RATE

    def _let_out(self) -> None:
        if self._stream is not None:
            self._add(self._stream.resample_chunk(np.zeros(0, np.int16), last=True))
            self._stream = None
            self._rate = 0

    def _add(self, samples: Samples) -> None:
        self._out = np.concatenate((self._out, samples))


def side_by_side(left: Samples, right: Samples) -> bytes:
    """Interleave two sides of the same length."""
    return np.column_stack((left, right)).astype("<i2").tobytes()


class WavFile:
    """A stereo WAV file that can be played at any moment while it grows.

    A thread may write while another lets go of it: whoever is last closes the file, for its
    number may be another file's from then on.
    """

    def __init__(self, path: Path) -> None:
        """Create it, readable for this user alone; one that is there is overwritten.

        Raises:
            OSError: It can't be written.
        """
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._size = 0
        self._in_use = threading.Lock()
        self._over = False
        self._closed = False
        try:
            self._write(self._header(), 0)
        except OSError:
            os.close(self._file)
            raise

    @property
    def seconds(self) -> float:
        """How much it holds."""
        return self._size / (RATE * SAMPLE * SIDES)

    def append(self, block: bytes) -> None:
        """Add sound; a block that does not fit leaves the file as it was, as one after its end.

        Raises:
            OSError: The disk is full, or the file as long as one can be.
        """
        try:
            with self._in_use:
                if not self._closed:
                    self._append(block)
        finally:
            if self._over:
                self.close()

    def close(self) -> None:
        """Let go of it, at once; what is being written now is written first, by its thread."""
        self._over = True
        if not self._in_use.acquire(blocking=False):
            return
        try:
            if not self._closed:
                self._closed = True
                os.close(self._file)
        finally:
            self._in_use.release()

    def _append(self, block: bytes) -> None:
        if self._size + len(block) > MOST_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        try:
            self._write(block, HEADER + self._size)
        except OSError:
            os.ftruncate(self._file, HEADER + self._size)
            raise
        self._size += len(block)
        # At once: whoever kills this process leaves a file that says what it holds.
        self._write(self._header(), 0)

    def _write(self, block: bytes, at: int) -> None:
        rest = memoryview(block)
        while rest:
            written = os.pwrite(self._file, rest, at)
            rest, at = rest[written:], at + written

    def _header(self) -> bytes:
        frame = SAMPLE * SIDES
        form = struct.pack("<HHIIHH", 1, SIDES, RATE, RATE * frame, frame, 8 * SAMPLE)
        riff = struct.pack("<4sI4s4sI", b"RIFF", HEADER - 8 + self._size, b"WAVE", b"fmt ", 16)
        return riff + form + struct.pack("<4sI", b"data", self._size)
