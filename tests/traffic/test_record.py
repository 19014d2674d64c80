"""Recordings can be read, whatever happened while they were written."""

import asyncio
import gzip
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.record import LEAVE_WITHIN, Recording, open_recording

SUFFIXES = ("jsonl", "jsonl.gz", "jsonl.zst")

ENDLESS = """
import asyncio, sys
from pathlib import Path
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.record import open_recording

async def main():
    number = 0
    with open_recording(Path(sys.argv[1])) as recorder:
        while True:
            times = range(number, number + 50)
            recorder.add([Entry(event="user", call="c", at_ms=at, text="x" * 80) for at in times])
            number += 50
            print(number, flush=True)
            await asyncio.sleep(0.001)

asyncio.run(main())
"""


def entries(count: int, start: int = 0) -> list[Entry]:
    return [
        Entry(event="user", call="c1", at_ms=start + number, text=f"word {number}")
        for number in range(count)
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_recorded_is_read_back(suffix, tmp_path):
    path = tmp_path / f"call.{suffix}"
    with open_recording(path) as recorder:
        for start in range(0, 1_000, 100):
            recorder.add(entries(100, start))
    recording = Recording(path, Entry)
    assert [entry.at_ms for entry in recording] == list(range(1_000))
    assert (recording.broken, recording.cut) == ([], False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_others_could_read_becomes_its_owners_alone(tmp_path):
    path = tmp_path / "call.jsonl"
    path.write_text("something else")
    path.chmod(0o644)
    with open_recording(path) as recorder:
        recorder.add(entries(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len([*Recording(path, Entry)]) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_recording_cut_at_any_byte_is_read_up_to_there(suffix, tmp_path):
    path = tmp_path / f"call.{suffix}"
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, path], stdout=subprocess.PIPE)
    while process.stdout.readline() and path.stat().st_size < 2_000:
        pass  # until enough has been written to be cut
    process.kill()
    process.wait()
    whole = path.read_bytes()
    random.seed(7)
    for size in (*random.sample(range(60, len(whole)), 60), len(whole)):
        path.write_bytes(whole[:size])
        recording = Recording(path, Entry)
        try:
            times = [entry.at_ms for entry in recording]
        except ConfigurationError:  # so little is left that it doesn't say what it is
            assert size < 200
            continue
        assert times == list(range(len(times)))
        assert recording.broken == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("times", [10, pytest.param(34, marks=pytest.mark.long)])
def test_killed_at_random_moments_every_file_reads(suffix, times, tmp_path):
    random.seed(suffix)
    for number in range(times):
        path = tmp_path / f"call{number}.{suffix}"
        process = subprocess.Popen([sys.executable, "-c", ENDLESS, path], stdout=subprocess.PIPE)
        while process.stdout.readline() and path.stat().st_size < 500:
            pass  # until something has been written
        time.sleep(random.uniform(0, 0.03))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        told = [entry.at_ms for entry in Recording(path, Entry)]
        assert told
        assert told == list(range(len(told)))


def test_a_broken_line_is_named_and_passed_over(tmp_path):
    path = tmp_path / "call.jsonl"
    with open_recording(path) as recorder:
        recorder.add(entries(3))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b'{"event": "nonsense", "call": 5}\n'
    lines.insert(2, b"\xff\xfe{{{\n")
    path.write_bytes(b"".join(lines))
    recording = Recording(path, Entry)
    assert [entry.at_ms for entry in recording] == [0, 2]
    assert recording.broken == [3, 4]
    assert not recording.cut


def test_a_line_without_end_takes_no_memory(tmp_path):
    path = tmp_path / "call.jsonl"
    with open_recording(path) as recorder:
        recorder.add(entries(1))
    with path.open("ab") as file:
        for _ in range(40):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + msgspec.json.encode(entries(1)[0]) + b"\n")
    recording = Recording(path, Entry)
    assert len([*recording]) == 2
    assert recording.broken == [3]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is no recording"),
        (b"hello\n", "is no recording"),
        (b'{"pmw_recording": 2, "pmw": "9.0"}\n', "is of format 2, made by pmw 9.0"),
        (gzip.compress(b"hello\n", mtime=0), "is no recording"),
        (b"\x1f\x8b garbage", "is no recording"),
        (b"\x28\xb5\x2f\xfd garbage", "is no recording"),
    ],
)
def test_what_is_no_recording_is_refused(content, what, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=what):
        [*Recording(path, Entry)]


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="no such file"):
        [*Recording(tmp_path / "nothing", Entry)]
    with pytest.raises(ConfigurationError, match="is a directory"):
        [*Recording(tmp_path, Entry)]


def test_where_nothing_can_be_written_nothing_is_begun(tmp_path):
    path = tmp_path / "no" / "such" / "folder"
    with pytest.raises(ConfigurationError, match="cannot write"), open_recording(path):
        pass


def test_a_full_disk_is_told_once_and_holds_up_nobody():
    with open_recording(Path("/dev/full")) as recorder:
        for _ in range(100):
            recorder.add(entries(1_000))
        recorder._thread.join(5)
        recorder.add(entries(1))
    assert "No space left" in recorder.failure


async def test_a_disk_that_takes_nothing_costs_entries_not_time(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    taken: list[bytes] = []
    release = threading.Event()

    def read() -> None:
        with path.open("rb") as pipe:
            taken.append(pipe.read(10))
            release.wait(10)
            taken.append(pipe.read())

    reader = threading.Thread(target=read)
    reader.start()
    with open_recording(path) as recorder:
        began = time.monotonic()
        for number in range(2_000):
            recorder.add(entries(100, number))
        assert time.monotonic() - began < 1
        release.set()
        while recorder._waiting.qsize() > 100:  # noqa: ASYNC110  # a pipe has no event
            await asyncio.sleep(0.01)
        recorder.add(entries(1))
    reader.join(10)
    lines = b"".join(taken).splitlines()[1:]
    told = [msgspec.json.decode(line, type=Entry) for line in lines]
    left_out = sum(entry.count or 0 for entry in told if entry.event == "left_out")
    assert left_out > 0
    assert left_out + sum(entry.event == "user" for entry in told) == 200_001


def test_what_json_cannot_say_ends_a_recording_and_is_told(tmp_path):
    path = tmp_path / "call.jsonl"
    with open_recording(path) as recorder:
        recorder.add(entries(1))
        recorder.add([Entry(event="user", call="c1", at_ms=1, text="half a pair: \ud83d")])
    assert recorder.failure == "recording stopped: UnicodeEncodeError"


def test_a_file_that_takes_nothing_is_left_in_time_and_that_is_told(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    giving_up = threading.Timer(4 * LEAVE_WITHIN, os.close, (reader,))  # writing fails from then
    giving_up.start()
    began = time.monotonic()
    with open_recording(path) as recorder:
        recorder.add(entries(10_000))
    assert time.monotonic() - began < 2 * LEAVE_WITHIN
    assert recorder.failure == "the last entries were not written in time"
    giving_up.join()
    recorder._thread.join(5)
    assert not recorder._thread.is_alive()
    assert recorder.failure == "the last entries were not written in time"
