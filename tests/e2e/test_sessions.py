"""Sessions in the background and at the console, driven from other shells."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from pipecat_workers_cli.session.attached import statuses
from tests.e2e.background import OFFLINE, Run, is_alive, start, until
from tests.program import PMW
from tests.terminal import Terminal

PYTHON = (sys.executable,)

Console = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]


@pytest.fixture(autouse=True)
def _none_is_left() -> Iterator[None]:
    yield
    for session in statuses():
        os.kill(session.pid, signal.SIGKILL)


@pytest.fixture
def at_the_console(pmw_env, tmp_path) -> Console:
    """Hold the shipped handoff at a console where nobody types; it has begun."""

    @contextmanager
    def hold() -> Iterator["subprocess.Popen[str]"]:
        call = subprocess.Popen(
            [*PMW, "handoff", *OFFLINE, "-t", "console"], env=pmw_env, cwd=tmp_path,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert call.stdout.readline().startswith("greeter: ")
            yield call
        finally:
            call.kill()
            call.communicate(timeout=5)

    return hold


@pytest.fixture
def watched(pmw_env, tmp_path) -> Iterator[Terminal]:
    """A terminal with `pmw ps --watch`."""
    terminal = Terminal([*PMW, "ps", "--watch"], env=pmw_env, cwd=tmp_path)
    yield terminal
    terminal.close()


def test_two_sessions_side_by_side(
    pmw_run: Run, pmw_here: Run, pmw, watched: Terminal, at_the_console: Console
):
    rounds = pmw("ps", "--watch")
    watched.wait_for(b"no session is running")
    one = start(pmw_here)
    with at_the_console() as other:
        watched.wait_for(b"handoff-2")
        assert one["session"] == "handoff"
        which = pmw_here("say", "hello")
        assert which.returncode == 2
        assert which.stderr.splitlines() == [
            "error: several sessions are running: handoff, handoff-2",
            "  try: choose one with -s NAME",
        ]
        assert pmw_here("say", "-s", "handoff-2", "hello").returncode == 0
        assert [len(session.calls) for session in statuses()] == [0, 1]
        columns = pmw_run("ps").stdout.splitlines()
        assert columns[0].split() == [
            "SESSION", "PID", "CALLS", "UPTIME", "VERSION", "RECIPE", "ADDRESS",
        ]  # fmt: skip
        assert columns[2].split()[:2] == ["handoff-2", str(other.pid)]
        assert columns[4].split() == ["CALL", "SESSION", "WORKER", "TURNS", "AGE"]
        assert columns[5].split()[1:3] == ["handoff-2", "greeter"]

        wrong = pmw_here("stop", "handof")
        assert wrong.returncode == 2
        assert "did you mean 'handoff'?" in wrong.stderr
        both = pmw_here("stop", "--all")
        assert sorted(both.stdout.splitlines()) == ["stopped handoff", "stopped handoff-2"]
        assert not is_alive(one["pid"])
        assert not is_alive(other.pid)

    watched.seen = b""
    watched.wait_for(b"no session is running")
    watched.type(b"q")
    assert watched.end() == 0
    nobody = ["  ".join(columns[0].split()), ""]
    rounds.wait_for(lambda: rounds.out[-2:] == nobody)
    assert rounds.out[:2] == nobody
    assert rounds.stop(signal.SIGINT)[0] == 130
    assert rounds.err == []


def test_a_call_at_the_console_is_a_session_and_leaves_no_name_behind_when_it_is_killed(
    pmw_here: Run, at_the_console: Console
):
    with at_the_console() as call:
        (session,) = statuses()
        assert (session.name, session.address) == ("handoff", None)
        assert "$49" in pmw_here("say", "the paint?").stdout
        call.kill()
        call.wait(5)
    with at_the_console() as call:
        (session,) = statuses()
        assert session.name == "handoff"
        assert pmw_here("stop", "handoff").returncode == 0
        assert call.wait(5) == 0


def test_what_does_not_answer_in_time_is_said_of_a_turn_and_of_a_frozen_session(
    pmw_here: Run, tmp_path, free_port
):
    (tmp_path / "slow.toml").write_text(
        'name = "slow"\n[main]\n[[workers]]\nname = "snail"\n'
        'script = [{ match = "wait", say = "late", delay = 30 }, { say = "Here." }]\n'
    )
    port = str(free_port)
    started = pmw_here("run", "./slow.toml", *OFFLINE, "--port", port, "--detach")
    assert started.returncode == 0, started.stderr
    assert started.stdout.splitlines()[0] == f"slow at http://localhost:{port}/"
    assert pmw_here("say", "now").returncode == 0
    late = pmw_here("say", "wait", "--timeout", "0.5")
    assert late.returncode == 1
    assert late.stdout == "user: wait\n"
    assert late.stderr == ("error: no answer within 0.5 s\n  try: wait longer with --timeout\n")
    here = pmw_here("say", "now")
    assert here.returncode == 0
    assert here.stdout.splitlines()[-1] == "snail: Here."
    (session,) = statuses()
    assert len(session.calls) == 1

    os.kill(session.pid, signal.SIGSTOP)
    try:
        (frozen,) = statuses()
        assert (frozen.name, frozen.answers) == ("slow", False)
        said = pmw_here("say", "hello", "--timeout", "0.1")
        assert said.returncode == 1
        assert said.stderr.startswith("error: session 'slow' does not answer\n  try: ")
        stopped = pmw_here("stop", "--timeout", "0.1")
        assert stopped.returncode == 1
        assert f"kill -9 {session.pid}" in stopped.stderr
    finally:
        os.kill(session.pid, signal.SIGCONT)
    until(lambda: not is_alive(session.pid), "it read what it was told, and ended")


def test_what_keeps_a_session_from_starting_is_said_by_the_command(
    pmw_run: Run, pmw_here: Run, free_port
):
    with socket.create_server(("localhost", free_port)):
        answer = pmw_run("handoff", *OFFLINE, "--port", str(free_port), "--detach")
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.startswith(f"error: cannot listen on port {free_port}: ")
    assert len(answer.stderr.splitlines()) == 2
    for words, told in ((("--set", "main.nam=x"), "main.nam"), (("--port", "0"), "--port")):
        wrong = pmw_here("handoff", *OFFLINE, "--detach", *words)
        assert wrong.returncode == 2
        assert told in wrong.stderr
    assert statuses() == []


@pytest.mark.parametrize("words", [("-t", "console"), ("--say", "hi"), ("--traffic", "table")])
def test_what_needs_a_terminal_cannot_be_detached(words, pmw_here: Run):
    answer = pmw_here("handoff", *OFFLINE, "--detach", *words)
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 2


def test_without_a_session_the_command_that_starts_one_is_named(pmw_here: Run):
    for words in (("say", "hello"), ("stop",), ("say", "-s", "handoff", "hello")):
        answer = pmw_here(*words)
        assert (answer.returncode, answer.stdout) == (1, "")
        assert answer.stderr == (
            "error: no session is running\n  try: start one: pmw handoff --detach\n"
        )
    none = pmw_here("ps")
    assert none.returncode == 0
    assert len(none.stdout.splitlines()) == 1
    assert pmw_here("stop", "--all").returncode == 0


def test_a_strangers_bot_is_watched_to_its_end_or_as_long_as_it_takes(pmw_run: Run, pmw_here: Run):
    bot = str(Path(__file__).parents[1] / "peers" / "bot.py")
    watched = pmw_run("bus", "watch", "-o", "json", "--filter", "kind:job", "--", *PYTHON, bot)
    assert watched.returncode == 7  # as the bot's own
    kinds = [json.loads(line)["kind"] for line in watched.stdout.splitlines()]
    assert kinds == ["job.request", "job.update", "job.response"]
    assert "done" in watched.stderr

    enough = pmw_run("bus", "watch", "--until", "kind:job.request", "--", *PYTHON, bot)
    assert enough.returncode == 0
    assert "job.response" not in enough.stdout

    endless = ("import time; time.sleep(60)",)
    began = time.monotonic()
    late = pmw_run(
        "bus", "watch", "--until", "kind:bot", "--for", "1s", "--", *PYTHON, "-c", *endless
    )
    assert late.returncode == 1
    assert time.monotonic() - began < 20

    refused = pmw_here("bus", "watch", "-o", "table", "--", *PYTHON, bot)
    assert refused.returncode == 2
    assert pmw_here("bus", "show", "x.jsonl", "--", "y").returncode == 2
