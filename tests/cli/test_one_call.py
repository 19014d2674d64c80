"""How one call ends for whoever began it: what failed, and what was lost of its recordings."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from pipecat_workers_cli.call.audio import AudioRecorder
from pipecat_workers_cli.cli.one_call import hold
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.options import CallOptions
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap

LOST = "nothing more is recorded after 3 s: File too large"


def held(*, fails: bool, tmp_path: Path) -> PmwError:
    path = tmp_path / "call.wav"
    audio = AudioRecorder(path)
    audio.failure = LOST

    async def call(_leaving: Callable[[], None]) -> None:
        await asyncio.sleep(0)
        if fails:
            raise PmwError("nothing was heard of 'hello'", mend="say it again")

    with pytest.raises(PmwError) as raised:
        hold(CallOptions(audio=path), Tap(), audio, call)
    return raised.value


def test_a_recording_that_is_not_whole_fails_a_call_that_went_well(tmp_path: Path):
    error = held(fails=False, tmp_path=tmp_path)
    assert error.what == f"{tmp_path / 'call.wav'}: {LOST}"
    assert "make room" in error.mend


def test_a_recording_that_is_not_whole_is_told_beside_what_ended_the_call(tmp_path: Path):
    error = held(fails=True, tmp_path=tmp_path)
    assert error.what == f"nothing was heard of 'hello'; {tmp_path / 'call.wav'}: {LOST}"
    assert error.mend == "say it again"


def test_what_ended_a_call_counts_more_than_an_answer_that_took_too_long():
    tap = Tap()

    async def call(_leaving: Callable[[], None]) -> None:
        tap.add(Entry(event="bot", call="c1", at_ms=0, worker="ann", turn=1, latency_ms=900))
        raise PmwError("nothing was heard of 'hello'", mend="say it again")

    with pytest.raises(PmwError, match="nothing was heard"):
        hold(CallOptions(max_turn_ms=100), tap, None, call)
