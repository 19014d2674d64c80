"""A spoken call without a device: a voice stands in for the caller, a clock for the speaker."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
from pipecat.transports.base_transport import TransportParams

from pipecat_workers_cli.transports.sound import SoundInput, SoundOutput, SoundTransport

RATE = 16_000  # Hz; what the VAD and the offline STT are trained on
TICK = 0.02  # seconds of sound in one frame, as a browser sends it
LATE = 1.0  # seconds; a microphone that was stopped for longer has lost what it heard
QUIET = 500  # of a sample's 32,767: a block that stays below has no voice in it
BLOCK = RATE // 100  # samples
BREATH = 12  # blocks; the VAD takes 0.2 s of silence for the end of what is said

Speak = Callable[[str], Awaitable[bytes]]
"""Makes speech of a text, 16-bit mono at `RATE`; empty if it has no sound."""


class SpokenTransport(SoundTransport):
    """Carries speech as a caller's audio would come, in real time, with silence between.

    Event handlers available:

    - on_client_connected(transport, client): The pipeline runs; turns may be spoken.
    - on_client_disconnected(transport, client): `hang_up` was called.
    """

    def __init__(self, speak: Speak) -> None:
        """Prepare; sound flows once the pipeline starts.

        Args:
            speak: The caller's voice.
        """
        super().__init__()
        params = TransportParams(
            audio_in_enabled=True,
            audio_in_sample_rate=RATE,
            audio_out_enabled=True,
            audio_out_end_silence_secs=0,
        )
        self._speak = speak
        self._input = self._microphone = _Microphone(params, self._client_connected)
        self._output = _Speaker(params)

    async def send_turn(self, text: str) -> None:
        """Say `text` as the caller; returns when its last sound has been sent.

        It is said in one breath: at a pause in it the turn would be over, and the rest
        another one.
        """
        speech = in_one_breath(await self._speak(text))
        if speech:
            await self._microphone.say(speech)


def in_one_breath(speech: bytes) -> bytes:
    """Leave out silence around speech, and of each pause in it what is longer than a breath."""
    samples = np.frombuffer(speech, dtype="<i2")
    blocks = np.pad(samples, (0, -len(samples) % BLOCK)).reshape(-1, BLOCK)
    loud = np.flatnonzero(np.abs(blocks.astype(np.int32)).max(axis=1) > QUIET)
    kept = [block for one in loud for block in range(one, one + BREATH + 1)]
    last = loud[-1] if len(loud) else -1
    return blocks[[block for block in dict.fromkeys(kept) if block <= last]].tobytes()


class _Microphone(SoundInput):
    """Sends what is to be said, or silence, at the pace of a microphone."""

    def __init__(self, params: TransportParams, ready: Callable[[], Awaitable[None]]) -> None:
        super().__init__(params, ready)
        self._unsaid = bytearray()
        self._said = asyncio.Event()

    async def say(self, speech: bytes) -> None:
        self._unsaid.extend(speech)
        self._said.clear()
        await self._said.wait()

    async def _listen(self) -> None:
        size = round(RATE * TICK) * 2
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            piece = bytes(self._unsaid[:size])
            del self._unsaid[:size]
            sound = piece.ljust(size, b"\0")
            await self.push_audio_frame(InputAudioRawFrame(sound, RATE, 1))
            if not self._unsaid:
                self._said.set()
            due += TICK
            if loop.time() - due > LATE:
                due = loop.time()
            await asyncio.sleep(due - loop.time())

    async def _switch_off(self) -> None:
        self._said.set()  # whoever waits for it would wait for ever
        await super()._switch_off()


class _Speaker(SoundOutput):
    """Takes as long for a sound as it lasts."""

    def __init__(self, params: TransportParams) -> None:
        super().__init__(params)
        self._free_at = 0.0

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + frame.num_frames / frame.sample_rate
        await asyncio.sleep(self._free_at - now)
        return True
