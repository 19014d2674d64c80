"""Calls that can't be recorded to be heard: a full disk, a caller nobody hears, no such file."""

import re
import resource

import pytest

from tests.e2e.conftest import write_brief
from tests.e2e.test_audio import OFFLINE, Recording, run

pytestmark = pytest.mark.speech


def test_on_a_full_disk_the_call_goes_on_and_what_was_written_can_be_played(pmw_env, tmp_path):
    full = (250_000, 250_000)  # bytes; two and a half seconds
    done = run(
        "run", write_brief(tmp_path), *OFFLINE, "--audio", "call.wav",
        "--say", "How much is the paint?", env=pmw_env, cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, full),
    )  # fmt: skip
    assert "$49" in done.stdout
    assert done.returncode == 1
    what, mend = done.stderr.splitlines()
    assert re.fullmatch(
        r"error: call.wav: nothing more is recorded after [23] s: File too large", what
    )
    assert "make room" in mend
    assert 1 < Recording(tmp_path / "call.wav").seconds < 2.7


def test_words_that_nobody_can_hear_end_the_call_with_a_reason(pmw_here, tmp_path, monkeypatch):
    monkeypatch.setattr("pipecat_workers_cli.session.console.HEARD_WITHIN", 2.0)
    words = ("run", write_brief(tmp_path), *OFFLINE, "--audio", "call.wav", "--say", "...")
    call = pmw_here(*words)
    assert call.returncode == 1
    assert call.stderr.startswith("error: nothing was heard of '...'\n  try: ")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("call.mp3", "--audio writes WAV, not '.mp3'"),
        ("nowhere/call.wav", "cannot write nowhere/call.wav: there is no folder nowhere"),
    ],
)
def test_a_file_that_can_not_be_is_refused_before_anything_starts(name, what, pmw_here):
    call = pmw_here("handoff", *OFFLINE, "--audio", name, "--say", "hello")
    assert (call.returncode, call.stdout) == (2, "")
    assert call.stderr.startswith(f"error: {what}\n  try: ")
