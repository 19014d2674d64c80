"""The fake Cartesia, and what Pipecat's service makes of its failures."""

import httpx
import numpy as np
import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.utils.errors import ErrorCategory

from pipecat_workers_cli.services.providers import Role, build_tts
from tests.fakes.cartesia import FakeCartesia, length, pitch
from tests.fakes.pipelines import running
from tests.fakes.provider import Behaviour

TEXT = "Hello there, my good friend."


@pytest.fixture
async def fake():
    async with FakeCartesia() as fake:
        yield fake


@pytest.fixture
def build(fake, chosen):
    return lambda key=None, voice="greeter": build_tts(chosen(Role.TTS, fake, key), voice)


async def say(heard, text=TEXT):
    await heard.worker.queue_frame(TTSSpeakFrame(text))


def samples(heard):
    audio = b"".join(frame.audio for frame in heard.all(TTSAudioRawFrame))
    return np.frombuffer(audio, dtype="<i2").astype(np.float64)


def heard_pitch(tone, rate):
    rises = np.count_nonzero((tone[:-1] < 0) & (tone[1:] >= 0))
    return rises / (len(tone) / rate)


@pytest.mark.parametrize(("voice", "rate"), [("greeter", 24_000), ("support", 16_000)])
async def test_a_text_is_spoken_in_its_length_at_the_voices_pitch(fake, build, voice, rate):
    async with running(build(voice=voice), rate_out=rate) as heard:
        await say(heard)
        await heard.first(TTSStoppedFrame)
        tone = samples(heard)
        assert len(tone) / rate == pytest.approx(length(TEXT))
        assert heard_pitch(tone, rate) == pytest.approx(pitch(voice), rel=0.01)
        assert {frame.sample_rate for frame in heard.all(TTSAudioRawFrame)} == {rate}
        assert [frame.text for frame in heard.all(TTSTextFrame)] == TEXT.split()
        assert not heard.errors
    request = fake.requests[0]
    assert request.headers["x-api-key"] == fake.key
    assert request.headers["cartesia-version"]
    assert request.messages[0]["output_format"]["sample_rate"] == rate
    assert pitch("greeter") != pitch("support")


async def test_the_sentences_of_a_turn_are_one_context_and_the_next_turn_is_another(fake, build):
    async with running(build()) as heard:
        for number in (1, 2):
            await heard.worker.queue_frames(
                [
                    LLMFullResponseStartFrame(),
                    *(LLMTextFrame(word) for word in ("First ", "one. ", "Second ", "one.")),
                    LLMFullResponseEndFrame(),
                ]
            )
            await heard.first(TTSStoppedFrame, number=number)
    turns = list(fake.spoken.values())
    assert [[text.strip() for text in turn] for turn in turns] == [
        ["First one.", "Second one."]
    ] * 2
    assert [message["continue"] for message in fake.requests[0].messages] == [True, True, False] * 2
    assert len(fake.requests) == 1  # one socket for both


async def test_an_interruption_cancels_the_context(fake, build):
    fake.pace = 0.1
    async with running(build()) as heard:
        await say(heard, TEXT * 5)
        await heard.first(TTSAudioRawFrame)
        await heard.worker.queue_frame(InterruptionFrame())
        await fake.until(lambda: fake.requests[0].messages[-1].get("cancel"))
        cancelled = fake.requests[0].messages[-1]["context_id"]
        assert cancelled == fake.requests[0].messages[0]["context_id"]
        fake.pace = 0.0
        await say(heard, "Next.")
        await fake.until(lambda: ["Next."] in fake.spoken.values())
        await heard.first(TTSStoppedFrame)


async def test_a_wrong_key_is_told_before_the_call_starts_and_ends_the_service(
    fake, build, wrong_key
):
    tts = build(wrong_key)
    async with running(tts) as heard:
        [error] = heard.errors
        assert error.category is ErrorCategory.AUTHENTICATION
        assert "HTTP 401" in error.error
        assert wrong_key not in f"{error.error} {error.exception!r}"
        assert not tts.is_usable
        assert heard.reported == [error]
        await say(heard)
        # The text is passed on as if it had been spoken, without a sound and without an end.
        await heard.first(TTSTextFrame)
        assert not heard.all(TTSAudioRawFrame)
        assert not heard.all(TTSStoppedFrame)
        assert heard.errors == [error]
    assert len(fake.requests) == 1


async def test_a_limit_at_the_handshake_is_told_and_the_next_text_connects_anew(fake, build):
    fake.behaviour = Behaviour.LIMIT
    tts = build()
    async with running(tts) as heard:
        [error] = heard.errors
        assert error.category is ErrorCategory.RATE_LIMIT
        assert tts.is_usable
        fake.behaviour = Behaviour.NORMAL
        await say(heard)
        await heard.first(TTSStoppedFrame)
        assert len(samples(heard)) / 24_000 == pytest.approx(length(TEXT))


async def test_a_limit_on_an_open_socket_is_told_with_a_category_of_unknown(fake, build):
    tts = build()
    async with running(tts) as heard:
        fake.behaviour = Behaviour.LIMIT
        await say(heard)
        error = await heard.first(ErrorFrame)
        assert "'status_code': 429" in error.error
        assert error.category is ErrorCategory.UNKNOWN
        assert tts.is_usable


async def test_an_error_ends_the_turn_and_holds_up_the_next_one(fake, build):
    fake.behaviour = Behaviour.ERROR
    async with running(build()) as heard:
        await say(heard)
        error = await heard.first(ErrorFrame)
        assert "Internal server error" in error.error
        assert error.category is ErrorCategory.UNKNOWN
        await heard.first(TTSStoppedFrame)
        fake.behaviour = Behaviour.NORMAL
        await say(heard, "Next.")
        # The failed context keeps the floor until nothing has come from it for 3 s.
        await heard.until(lambda: heard.all(TTSTextFrame)[-1:] and last_word(heard) == "Next.")
        assert error.processor.is_usable


async def test_a_stall_is_told_after_three_seconds_of_silence(fake, build):
    fake.behaviour = Behaviour.STALL
    tts = build()
    async with running(tts) as heard:
        await say(heard)
        error = await heard.first(ErrorFrame)
        assert "completed with no audio" in error.error
        assert error.category is ErrorCategory.UNKNOWN
        assert tts.is_usable
        assert not heard.all(TTSStoppedFrame)
        fake.behaviour = Behaviour.NORMAL
        await say(heard, "Next.")
        await heard.first(TTSStoppedFrame)
        assert last_word(heard) == "Next."


async def test_a_cut_is_told_by_nobody_and_the_next_turn_is_spoken(fake, build):
    fake.behaviour = Behaviour.CUT
    async with running(build()) as heard:
        await say(heard)
        await fake.until(lambda: len(fake.requests) == 2)  # it has connected again
        assert not heard.errors
        assert not heard.all(TTSStoppedFrame)
        fake.behaviour = Behaviour.NORMAL
        await say(heard, "Next.")
        await heard.first(TTSStoppedFrame)
        assert last_word(heard) == "Next."
        assert not heard.errors


def last_word(heard):
    return heard.all(TTSTextFrame)[-1].text


async def test_voices_tell_whether_a_key_is_good(fake, wrong_key):
    async with httpx.AsyncClient(base_url=fake.url) as client:
        for key, status in ((fake.key, 200), (wrong_key, 401)):
            headers = {"X-API-Key": key, "Cartesia-Version": "2026-03-01"}
            answer = await client.get("/voices", headers=headers)
            assert answer.status_code == status
        assert answer.json()["title"] == "Unauthorized"
