"""`pmw bus watch` and `record` of a shared bus."""

import asyncio
import json
import os
import signal
import subprocess
from contextlib import contextmanager

import pytest

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.buses.urls import SharedBus
from pipecat_workers_cli.cli import app as program
from pipecat_workers_cli.session.bus_watchers import connected
from pipecat_workers_cli.traffic.entry import Entry
from pipecat_workers_cli.traffic.tap import Tap
from tests.program import PMW
from tests.terminal import Terminal
from tests.waiting import until

pytestmark = pytest.mark.timeout(60)


@contextmanager
def pmw(*words: str):
    process = subprocess.Popen(
        [*PMW, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def tapped() -> Tap:
    tap = Tap()
    tap.open_call("c0ffee00", LocalBus(), recipe="handoff", workers=["greeter"], main="acme")
    return tap


def bot(text: str) -> Entry:
    return Entry(event="bot", call="c0ffee00", worker="greeter", at_ms=1, text=text)


async def test_watching_and_recording_end_when_it_is_enough(valkey, tmp_path):
    where = ("--bus", valkey.url, "--channel", "watched")
    file, tap = tmp_path / "all.jsonl", tapped()
    async with connected(SharedBus(valkey.url, "watched"), tap, lambda: 0.0):
        with (
            pmw("bus", "watch", *where, "--json", "--filter", "kind:bot", "--count", "2") as watch,
            pmw("bus", "record", str(file), *where, "--until", "kind:end") as record,
        ):
            await until(lambda: len(tap._watchers) == 1 and told_of(tap) == 2)
            for entry in (bot("Hello"), Entry(event="end", call="c0ffee00", at_ms=2), bot("Bye")):
                tap.add(entry)
            await until(lambda: None not in (watch.poll(), record.poll()))
            assert (watch.returncode, record.returncode) == (0, 0)
            lines = watch.stdout.read().splitlines()
            assert watch.stderr.read() == f"watching {valkey.url} watched; Ctrl-C ends it\n"
            assert record.stderr.read().endswith(f"2 entries in {file}\n")
    assert [json.loads(line)["text"] for line in lines] == ["Hello", "Bye"]
    _, *recorded = file.read_text().splitlines()
    assert [json.loads(line)["event"] for line in recorded] == ["bot", "end"]


def told_of(tap: Tap) -> int:
    """How many watchers a session tells over its bus."""
    (note,) = tap._watchers.values()
    return len(note.__self__._watching)


async def test_the_table_of_all_sessions_is_drawn_and_left_by_a_key(valkey, tmp_path):
    tap = tapped()
    where = ("--bus", valkey.url, "--channel", "drawn")
    async with connected(SharedBus(valkey.url, "drawn"), tap, lambda: 0.0):
        terminal = Terminal([*PMW, "bus", "watch", *where], env=dict(os.environ), cwd=tmp_path)
        try:
            await until(lambda: tap._watchers)
            tap.add(bot("Hello from afar"))
            await asyncio.to_thread(terminal.wait_for, b"Hello from afar")
            await asyncio.to_thread(terminal.wait_for, b"calls 1")
            terminal.type(b"q")
            assert await asyncio.to_thread(terminal.end) == 0
        finally:
            terminal.close()


async def test_ctrl_c_ends_a_recording_that_is_whole(valkey, tmp_path):
    file, tap = tmp_path / "all.jsonl", tapped()
    where = ("--bus", valkey.url, "--channel", "recorded")
    async with connected(SharedBus(valkey.url, "recorded"), tap, lambda: 0.0):
        with pmw("bus", "record", str(file), *where) as record:
            await until(lambda: tap._watchers)
            tap.add(bot("Hello"))
            await until(lambda: file.exists() and "Hello" in file.read_text())
            record.send_signal(signal.SIGINT)
            await until(lambda: record.poll() is not None)
            assert record.returncode == 0


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("watch", "--bus", "redis", "-s", "handoff"), "a session and a bus are two places"),
        (("watch", "--bus", "local"), "a local bus is inside a session"),
        (("watch", "--bus", "redis+pubsub://localhost"), "stock Pipecat's processes know of no"),
        (("record", "x.jsonl", "--bus", "redis", "--so-far"), "a session remembers what was"),
    ],
)
def test_what_can_not_be_is_refused(words, what, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        program.main(("bus", *words))
    assert left.value.code == 2
    assert what in capsys.readouterr().err
