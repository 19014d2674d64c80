"""Records a call to be heard: the caller left, the bot right, as they met in time."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame, StartFrame
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_workers_cli.call.latency import clock_zero
from pipecat_workers_cli.call.tracks import Track, WavFile, side_by_side
from pipecat_workers_cli.errors import ConfigurationError

WRITE_EVERY = 1.0  # seconds
HOLD = 1.0  # seconds in which a piece may still come; an event loop as late as that has no call
FINISH_WITHIN = 1.5  # seconds in which a disk must take the last second, or it is left out


class AudioRecorder(BaseObserver):
    """Puts what passes a call's transport into a WAV file; a full disk ends no call.

    The file's time is the call's, so an entry's `at_ms` is a place in it. Memory holds a
    second or two; the rest is on the disk.

    Attributes:
        path: The file.
        failure: Why nothing more is written; None while all is well.
    """

    def __init__(self, path: Path) -> None:
        """Prepare; the file is created when the call begins."""
        super().__init__(observe_every_push=False)
        self.path = path
        self.failure: str | None = None
        self._caller = Track()
        self._bot = Track()
        self._output: FrameProcessor | None = None
        self._zero = 0.0
        self._began = 0.0

    @asynccontextmanager
    async def recording(
        self, output: FrameProcessor, *, began: float, tell: Callable[[str], None]
    ) -> AsyncGenerator[None]:
        """Record for as long as the block lasts.

        Args:
            output: The transport's output: what it pushes has been played.
            began: When the call began, in seconds of `time.monotonic`.
            tell: Told once if nothing more can be written.
        """
        self._output, self._began = output, began
        stop = asyncio.Event()
        writing = asyncio.create_task(self._write(stop, tell), name=f"record {self.path}")
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait({writing}, timeout=FINISH_WITHIN)
            writing.cancel()

    async def on_push_frame(self, data: FramePushed) -> None:
        """Take in what is heard: at the transport's two ends, and nowhere between."""
        frame = data.frame
        if isinstance(frame, InputAudioRawFrame):
            track = self._caller
        elif isinstance(frame, OutputAudioRawFrame) and data.source is self._output:
            track = self._bot
        else:
            if isinstance(frame, StartFrame):
                self._zero = clock_zero(data) / 1e9 - self._began
            return
        if self.failure is None:
            samples = np.frombuffer(frame.audio, dtype="<i2")[:: frame.num_channels]
            until = self._zero + data.timestamp / 1e9
            track.put(samples, rate=frame.sample_rate, until=until)

    async def _write(self, stop: asyncio.Event, tell: Callable[[str], None]) -> None:
        """Write what is old enough now and then, and all there is in the end."""
        file: WavFile | None = None
        try:
            file = await asyncio.to_thread(WavFile, self.path)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), WRITE_EVERY)
                now = time.monotonic() - self._began
                block = self._take(now if stop.is_set() else now - HOLD)
                await asyncio.to_thread(file.append, block)
        except OSError as error:
            kept = f" after {file.seconds:.0f} s" if file is not None else ""
            self.failure = f"nothing more is recorded{kept}: {error.strerror}"
            tell(f"{self.path}: {self.failure}; the call goes on")
        finally:
            if file is not None:
                file.close()

    def _take(self, until: float) -> bytes:
        return side_by_side(self._caller.take(until), self._bot.take(until))


def numbered(path: Path, call: int) -> Path:
    """Return where a session's call is recorded: `call.wav`, `call-2.wav`, …, as they come."""
    return path if call == 1 else path.with_stem(f"{path.stem}-{call}")


def check_audio(path: Path) -> None:
    """Refuse a recording that could not even begin.

    Raises:
        ConfigurationError: It is no WAV file by its name, or can't be written there.
    """
    if path.suffix.lower() != ".wav":
        raise ConfigurationError(f"--audio writes WAV, not '{path.suffix}'", mend="name a .wav")
    folder = path.parent
    reason = ""
    if not folder.is_dir():
        reason = f"there is no folder {folder}"
    elif path.exists() and not path.is_file():
        reason = "it is no file"
    elif not os.access(path if path.exists() else folder, os.W_OK):
        reason = "permission denied"
    if reason:
        raise ConfigurationError(f"cannot write {path}: {reason}", mend="name another file")
