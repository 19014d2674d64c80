"""Agents in processes of their own, in calls by voice: what they say is heard to its end."""

import wave

import pytest

from tests.e2e.fleet import OFFLINE, Fleet

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
        rate = recorded.getframerate()
        sound = memoryview(recorded.readframes(recorded.getnframes())).cast("h")[1::2]
    assert sum(abs(level) > 200 for level in sound) > 0.3 * SPOKEN * rate
