"""Calls that are recorded to be heard: spoken by a script, or by callers of a session."""

import asyncio
import json
import os
import re
import subprocess
import wave
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soxr

from pipecat_workers_cli.services.models import transcribe
from tests.e2e.caller import calling
from tests.e2e.conftest import write_brief
from tests.fakes.collector import SpanSeen, collecting
from tests.program import PMW

pytestmark = [
    pytest.mark.speech,
    pytest.mark.slow,
    pytest.mark.aloud,
    pytest.mark.flaky(reruns=1),  # a small model mishears now and then
]

RATE = 24_000  # Hz
OFFLINE = ("--services", "offline")
CALLER, BOT = 0, 1
BLOCK = RATE // 50  # samples
LOUD = 400  # root mean square of a block in which somebody speaks
PAUSE = 0.7  # seconds; between the sentences of one answer are none as long as that

SLOW_JOB = """
name = "asks"
summary = "a clerk who asks an expert"
[main]
name = "clerk"
prompt = "You ask."
script = [
  { on = "user", call = "ask_expert", args = { question = "{text}" }, delay = 0.4 },
  { on = "tool:ask_expert", say = "The expert says: {result}", delay = 0.3 },
]
[[main.jobs]]
tool = "ask_expert"
workers = ["expert"]
takes = { question = "what to ask" }
filler = { say = "One moment please.", after = 0.3 }
[[workers]]
name = "expert"
kind = "specialist"
summary = "knows"
prompt = "You know."
script = [ { say = "Forty-two.", delay = 2.0 } ]
"""


class Recording:
    """A recorded call, and what `pmw` told of it."""

    def __init__(
        self,
        path: Path,
        entries: list[dict] | None = None,
        spans: Sequence[SpanSeen] = (),
    ) -> None:
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getframerate()) == (2, RATE)
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        self.entries = entries or []
        self.spans = spans
        self.sides = [samples[:, side].astype(np.float64) for side in (CALLER, BOT)]

    @property
    def seconds(self) -> float:
        return len(self.sides[0]) / RATE

    def told(self, event: str) -> list[dict]:
        return [entry for entry in self.entries if entry["event"] == event]

    def spoken(self, side: int) -> list[tuple[float, float]]:
        """When somebody spoke, from and until in seconds."""
        samples = self.sides[side]
        blocks = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK)
        loud = np.flatnonzero(np.sqrt(np.mean(blocks**2, axis=1)) > LOUD) * BLOCK / RATE
        if not len(loud):
            return []
        breaks = np.flatnonzero(np.diff(loud) > PAUSE)
        begins = [loud[0], *loud[breaks + 1]]
        return list(zip(begins, [*loud[breaks], loud[-1]], strict=True))

    def piece(self, side: int, when: tuple[float, float]) -> np.ndarray:
        begins, ends = round((when[0] - 0.2) * RATE), round((when[1] + 0.3) * RATE)
        return self.sides[side][max(0, begins) : ends]

    def words(self, side: int, when: tuple[float, float]) -> str:
        audio = soxr.resample(self.piece(side, when) / 32_768, RATE, 16_000)
        pcm = (np.clip(audio, -1, 1) * 32_767).astype("<i2").tobytes()
        return asyncio.run(transcribe(pcm, sample_rate=16_000)).lower().replace("-", " ")


def pitch(samples: np.ndarray) -> float:
    """The middle of a voice's fundamental frequencies, in hertz, by autocorrelation."""
    frame, found = RATE // 20, []
    shortest, longest = RATE // 350, RATE // 60
    for start in range(0, len(samples) - frame, frame):
        piece = samples[start : start + frame]
        piece = piece - piece.mean()
        alike = np.correlate(piece, piece, "full")[frame - 1 :]
        lag = shortest + int(np.argmax(alike[shortest:longest]))
        if alike[0] > frame * LOUD**2 and alike[lag] > 0.5 * alike[0]:
            found.append(RATE / lag)
    return float(np.median(found))


def run(*words: str, env, cwd, **more) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*PMW, *words], env=env, cwd=cwd, capture_output=True, text=True, timeout=180, **more
    )


@pytest.fixture(scope="module")
def handoff(tmp_path_factory) -> Recording:
    """A spoken handoff with a voice for each agent."""
    folder = tmp_path_factory.mktemp("handoff")
    with collecting() as collector:
        done = run(
            "run", write_brief(folder), "--set", "main.tts_per_worker=true", *OFFLINE,
            "--audio", "call.wav", "-o", "json", "--say", "How much are the rocket boots?",
            env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}, cwd=folder,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    return Recording(folder / "call.wav", entries, collector.spans)


def test_the_bots_side_has_the_price_and_its_last_word_is_whole(handoff):
    welcome, price = handoff.spoken(BOT)
    assert "welcome" in handoff.words(BOT, welcome)
    told = handoff.words(BOT, price)
    # The smallest Moonshine mishears a part of it now and then.
    assert re.search(r"299|two hundred|ninety nine", told)
    assert re.search(r"hour\W*$", told)
    assert np.abs(handoff.sides[BOT][-RATE // 100 :]).max() < LOUD


def test_the_callers_side_has_the_callers_words_alone(handoff):
    [question] = handoff.spoken(CALLER)
    assert "rocket boots" in handoff.words(CALLER, question)


def test_what_was_heard_is_told_as_the_callers_words(handoff):
    [heard] = handoff.told("user")
    assert "how much" in heard["text"].lower()


def test_each_turn_is_spoken_when_the_bot_has_finished(handoff):
    sides = {when: side for side in (CALLER, BOT) for when in handoff.spoken(side)}
    assert [sides[when] for when in sorted(sides)] == [BOT, CALLER, BOT]
    assert all(before[1] < after[0] for before, after in pairwise(sorted(sides)))


def test_agents_with_voices_of_their_own_sound_different(handoff):
    greeter, support = (pitch(handoff.piece(BOT, when)) for when in handoff.spoken(BOT))
    assert support < greeter * 0.9


def test_the_files_time_is_the_calls(handoff):
    [question] = handoff.spoken(CALLER)
    _, price = handoff.spoken(BOT)
    [told] = handoff.told("user")
    _, answer = handoff.told("bot")
    assert question[1] < told["at_ms"] / 1000 < price[0]
    assert answer["latency_ms"] / 1000 == pytest.approx(price[0] - question[1], abs=0.5)
    assert handoff.seconds == pytest.approx(handoff.told("end")[0]["at_ms"] / 1000, abs=0.5)


def test_a_spoken_answers_parts_sum_to_it_handed_over_too(handoff):
    opening, price = handoff.told("bot")
    assert "latency_ms" not in opening
    parts = price["parts"]
    assert sum(parts.values()) == price["latency_ms"]
    assert {"turn", "stt", "bus", "transfer", "tts"} <= parts.keys()
    assert parts["turn"] >= 200  # what the VAD waits for


def test_speech_is_part_of_the_turn_in_the_calls_trace(handoff):
    by_id = {span.id: span for span in handoff.spans}
    speech = {
        (span.kind, span.attributes["gen_ai.agent.name"], by_id[span.parent].kind): span
        for span in handoff.spans
        if span.kind in {"stt", "tts"}
    }
    assert set(speech) == {
        ("tts", "greeter", "turn"),
        ("stt", "acme", "turn"),
        ("tts", "support", "handoff"),
    }
    assert [span.name for span in speech.values() if span.kind == "stt"] == ["stt tiny"]
    assert speech["tts", "support", "handoff"].attributes["gen_ai.provider.name"] == "piper"
    everything = "".join(span.raw for span in handoff.spans).lower()
    assert "rocket" not in everything  # a number may stand in any time or id
    assert "how much" not in everything


def test_a_goodbye_is_heard_to_its_end(pmw_env, tmp_path):
    done = run(
        "run", write_brief(tmp_path), *OFFLINE, "--audio", "call.wav",
        "--say", "Thank you, goodbye.",
        env=pmw_env, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "* end the caller said goodbye"
    call = Recording(tmp_path / "call.wav")
    assert re.search(r"(bye|by|buy|bay)\W*$", call.words(BOT, call.spoken(BOT)[-1]))
    assert np.abs(call.sides[BOT][-RATE // 100 :]).max() < LOUD


@pytest.mark.long
def test_set_delays_are_found_in_the_parts_of_a_spoken_answer(pmw_env, tmp_path):
    (tmp_path / "asks.toml").write_text(SLOW_JOB)
    done = run(
        "run", "./asks.toml", *OFFLINE, "--audio", "call.wav", "-o", "json",
        "--say", "What is the answer to everything?", env=pmw_env, cwd=tmp_path,
    )  # fmt: skip
    call = Recording(tmp_path / "call.wav", [json.loads(line) for line in done.stdout.splitlines()])
    filler, answer = call.told("bot")
    assert filler["text"] == "One moment please."
    assert "latency_ms" not in filler
    parts = answer["parts"]
    assert sum(parts.values()) == answer["latency_ms"]
    assert 700 <= parts["llm"] <= 1_300
    assert 2_000 <= parts["job"] <= 2_500
    [question] = call.spoken(CALLER)
    answered = next(
        when for when in call.spoken(BOT) if re.search(r"expert|forty|42", call.words(BOT, when))
    )
    assert answer["latency_ms"] / 1000 == pytest.approx(answered[0] - question[1], abs=0.3)


@pytest.mark.long
async def test_a_session_records_each_of_its_calls_in_a_file_of_its_own(serve, tmp_path):
    server = serve("run", write_brief(tmp_path), *OFFLINE, "--audio", "call.wav")
    for words in ("How much is the invisible paint?", "What do you sell?"):
        async with calling(server.url) as caller:
            await caller.heard_out()
            await caller.take_a_turn(words)
            await caller.heard_out()
    server.stop()
    for name, said in (("call.wav", "paint"), ("call-2.wav", "sell")):
        call = await asyncio.to_thread(Recording, tmp_path / name)
        [question] = call.spoken(CALLER)
        assert said in await asyncio.to_thread(call.words, CALLER, question)
        assert len(call.spoken(BOT)) >= 2
