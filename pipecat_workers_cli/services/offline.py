"""Speech that needs no key and no network: Moonshine hears, Piper speaks.

What takes time is done by the models' own threads (see `models`), so these services are as
light as those that send their work to a server.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Iterable, Iterator
from contextlib import aclosing
from functools import partial

from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    UserAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.settings import STTSettings, TTSSettings
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.services.tts_service import TTSService
from pipecat.transcriptions.language import Language
from pipecat.utils.text.transforms import (
    expand_currency,
    expand_percentages,
    expand_units,
    strip_markdown,
)
from pipecat.utils.time import time_now_iso8601
from pipecat.utils.tracing.service_decorators import traced_stt, traced_tts

from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.services.models import TURN, Speaker, hearing, speak, speaking, transcribe
from pipecat_workers_cli.services.providers import Choice, Role, provider
from pipecat_workers_cli.services.voices import Voice, find_voice

P99 = 1.0  # seconds from the end of speech to its words; measured on two busy cores
CHUNK = 0.1  # seconds of audio in a frame, so that an interruption cuts in soon
ROUND_SUM = re.compile(r"\$\s*(\d+(?:\.\d+)?) (thousand|million|billion)\b", re.IGNORECASE)


class MoonshineSTT(SegmentedSTTService):
    """Hears a caller's turn once it has ended, through the process's one transcriber."""

    def __init__(self, *, model: str) -> None:
        """Prepare to hear; the model is loaded by `load_models`, or when first needed.

        Args:
            model: What its wheel brings, `tiny`.
        """
        super().__init__(
            ttfs_p99_latency=P99, settings=STTSettings(model=model, language=Language.EN)
        )
        self._speaker_id = ""

    @property
    def wants_wav_segments(self) -> bool:
        """Take segments as they are, 16-bit mono PCM."""
        return False

    def can_generate_metrics(self) -> bool:
        """Report times, so that a turn's latency has its part for hearing."""
        return True

    async def process_audio_frame(
        self, frame: InputAudioRawFrame, direction: FrameDirection
    ) -> None:
        """Collect audio, and note who is speaking where the transport knows it."""
        self._speaker_id = frame.user_id if isinstance(frame, UserAudioRawFrame) else ""
        await super().process_audio_frame(frame, direction)

    @traced_stt
    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame, None]:
        """Give the words of a segment, if there are any."""
        await self.start_processing_metrics()
        try:
            text = await transcribe(audio, sample_rate=self.sample_rate)
        finally:
            await self.stop_processing_metrics()
        if text:
            yield TranscriptionFrame(text, self._speaker_id, time_now_iso8601(), Language.EN)


class PiperTTS(TTSService):
    """Speaks with an installed voice, through the process's one copy of its model."""

    def __init__(self, *, voice: Voice) -> None:
        """Prepare to speak; the model is loaded by `load_models`, or when first needed.

        Args:
            voice: An installed voice.
        """
        super().__init__(
            push_start_frame=True,
            push_stop_frames=True,
            stop_frame_timeout_s=TURN,  # other calls' sentences may come first
            max_consecutive_zero_audio_contexts=0,  # signs alone make no sound: no fault of it
            text_transforms=[("*", transform) for transform in SPELLED_OUT],
            settings=TTSSettings(model=voice.tone.model, voice=voice.name, language=None),
        )
        self._spoken_voice = voice

    def can_generate_metrics(self) -> bool:
        """Report times, so that a turn's latency has its part for speaking."""
        return True

    @traced_tts
    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame, None]:
        """Give the speech of a text in short frames, a sentence as soon as it is ready."""
        try:
            await self.start_tts_usage_metrics(text)
            speech = speak(text, self._spoken_voice, sample_rate=self.sample_rate)
            async with aclosing(speech):
                async for audio in speech:
                    await self.stop_ttfb_metrics()
                    for chunk in _chunks(audio, int(self.sample_rate * CHUNK) * 2):
                        yield TTSAudioRawFrame(chunk, self.sample_rate, 1, context_id=context_id)
        except PmwError as error:
            yield ErrorFrame(error=f"{error.what} ({error.mend})")
        except TimeoutError:
            yield ErrorFrame(error="the voice is too busy: too many calls at once")
        finally:
            await self.stop_ttfb_metrics()


def build_moonshine(*, model: str) -> MoonshineSTT:
    """Build ears that share the process's transcriber."""
    return MoonshineSTT(model=model)


def build_piper(*, voice: str) -> PiperTTS:
    """Build a voice that shares the process's models.

    Raises:
        PmwError: The voice isn't installed.
    """
    return PiperTTS(voice=find_voice(voice))


async def load_models(choices: Iterable[Choice]) -> None:
    """Load the models that the choices need, in their threads; those that are there stay.

    A voice that only a recipe names is loaded when it first speaks.

    Raises:
        PmwError: A model is missing or broken.
    """
    loading: list[Awaitable[object]] = []
    for choice in choices:
        if choice.role is Role.STT and choice.provider == "moonshine":
            loading.append(hearing.load())
        elif choice.role is Role.TTS and choice.provider == "piper":
            voice = find_voice(choice.model or provider(choice).default)
            loading.append(speaking.use(partial(Speaker.load, voice=voice)))
    await asyncio.gather(*loading)


async def _round_sums(text: str, text_type: str) -> str:
    """Say "$2.5 million" as people do, before Pipecat's own would take the cents out of it."""
    return ROUND_SUM.sub(r"\1 \2 dollars", text)


SPELLED_OUT = (strip_markdown, _round_sums, expand_currency, expand_percentages, expand_units)
"""What Piper is told in place of what an LLM writes: it reads $49 as "dollar forty-nine"."""


async def spelled_out(text: str) -> str:
    """Return what Piper should be told so that it says `text` as people do."""
    for transform in SPELLED_OUT:
        text = await transform(text, "*")
    return text


def _chunks(audio: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(audio), size):
        yield audio[start : start + size]
