"""Calls that can't be recorded to be heard: a full disk, a caller nobody hears, no such file."""

import re
import resource

import pytest

from pipecat_workers_cli.cli import app as program
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


@pytest.fixture
def run_here(tmp_path, monkeypatch, capsys):
    """Run `pmw` in this process; returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run_words(*words):
        with pytest.raises(SystemExit) as left:
            program.main(words)
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return run_words


def test_words_that_nobody_can_hear_end_the_call_with_a_reason(run_here, tmp_path, monkeypatch):
    monkeypatch.setattr("pipecat_workers_cli.session.console.HEARD_WITHIN", 2.0)
    words = ("run", write_brief(tmp_path), *OFFLINE, "--audio", "call.wav", "--say", "...")
    code, _, err = run_here(*words)
    assert code == 1
    assert err.startswith("error: nothing was heard of '...'\n  try: ")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("call.mp3", "--audio writes WAV, not '.mp3'"),
        ("nowhere/call.wav", "cannot write nowhere/call.wav: there is no folder nowhere"),
    ],
)
def test_a_file_that_can_not_be_is_refused_before_anything_starts(name, what, run_here):
    code, out, err = run_here("handoff", *OFFLINE, "--audio", name, "--say", "hello")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {what}\n  try: ")
