"""A spoken call without a device: sound comes and goes in real time."""

import asyncio
import time

import numpy as np
import pytest
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)

from pipecat_workers_cli.transports.spoken import (
    BLOCK,
    BREATH,
    RATE,
    SpokenTransport,
    in_one_breath,
)
from tests.fakes.pipelines import Heard, running

SECOND = RATE * 2  # bytes


async def speak(text: str) -> bytes:
    """A caller whose every letter is a tenth of a second, and whose spaces are silence."""
    tones = {" ": 0, ".": 0}
    return b"".join(sound(0.1, tones.get(letter, 8_000)) for letter in text)


def sound(seconds: float, level: int, rate: int = RATE) -> bytes:
    return np.full(round(seconds * rate), level, "<i2").tobytes()


def loud(heard: Heard) -> int:
    """Bytes that the pipeline heard and that were not silence."""
    return sum(len(frame.audio) for frame in heard.all(InputAudioRawFrame) if any(frame.audio))


async def test_the_caller_comes_with_the_pipeline_and_is_silent_until_told_to_speak():
    transport, came = SpokenTransport(speak), asyncio.Event()

    @transport.event_handler("on_client_connected")
    async def on_connected(_transport: object, _client: object) -> None:
        came.set()

    async with running(transport.input(), transport.output()) as heard:
        await asyncio.wait_for(came.wait(), 5)
        frame = await heard.first(InputAudioRawFrame, number=5)
    assert (frame.sample_rate, len(frame.audio), any(frame.audio)) == (RATE, 640, False)


async def test_a_turn_takes_as_long_as_it_takes_to_say_it_and_none_of_it_is_lost():
    transport = SpokenTransport(speak)
    async with running(transport.input(), transport.output()) as heard:
        await heard.first(InputAudioRawFrame)
        began = time.monotonic()
        await transport.send_turn("hello")
        took = time.monotonic() - began
        await heard.until(lambda: loud(heard) >= SECOND // 2)
        await heard.until(lambda: not any(heard.all(InputAudioRawFrame)[-1].audio))
    assert 0.4 < took < 1.5
    assert loud(heard) == SECOND // 2


async def test_a_turn_without_sound_is_said_at_once():
    transport = SpokenTransport(speak)
    async with running(transport.input(), transport.output()) as heard:
        await heard.first(InputAudioRawFrame)
        await asyncio.wait_for(transport.send_turn("..."), 1)
    assert not loud(heard)


async def test_who_waits_for_a_turn_is_let_go_when_the_call_ends():
    transport = SpokenTransport(speak)
    async with running(transport.input(), transport.output()) as heard:
        await heard.first(InputAudioRawFrame)
        turn = asyncio.create_task(transport.send_turn("x" * 600))
        await heard.until(lambda: loud(heard))
    await asyncio.wait_for(turn, 2)


async def test_what_the_bot_says_takes_as_long_as_it_lasts():
    transport = SpokenTransport(speak)
    async with running(transport.input(), transport.output()) as heard:
        for _ in range(3):
            audio = TTSAudioRawFrame(sound(0.2, 5_000, 24_000), 24_000, 1, context_id="a")
            await heard.worker.queue_frame(audio)
        await heard.worker.queue_frame(TTSStoppedFrame(context_id="a"))
        began = heard.at(await heard.first(BotStartedSpeakingFrame))
        stopped = heard.at(await heard.first(BotStoppedSpeakingFrame))
    assert 0.5 < stopped - began < 1.5


async def test_an_interruption_cuts_the_bot_short():
    transport = SpokenTransport(speak)
    async with running(transport.input(), transport.output()) as heard:
        audio = TTSAudioRawFrame(sound(5, 5_000, 24_000), 24_000, 1, context_id="a")
        await heard.worker.queue_frame(audio)
        began = heard.at(await heard.first(BotStartedSpeakingFrame))
        await heard.worker.queue_frame(InterruptionFrame())
        stopped = heard.at(await heard.first(BotStoppedSpeakingFrame))
    assert stopped - began < 2


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("ab", 0.2), (" ab  ", 0.2), ("a b", 0.3), ("a    b", 0.2 + BREATH / 100), ("  ", 0), ("", 0)],
)
async def test_a_turn_is_said_in_one_breath(said, seconds):
    speech = in_one_breath(await speak(said))
    assert len(speech) == round(seconds * SECOND)
    assert len(speech) % BLOCK == 0
