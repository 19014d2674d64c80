"""The fake Deepgram, and what Pipecat's service makes of its failures."""

import asyncio
import json
from contextlib import suppress

import httpx
import numpy as np
import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.utils.errors import ErrorCategory
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from pipecat_workers_cli.services.providers import Role, build_stt
from tests.fakes.deepgram import FakeDeepgram
from tests.fakes.pipelines import running
from tests.fakes.provider import Behaviour

RATE = 16_000
FRAME = RATE // 50 * 2  # bytes in 20 ms
LISTEN = "/v1/listen?model=nova-3-general&encoding=linear16&sample_rate=16000&interim_results=true"


@pytest.fixture
async def fake():
    async with FakeDeepgram(["What do you sell?", "Goodbye."]) as fake:
        yield fake


@pytest.fixture
def build(fake, chosen):
    return lambda key=None: build_stt(chosen(Role.STT, fake, key))


def sound(seconds):
    times = np.arange(int(seconds * RATE)) / RATE
    return (8_000 * np.sin(2 * np.pi * 300 * times)).astype("<i2").tobytes()


def silence(seconds):
    return bytes(int(seconds * RATE) * 2)


async def speak(heard, seconds=0.4, hush=0.4):
    audio = sound(seconds) + silence(hush)
    for start in range(0, len(audio), FRAME):
        frame = InputAudioRawFrame(audio[start : start + FRAME], RATE, 1)
        await heard.worker.queue_frame(frame)


def texts(heard, kind):
    return [frame.text for frame in heard.all(kind)]


async def test_utterances_are_heard_in_order_each_after_a_first_guess(fake, build):
    async with running(build()) as heard:
        await speak(heard)
        await heard.first(TranscriptionFrame)
        await speak(heard)
        await heard.first(TranscriptionFrame, number=2)
        assert texts(heard, InterimTranscriptionFrame) == ["What do", "Goodbye."]
        assert texts(heard, TranscriptionFrame) == ["What do you sell?", "Goodbye."]
        assert not heard.errors
    [request] = fake.requests
    assert request.headers["authorization"] == f"Token {fake.key}"
    assert request.query["encoding"] == "linear16"
    assert request.query["sample_rate"] == "16000"
    assert request.audio == len(sound(0.8) + silence(0.8))
    await fake.until(lambda: request.messages == [{"type": "CloseStream"}])


async def test_the_end_of_speech_makes_it_answer_without_waiting_for_silence(fake, build):
    async with running(build()) as heard:
        await heard.worker.queue_frame(VADUserStartedSpeakingFrame())
        await speak(heard, hush=0.02)
        await heard.first(InterimTranscriptionFrame)
        await heard.worker.queue_frame(VADUserStoppedSpeakingFrame())
        frame = await heard.first(TranscriptionFrame)
        assert frame.text == "What do you sell?"
        assert frame.finalized
        assert fake.requests[0].messages == [{"type": "Finalize"}]


async def test_a_wrong_key_is_told_before_the_call_starts_and_ends_the_service(
    fake, build, wrong_key
):
    stt = build(wrong_key)
    async with running(stt) as heard:
        [error] = heard.errors
        assert error.category is ErrorCategory.AUTHENTICATION
        assert "status 401" in error.error
        assert wrong_key not in f"{error.error} {error.exception!r} {error.exception}"
        assert not stt.is_usable
        assert heard.reported == [error]
    assert len(fake.requests) == 1


async def test_a_limit_at_the_handshake_ends_the_service_though_it_would_pass(fake, build):
    fake.behaviour = Behaviour.LIMIT
    stt = build()
    async with running(stt) as heard:
        [error] = heard.errors
        assert error.category is ErrorCategory.RATE_LIMIT
        assert not stt.is_usable
    assert len(fake.requests) == 1


async def test_a_cut_is_told_and_four_seconds_later_it_hears_again(fake, build):
    fake.behaviour = Behaviour.CUT
    stt = build()
    async with running(stt) as heard:
        await speak(heard)
        error = await heard.first(ErrorFrame)
        assert error.error == "no close frame received or sent"
        assert error.category is ErrorCategory.UNKNOWN
        assert stt.is_usable
        fake.behaviour = Behaviour.NORMAL
        await fake.until(lambda: len(fake.requests) == 2, within=6)
        async with asyncio.timeout(3):
            while not heard.all(TranscriptionFrame):  # what is said before it is back is lost
                await speak(heard)
                with suppress(TimeoutError):
                    await heard.first(TranscriptionFrame, within=0.3)
        assert texts(heard, TranscriptionFrame)[0] == "What do you sell?"
        assert heard.errors == [error]  # and nothing says that it is back


async def test_a_failure_of_theirs_in_mid_stream_is_told_with_their_reason(fake, build):
    fake.behaviour = Behaviour.ERROR
    async with running(build()) as heard:
        await speak(heard)
        error = await heard.first(ErrorFrame)
        assert "NET-0000" in error.error
        assert error.category is ErrorCategory.UNKNOWN
        assert error.processor.is_usable


async def test_a_stall_is_told_by_nobody_as_keepalives_go_on(fake, build):
    fake.behaviour = Behaviour.STALL
    stt = build()
    async with running(stt) as heard:
        await speak(heard)
        await fake.until(lambda: fake.requests[0].messages == [{"type": "KeepAlive"}], within=7)
        assert fake.requests[0].audio
        assert not heard.errors
        assert stt.is_usable


@pytest.fixture
async def client(fake):
    headers = {"Authorization": f"Token {fake.key}"}
    url = fake.url.replace("http", "ws") + LISTEN
    async with connect(url, additional_headers=headers) as client:
        yield client


async def read(client):
    async with asyncio.timeout(2):
        return json.loads(await client.recv())


@pytest.mark.parametrize("end", [b"", '{"type": "CloseStream"}'])
async def test_the_end_of_the_stream_gives_what_is_left_then_metadata_then_closes(client, end):
    await client.send(sound(0.3))
    assert (await read(client))["is_final"] is False
    await client.send(end)
    final = await read(client)
    assert final["channel"]["alternatives"][0]["transcript"] == "What do you sell?"
    metadata = await read(client)
    assert (metadata["type"], metadata["duration"]) == ("Metadata", 0.3)
    with pytest.raises(ConnectionClosedOK):
        await read(client)


async def test_what_it_cannot_read_is_answered_with_an_error(client):
    await client.send("no json")
    assert (await read(client))["variant"] == "SchemaError"


async def test_it_hangs_up_on_who_sends_nothing(fake):
    fake.idle_timeout = 0.05
    headers = {"Authorization": f"Token {fake.key}"}
    url = fake.url.replace("http", "ws") + LISTEN
    async with connect(url, additional_headers=headers) as client:
        with pytest.raises(ConnectionClosedError, match="NET-0001"):
            await read(client)


async def test_projects_tell_whether_a_key_is_good(fake, wrong_key):
    async with httpx.AsyncClient(base_url=fake.url) as client:
        for key, status in ((fake.key, 200), (wrong_key, 401)):
            headers = {"Authorization": f"Token {key}"}
            answer = await client.get("/v1/projects", headers=headers)
            assert answer.status_code == status
        assert answer.headers["dg-error"] == "Invalid credentials."
