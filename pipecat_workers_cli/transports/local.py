"""A call by this machine's own microphone and loudspeaker."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager

import numpy as np
import soxr
from pipecat.audio.utils import is_silence
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_transport import TransportParams

from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.transports.devices import RATE, Line
from pipecat_workers_cli.transports.sound import SoundInput, SoundOutput, SoundTransport
from pipecat_workers_cli.transports.streams import Loudspeaker, Microphone

TAIL = 0.3  # seconds for which a room still sounds after the last word
LOOK_EVERY = 0.25  # seconds between looks whether the devices are still there
PLAYED_WITHIN = 2.0  # seconds for the last words, when a call ends


class LocalTransport(SoundTransport):
    """Carries what a microphone hears and plays what the bot says.

    In half duplex the microphone is closed while the bot is heard, since it would hear it,
    too: silence goes in its place, for whoever listens wants sound without gaps.

    Event handlers available:

    - on_client_connected(transport, client): The pipeline runs, and the caller is heard.
    - on_client_disconnected(transport, client): `hang_up` was called.

    Attributes:
        muted: Whether nothing is heard.
        gone: Set when a device has vanished; `failure` says which.
        failure: What to say of it.
    """

    def __init__(self, microphone: Microphone, loudspeaker: Loudspeaker, *, full: bool) -> None:
        """Prepare; both devices are open.

        Args:
            microphone: What hears the caller.
            loudspeaker: What plays the bot.
            full: Full duplex, for headphones: the microphone stays open.
        """
        super().__init__()
        self.muted = False
        self.gone = asyncio.Event()
        self.failure: PmwError | None = None
        self._microphone = microphone
        self._loudspeaker = loudspeaker
        self._full = full
        params = TransportParams(
            audio_in_enabled=True,
            audio_in_sample_rate=RATE,
            audio_out_enabled=True,
            audio_out_sample_rate=loudspeaker.line.rate,
            audio_out_end_silence_secs=0,
        )
        self._input = _Input(params, self, microphone, self._client_connected)
        self._output = _Output(params, loudspeaker)

    @property
    def level(self) -> float:
        """How loud the microphone is, from 0 to 1."""
        return self._microphone.level

    @property
    def bot_sounds(self) -> bool:
        """Whether the bot keeps the microphone closed."""
        tail = TAIL + self._microphone.latency
        return not self._full and self._loudspeaker.sounds_within(tail)

    @property
    def hears(self) -> bool:
        """Whether what the microphone brings goes into the call."""
        return not self.muted and not self.bot_sounds

    async def watch(self) -> None:
        """Look after the devices until one is gone, and say so."""
        while True:
            for stream in (self._microphone, self._loudspeaker):
                if stream.is_gone:
                    device, way = stream.line.device, stream.line.direction
                    self.failure = PmwError(
                        f"the {way.noun} '{device.name}' is gone",
                        mend="plug it in again, or choose another: --list-devices",
                    )
                    self.gone.set()
                    return
            await asyncio.sleep(LOOK_EVERY)


@asynccontextmanager
async def open_local(heard: Line, played: Line, *, full: bool) -> AsyncGenerator[LocalTransport]:
    """Open microphone and loudspeaker for as long as the block lasts.

    Args:
        heard: The microphone's line.
        played: The loudspeaker's line.
        full: Full duplex, for headphones.

    Raises:
        PmwError: A device can't be opened.
    """
    with ExitStack() as devices:
        microphone = devices.enter_context(Microphone(heard).open())
        loudspeaker = devices.enter_context(Loudspeaker(played).open())
        transport = LocalTransport(microphone, loudspeaker, full=full)
        watching = asyncio.create_task(transport.watch(), name="watch devices")
        try:
            yield transport
        finally:
            watching.cancel()


class _Input(SoundInput):
    """Sends what the microphone brings, or silence, as it comes."""

    def __init__(
        self,
        params: TransportParams,
        transport: LocalTransport,
        microphone: Microphone,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(params, ready)
        self._transport = transport
        self._microphone = microphone

    async def _listen(self) -> None:
        rate = self._microphone.line.rate
        resampler = None if rate == RATE else soxr.ResampleStream(rate, RATE, 1, dtype="int16")
        await self._microphone.blocks()  # what was heard before the call is nobody's
        while True:
            for block in await self._microphone.blocks():
                heard = block if self._transport.hears else bytes(len(block))
                if resampler is not None:
                    heard = resampler.resample_chunk(np.frombuffer(heard, dtype="<i2")).tobytes()
                if heard:
                    await self.push_audio_frame(InputAudioRawFrame(heard, RATE, 1))


class _Output(SoundOutput):
    """Plays at the device's pace."""

    def __init__(self, params: TransportParams, loudspeaker: Loudspeaker) -> None:
        super().__init__(params)
        self._loudspeaker = loudspeaker

    async def stop(self, frame: EndFrame) -> None:
        await super().stop(frame)
        try:
            async with asyncio.timeout(PLAYED_WITHIN):
                await self._loudspeaker.played()
        except TimeoutError:
            return

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, InterruptionFrame):
            self._loudspeaker.clear()
        await super().process_frame(frame, direction)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        await self._loudspeaker.play(frame.audio, loud=not is_silence(frame.audio))
        return True
