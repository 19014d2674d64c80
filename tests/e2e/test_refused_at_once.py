"""What is wrong with a session before it starts."""

import pytest

from tests.e2e.background import Run


@pytest.mark.parametrize(
    ("words", "code", "about"),
    [
        (("handoff", "--services", "cloud"), 1, "DEEPGRAM_API_KEY"),
        (("handoff", "-t", "carrier-pigeon"), 2, "carrier-pigeon"),
        (("handoff", "-t", "webrtx"), 2, "'webrtc'"),
        (("handoff", "-t", "daily"), 1, "daily"),
        (("handoff", "--llm", "opena"), 2, "'openai'"),
        (("handoff", "--services", "offlin"), 2, "offline"),
        (("run", "handof"), 2, "'handoff'"),
        (("run", "./missing.toml"), 2, "missing.toml"),
        (("handoff", "stray"), 2, "stray"),
        (("handoff", "--set", "main.nam=x"), 2, "main.nam"),
        (("handoff", "--tts", "piper:nobody", "--services", "offline"), 1, "nobody"),
        (("handoff", "--host", "0.0.0.0"), 2, "--page-token"),
        (("handoff", "--", "--no-such-thing"), 2, "--no-such-thing"),
        (("handoff", "--env-file", "nowhere.env"), 2, "nowhere.env"),
    ],
)
def test_what_is_wrong_is_said_in_two_lines_before_anything_starts(
    words, code, about, pmw_here: Run
):
    answer = pmw_here(*words)
    assert (answer.returncode, answer.stdout) == (code, ""), answer.stderr
    error, mend = answer.stderr.splitlines()
    assert error.startswith("error: ")
    assert mend.startswith("  try: ")
    assert about in answer.stderr
