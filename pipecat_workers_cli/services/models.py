"""The offline speech models: loaded once a process, shared by its calls, each in its thread.

Moonshine's transcriber keeps its answer in memory that the next question overwrites: asked by
two threads at once it returns garbage. Piper would stand two threads, but on two cores neither
would be sooner. So each has one thread, its calls take turns by the sentence, and the event
loop only waits.
"""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import soxr

from pipecat_workers_cli.errors import PmwError, mend_extra
from pipecat_workers_cli.services.voices import Voice

if TYPE_CHECKING:
    from moonshine_voice.transcriber import Transcriber
    from piper import PiperVoice

# The packages of the extra are imported in the threads too: that takes a while, and a call in
# words has no use for them.
TURN = 30.0  # seconds to wait for a turn and its work; later no caller has use for it
THREADS = 2  # inside Piper; 0.24 s a sentence, as with all cores of the machine, 0.40 s with one
MODEL = "tiny-en"  # comes in Moonshine's wheel
PIECE = 4000  # samples; the event loop stands still while Moonshine copies them: 1 ms
REINSTALL = mend_extra("offline", again=True)

Model = TypeVar("Model")
Answer = TypeVar("Answer")


class ModelThread(Generic[Model]):
    """A model that is loaded when it is first needed, and the one thread that uses it."""

    def __init__(self, name: str, load: Callable[[], Model]) -> None:
        """Prepare; neither thread nor model exist before they are needed.

        Args:
            name: The thread's name.
            load: Runs in the thread, once unless it raises.
        """
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._load = load
        self._model: Model | None = None

    async def load(self) -> None:
        """Load the model, unless it is there.

        Raises:
            PmwError: It can't be loaded.
        """
        await self.use(lambda _: None)

    async def use(self, work: Callable[[Model], Answer]) -> Answer:
        """Run `work` on the model when its turn comes; cancelled before that, it never runs.

        Raises:
            PmwError: The model can't be loaded.
            TimeoutError: Others kept it busy for `TURN` seconds.
        """
        async with asyncio.timeout(TURN):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._run, work)

    def _run(self, work: Callable[[Model], Answer]) -> Answer:
        if self._model is None:
            self._model = self._load()
        return work(self._model)


class Speaker:
    """Speaks with any installed voice. For the speaking thread alone."""

    def __init__(self) -> None:
        self._models: dict[Path, PiperVoice] = {}

    def load(self, voice: Voice) -> "PiperVoice":
        """Return the voice's model, from its files the first time.

        Raises:
            PmwError: The files can't be read as a voice.
        """
        if voice.file not in self._models:
            self._models[voice.file] = _load_voice(voice.file)
        return self._models[voice.file]

    def speak(self, text: str, voice: Voice, *, sample_rate: int) -> Iterator[bytes]:
        """Give the speech of `text`, 16-bit mono at `sample_rate` Hz, sentence by sentence.

        A higher pitch is the same samples played faster; Piper draws the sounds out by as
        much beforehand, so that the words keep their pace.
        """
        from piper import SynthesisConfig  # noqa: PLC0415

        model = self.load(voice)
        config = SynthesisConfig(length_scale=model.config.length_scale * voice.tone.pace)
        rate = model.config.sample_rate * voice.tone.pitch
        for sentence in model.synthesize(text, config):
            samples = soxr.resample(sentence.audio_float_array, rate, sample_rate)
            yield (np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16).tobytes()


def _load_voice(file: Path) -> "PiperVoice":
    import onnxruntime  # noqa: PLC0415
    from piper import PiperConfig, PiperVoice  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    # Threads that spin while they wait take the cores that calls need for their audio.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        config = json.loads(file.with_name(f"{file.name}.json").read_text(encoding="utf-8"))
        session = onnxruntime.InferenceSession(
            str(file), sess_options=options, providers=["CPUExecutionProvider"]
        )
        voice = PiperVoice(session=session, config=PiperConfig.from_dict(config))
        for _ in voice.synthesize("Hi."):  # the first sentence takes three times as long
            pass
    except Exception as error:  # whatever onnxruntime makes of a broken file
        what = f"the Piper voice in {file} can't be loaded ({type(error).__name__})"
        raise PmwError(what, mend="take the files away and get the voice anew") from error
    return voice


def _load_transcriber() -> "Transcriber":
    from moonshine_voice.errors import MoonshineError  # noqa: PLC0415
    from moonshine_voice.moonshine_api import ModelArch  # noqa: PLC0415
    from moonshine_voice.transcriber import Transcriber  # noqa: PLC0415
    from moonshine_voice.utils import get_model_path  # noqa: PLC0415

    folder = get_model_path(MODEL)
    if not folder.is_dir():
        raise PmwError("this moonshine-voice comes without its model", mend=REINSTALL)
    try:
        # An answer with its audio in it, as is usual, makes a list of that.
        transcriber = Transcriber(
            str(folder), ModelArch.TINY, options={"return_audio_data": "false"}
        )
        _hear(transcriber, np.zeros(8000, dtype=np.float32), 16_000)  # the first is slow
    except (MoonshineError, OSError) as error:
        raise PmwError("Moonshine's model can't be loaded", mend=REINSTALL) from error
    return transcriber


def _hear(transcriber: "Transcriber", samples: np.ndarray, sample_rate: int) -> str:
    # All of it at once is the same to Moonshine, but not to the event loop: its Python copies the
    # samples one by one and lets nobody else run, 28 ms for 7 s of speech.
    with transcriber.create_stream(update_interval=math.inf) as stream:
        stream.start()
        for start in range(0, len(samples), PIECE):
            stream.add_audio(samples[start : start + PIECE].tolist(), sample_rate)
        heard = stream.update_transcription()
    return " ".join(line.text for line in heard.lines).strip()


hearing: "ModelThread[Transcriber]" = ModelThread("moonshine", _load_transcriber)
speaking: ModelThread[Speaker] = ModelThread("piper", Speaker)


async def transcribe(audio: bytes, *, sample_rate: int) -> str:
    """Return what was said in `audio`, 16-bit mono PCM; empty if nothing was."""

    def work(transcriber: "Transcriber") -> str:
        samples = np.frombuffer(audio, dtype=np.int16).astype(np.float32) / 32768
        return _hear(transcriber, samples, sample_rate)

    return await hearing.use(work)


async def speak(text: str, voice: Voice, *, sample_rate: int) -> AsyncGenerator[bytes]:
    """Give the speech of `text`, 16-bit mono PCM, sentence by sentence as each is ready."""
    sentences = await speaking.use(
        lambda speaker: speaker.speak(text, voice, sample_rate=sample_rate)
    )
    while (audio := await speaking.use(lambda _: next(sentences, None))) is not None:
        yield audio
