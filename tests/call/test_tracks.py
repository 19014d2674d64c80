"""The two sides of a recording: where pieces come to lie, and a file that can always be played."""

import os
import random
import resource
import subprocess
import sys
import threading
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest

from pipecat_workers_cli.call.tracks import RATE, Track, WavFile, side_by_side

PIECE = 0.02  # seconds


def tone(seconds: float, *, rate: int, begins: float = 0.0, hertz: float = 440) -> np.ndarray:
    """Samples of a tone whose phase depends on when it begins, so that seams would show."""
    times = begins + np.arange(round(seconds * rate)) / rate
    return (10_000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def put_all(track: Track, samples: np.ndarray, *, rate: int, begins: float, jitter=0.0) -> None:
    """Add samples piece by piece, each late by chance, as an event loop is."""
    chance = random.Random(1)
    size = round(PIECE * rate)
    for start in range(0, len(samples), size):
        late = chance.uniform(0, jitter) if start else 0.0
        until = begins + (start + size) / rate + late
        track.put(samples[start : start + size], rate=rate, until=until)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
def test_pieces_that_come_somewhat_late_follow_each_other_without_a_seam(rate):
    track = Track()
    put_all(track, tone(1.0, rate=rate), rate=rate, begins=0.0, jitter=0.06)
    got, wanted = track.take(0.9).astype(float), tone(0.9, rate=RATE).astype(float)
    middle = slice(RATE // 10, -RATE // 10)  # a filter swings at the very ends
    assert np.abs(got - wanted)[middle].max() < 150


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_what_comes_after_a_pause_lies_where_it_was_said(rate):
    track = Track()
    put_all(track, tone(0.3, rate=rate), rate=rate, begins=0.5)
    put_all(track, tone(0.3, rate=rate), rate=rate, begins=2.0)
    loud = np.abs(track.take(3.0).astype(int)) > 500
    places = np.flatnonzero(loud) / RATE
    first, second = places[places < 1.5], places[places > 1.5]
    assert (first[0], first[-1]) == pytest.approx((0.5, 0.8), abs=0.004)
    assert (second[0], second[-1]) == pytest.approx((2.0, 2.3), abs=0.004)


def test_what_comes_faster_than_it_plays_is_played_one_after_the_other():
    track = Track()
    for _ in range(10):
        track.put(tone(0.1, rate=RATE), rate=RATE, until=0.1)
    assert np.count_nonzero(np.abs(track.take(2.0).astype(int)) > 500) / RATE > 0.8


def test_silence_is_given_where_nothing_was_said_and_nothing_twice():
    track = Track()
    assert len(track.take(1.0)) == RATE
    assert len(track.take(1.0)) == 0
    put_all(track, tone(0.2, rate=RATE), rate=RATE, begins=1.5)
    got = track.take(2.0)
    assert len(got) == RATE
    assert not got[: RATE // 2 - 1].any()
    assert got[RATE // 2 :].any()


def test_a_piece_that_comes_after_its_time_was_given_still_follows():
    track = Track()
    track.take(2.0)
    put_all(track, tone(0.2, rate=RATE), rate=RATE, begins=1.0)
    assert np.abs(track.take(2.2)).max() > 5_000


def test_an_hour_takes_no_more_memory_than_a_second():
    track, piece = Track(), tone(PIECE, rate=16_000)
    tracemalloc.start()
    try:
        for second in range(3_600):
            for tick in range(5):  # a tenth of the pieces: the others are silence
                track.put(piece, rate=16_000, until=second + (tick + 1) * PIECE)
            assert len(track.take(second + 1)) == RATE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_a_transport_that_is_given_too_much_too_early_does_not_fill_the_memory():
    track, minute = Track(), np.zeros(60 * RATE, np.int16)
    for _ in range(100):
        track.put(minute, rate=RATE, until=60.0)
    assert len(np.trim_zeros(track.take(6_000.0))) == 0
    assert len(track._out) == 0


def block(seconds: float, left: int, right: int) -> bytes:
    size = round(seconds * RATE)
    return side_by_side(np.full(size, left, np.int16), np.full(size, right, np.int16))


def read(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


def test_the_file_can_be_played_at_any_moment_while_it_grows(tmp_path):
    path = tmp_path / "call.wav"
    file = WavFile(path)
    assert len(read(path)) == 0
    for count in (1, 2):
        file.append(block(0.5, 100, -200))
        assert len(read(path)) == count * RATE // 2
    assert read(path)[-1].tolist() == [100, -200]
    assert file.seconds == 1.0
    assert path.stat().st_mode & 0o777 == 0o600
    file.close()


def test_a_file_let_go_of_while_a_thread_writes_is_closed_by_that_thread(tmp_path, monkeypatch):
    path, other = tmp_path / "call.wav", tmp_path / "other"
    file = WavFile(path)
    writing, go_on, pwrite = threading.Event(), threading.Event(), os.pwrite

    def slow(*given):
        writing.set()
        assert go_on.wait(10)
        return pwrite(*given)

    monkeypatch.setattr(os, "pwrite", slow)  # as a slow disk is
    thread = threading.Thread(target=file.append, args=(block(0.5, 1, 1),))
    thread.start()
    assert writing.wait(10)
    file.close()
    with other.open("wb"):  # has the number of whatever was closed
        go_on.set()
        thread.join(10)
    assert other.read_bytes() == b""
    assert len(read(path)) == RATE // 2
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file._file)
    file.append(block(0.5, 1, 1))
    file.close()
    assert len(read(path)) == RATE // 2


def test_a_file_that_was_there_is_overwritten(tmp_path):
    path = tmp_path / "call.wav"
    for seconds in (1.0, 0.5):
        file = WavFile(path)
        file.append(block(seconds, 1, 1))
        file.close()
    assert len(read(path)) == RATE // 2


def test_what_does_not_fit_on_the_disk_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "call.wav"
    program = f"""
import resource
from pathlib import Path
from pipecat_workers_cli.call.tracks import WavFile
file = WavFile(Path({str(path)!r}))
file.append(bytes(40_000))
try:
    file.append(bytes(40_000))
except OSError as error:
    print(error.strerror)
"""
    full = (50_000, 50_000)
    done = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, full),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "File too large\n", done.stderr
    assert len(read(path)) == 10_000
    assert path.stat().st_size == 40_044
