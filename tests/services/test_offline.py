"""Real speech: Piper speaks into real pipelines, Moonshine hears what it said."""

import asyncio
import time

import numpy as np
import pytest
import soxr
from pipecat.frames.frames import (
    ErrorFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
    UserAudioRawFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)

from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import Profile, ServiceOptions
from pipecat_workers_cli.services import models
from pipecat_workers_cli.services.offline import load_models
from pipecat_workers_cli.services.providers import Role, build_stt, build_tts, choose
from pipecat_workers_cli.services.voices import find_voice, voice_names
from pipecat_workers_cli.session.memory import keep_loaded_models, let_go
from tests.services.pipelines import HEARD_AT, SPOKEN_AT, running

pytestmark = pytest.mark.speech

OFFLINE = ServiceOptions(profile=Profile.OFFLINE)
HEARING = choose(Role.STT, options=OFFLINE)
SPEAKING = choose(Role.TTS, options=OFFLINE)
SENTENCE = "How much are the rocket boots?"


async def speech(text, voice=None):
    """Return `text` spoken in a pipeline, 16-bit samples at `SPOKEN_AT`."""
    async with running(build_tts(SPEAKING, voice)) as (worker, sink):
        await worker.queue_frame(TTSSpeakFrame(text))
        await sink.until(TTSStoppedFrame)
        assert not sink.of(ErrorFrame)
        frames = sink.of(TTSAudioRawFrame)
    assert {frame.sample_rate for frame in frames} == {SPOKEN_AT}
    assert max(len(frame.audio) for frame in frames) <= SPOKEN_AT * 2 * 0.1
    return np.frombuffer(b"".join(frame.audio for frame in frames), dtype=np.int16)


async def transcript(samples):
    """Return what is heard in a pipeline, in lower case, punctuation off."""
    heard = soxr.resample(samples, SPOKEN_AT, HEARD_AT)
    async with running(build_stt(HEARING)) as (worker, sink):
        await worker.queue_frame(VADUserStartedSpeakingFrame())
        for start in range(0, len(heard), HEARD_AT // 50):
            piece = heard[start : start + HEARD_AT // 50].tobytes()
            await worker.queue_frame(InputAudioRawFrame(piece, HEARD_AT, 1))
        await worker.queue_frame(VADUserStoppedSpeakingFrame())
        (said,) = await sink.until(TranscriptionFrame)
    assert said.finalized
    return said.text.lower().replace("-", " ").strip(".?! ")


def fundamental(samples):
    """Return the median fundamental frequency of the voiced parts, in Hz, by autocorrelation."""
    wave = samples.astype(np.float64) / 32768
    window = int(0.04 * SPOKEN_AT)
    shortest, longest = SPOKEN_AT // 300, SPOKEN_AT // 55
    found = []
    for start in range(0, len(wave) - window, window // 2):
        piece = wave[start : start + window]
        if np.sqrt(np.mean(piece**2)) < 0.05:
            continue
        alike = np.correlate(piece - piece.mean(), piece - piece.mean(), "full")[window - 1 :]
        lag = shortest + int(np.argmax(alike[shortest:longest]))
        if alike[lag] > 0.5 * alike[0]:
            found.append(SPOKEN_AT / lag)
    return float(np.median(found))


async def free(work):
    """Return what `work` gives; it must not have kept the event loop for a quarter of its time."""
    loop, longest = asyncio.get_running_loop(), 0.0

    async def measure():
        nonlocal longest
        while True:
            due = loop.time() + 0.01
            await asyncio.sleep(0.01)
            longest = max(longest, loop.time() - due)

    measuring = asyncio.create_task(measure())
    await asyncio.sleep(0)  # it begins
    began = loop.time()
    try:
        given = await work
        took = loop.time() - began
        await asyncio.sleep(0.02)  # one more look, late as it may be
    finally:
        measuring.cancel()
    assert longest < took / 4
    return given


async def test_what_is_spoken_is_heard_again():
    assert await transcript(await speech(SENTENCE)) == "how much are the rocket boots"


@pytest.mark.parametrize("voice", ["joe-low", "joe-high"])
async def test_what_another_voice_speaks_is_heard_too(voice):
    said = await transcript(await speech("Which product would you like to hear about?", voice))
    assert "which product would you like" in said


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("The rocket boots cost $299.", ("two hundred", "ninety nine dollars", "$299")),
        ("A can of paint is $49.", ("forty nine dollars", "$49")),
        ("They reach up to 60 mph.", ("miles per hour", "miles an hour")),
    ],
)
async def test_numbers_are_spoken_as_people_do(written, spoken):
    # Piper varies each utterance, and the smallest Moonshine mishears one now and then.
    tries: list[str] = []
    while len(tries) < 5 and not any(words in heard for heard in tries for words in spoken):
        tries.append(await transcript(await speech(written)))
    assert any(words in heard for heard in tries for words in spoken), tries


async def test_the_voices_differ_clearly_and_keep_the_pace():
    text = "Welcome to Acme Corporation. What can I do for you today, and who are you?"
    low, own, high = [await speech(text, voice) for voice in ("joe-low", "joe", "joe-high")]
    assert fundamental(own) / fundamental(low) >= 1.15
    assert fundamental(high) / fundamental(own) >= 1.15
    for other in (low, high):
        assert 0.85 < len(other) / len(own) < 1.15


async def test_calls_at_once_share_the_models_and_hear_their_own_words(monkeypatch):
    await load_models([HEARING, SPEAKING])

    def refuse(*_):
        raise AssertionError("a model was loaded a second time")

    monkeypatch.setattr("moonshine_voice.transcriber.Transcriber.__init__", refuse)
    monkeypatch.setattr("onnxruntime.InferenceSession.__init__", refuse)
    await load_models([HEARING, SPEAKING])
    asked = ("How much are the rocket boots?", "What do you sell?")
    spoken = await asyncio.gather(*(speech(text) for text in asked))
    heard = await asyncio.gather(*(transcript(spoken[i % 2]) for i in range(6)))
    assert heard == ["how much are the rocket boots", "what do you sell"] * 3


@pytest.mark.aloud  # or other tests would hold it up
async def test_the_event_loop_stays_free_while_models_load_speak_and_hear(monkeypatch):
    fresh = models.ModelThread("piper-test", models.Speaker)
    monkeypatch.setattr("pipecat_workers_cli.services.offline.speaking", fresh)
    keep_loaded_models()  # as a session does; a look through all that tests left takes 0.2 s
    try:
        await free(load_models([HEARING, SPEAKING]))
        samples = await free(speech("The rocket boots reach up to 60 miles an hour. " * 4))
        heard = soxr.resample(samples, SPOKEN_AT, HEARD_AT).tobytes()
        assert "rocket boots" in await free(models.transcribe(heard, sample_rate=HEARD_AT))
    finally:
        let_go()


async def test_an_interruption_ends_the_speech_within_its_text():
    long = " ".join([SENTENCE] * 40)
    async with running(build_tts(SPEAKING, None)) as (worker, sink):
        await worker.queue_frame(TTSSpeakFrame(long))
        await sink.until(TTSAudioRawFrame)
        await worker.queue_frame(InterruptionFrame())
        await sink.until(InterruptionFrame)
        began = time.monotonic()
        await models.speaking.use(lambda _: None)  # waits for the one sentence in the works
        assert time.monotonic() - began < 2
        spoken = sum(len(frame.audio) for frame in sink.of(TTSAudioRawFrame)) / SPOKEN_AT / 2
    assert spoken < 20  # seconds; all of it takes over a minute


async def test_a_transport_that_knows_the_speaker_has_it_in_the_transcript():
    samples = soxr.resample(await speech(SENTENCE), SPOKEN_AT, HEARD_AT)
    async with running(build_stt(HEARING)) as (worker, sink):
        await worker.queue_frame(VADUserStartedSpeakingFrame())
        await worker.queue_frame(
            UserAudioRawFrame(
                audio=samples.tobytes(), sample_rate=HEARD_AT, num_channels=1, user_id="ada"
            )
        )
        await worker.queue_frame(VADUserStoppedSpeakingFrame())
        (said,) = await sink.until(TranscriptionFrame)
    assert said.user_id == "ada"


async def test_silence_has_no_words():
    async with running(build_stt(HEARING)) as (worker, sink):
        await worker.queue_frame(VADUserStartedSpeakingFrame())
        await worker.queue_frame(InputAudioRawFrame(bytes(HEARD_AT), HEARD_AT, 1))
        await worker.queue_frame(VADUserStoppedSpeakingFrame())
        await sink.until(VADUserStoppedSpeakingFrame)
        await models.hearing.use(lambda _: None)  # its turn comes after the segment's
        assert not sink.of(TranscriptionFrame)


def test_a_voice_in_a_folder_of_ones_own_is_found(tmp_path, monkeypatch):
    joe = find_voice("joe").file
    for suffix in ("", ".json"):
        (tmp_path / f"en_US-mine-medium.onnx{suffix}").symlink_to(f"{joe}{suffix}")
    (tmp_path / "half.onnx").touch()  # without its .json it is no voice
    monkeypatch.setenv("PIPER_VOICES", str(tmp_path))
    assert find_voice("en_US-mine-medium").file.parent == tmp_path
    assert voice_names()[:3] == ("joe", "joe-low", "joe-high")
    assert "half" not in voice_names()


async def test_a_broken_voice_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "broken.onnx.json").write_text("{}")
    monkeypatch.setenv("PIPER_VOICES", str(tmp_path))
    choice = choose(Role.TTS, options=ServiceOptions(tts="piper:broken"))
    with pytest.raises(PmwError, match=r"broken\.onnx can't be loaded"):
        await load_models([choice])
    async with running(build_tts(choice, None)) as (worker, sink):
        await worker.queue_frame(TTSSpeakFrame("Hello"))
        (error,) = await sink.until(ErrorFrame)
    assert "can't be loaded" in error.error


async def test_a_turn_that_was_cancelled_before_it_came_is_never_worked_on():
    gate, worked = asyncio.Event(), []
    loop = asyncio.get_running_loop()
    thread = models.ModelThread("test", list)

    def block(_):
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(5)

    first = asyncio.create_task(thread.use(block))
    second = asyncio.create_task(thread.use(worked.append))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # both have asked for their turn
    second.cancel()
    gate.set()
    await first
    await thread.use(lambda _: None)
    assert worked == []
