"""Agents in processes of their own, in calls by voice: what they say is heard to its end."""

import signal
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.fleet import OFFLINE, Fleet, until

RECIPE = """
name = "farewell"
[main]
name = "desk"
[[workers]]
name = "greeter"
summary = "says goodbye"
voice = { piper = "joe" }
script = [
  { on = "user", call = "end_conversation", args = { reason = "it was time" } },
  { on = "tool:end_conversation", say = "It was nice to talk with you. Goodbye." },
]
"""
SPOKEN = 1.5  # seconds that these words take at least
HEADER = 44  # bytes before a WAV file's samples
RATE = 24_000  # Hz


@pytest.mark.speech
@pytest.mark.parametrize(
    "own_voice",
    [pytest.param(False, marks=pytest.mark.long), True],
    ids=["the main worker's", "its own"],
)
def test_a_goodbye_is_heard_before_the_call_ends(fleet: Fleet, tmp_path, own_voice):
    (tmp_path / "farewell.toml").write_text(RECIPE)
    sets = ("--set", f"main.tts_per_worker={str(own_voice).lower()}")
    fleet.host("greeter", *sets, recipe="./farewell.toml").wait_for_line("Ctrl-C", timeout=60)
    call = fleet.run(
        *("run", "./farewell.toml", *OFFLINE, *sets, "-o", "json"),
        *("--audio", "call.wav", "--say", "Please hang up."),
    )
    assert call.popen.wait(60) == 0
    assert any("It was nice to talk with you. Goodbye." in line for line in call.out)
    assert any('"it was time"' in line for line in call.out)
    with wave.open(str(tmp_path / "call.wav")) as recorded:
        assert recorded.getframerate() == RATE
    assert sound_in(tmp_path / "call.wav") > 0.3 * SPOKEN


@pytest.mark.speech
def test_who_waits_for_an_agent_that_speaks_itself_hears_why(fleet: Fleet, tmp_path):
    (tmp_path / "farewell.toml").write_text(RECIPE)
    call = fleet.run(
        *("run", "./farewell.toml", *OFFLINE, "--set", "main.tts_per_worker=true"),
        *("--audio", "call.wav", "--say", "Hello?"),
    )
    call.wait_for_line("everybody is busy", timeout=60)
    until(lambda: sound_in(tmp_path / "call.wav") > 1, "the apology is heard", within=20)
    call.popen.send_signal(signal.SIGINT)
    assert call.popen.wait(10) == 130


def sound_in(path: Path) -> float:
    """How many seconds of sound the call's voices have made, in a file that may still grow."""
    whole = path.read_bytes()[HEADER:] if path.is_file() else b""
    samples = np.frombuffer(whole[: len(whole) // 4 * 4], dtype=np.int16).reshape(-1, 2)
    return np.count_nonzero(np.abs(samples[:, 1].astype(int)) > 200) / RATE
