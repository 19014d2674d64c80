"""Sessions driven from other shells: started in the background, talked to, watched, ended."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import connected
from tests.e2e.test_serving import eval_hello
from tests.ports import free_port
from tests.program import PMW
from tests.terminal import Terminal

OFFLINE = ("--services", "offline")
PYTHON = (sys.executable,)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pmw_run(pmw_env, tmp_path) -> Iterator[Run]:
    """Run `pmw` to its end; what was left in the background is ended afterwards."""

    def run(*words: str, timeout: float = 60, **options) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PMW, *words], env=pmw_env, cwd=tmp_path, capture_output=True, text=True,
            timeout=timeout, stdin=subprocess.DEVNULL, **options,
        )  # fmt: skip

    yield run
    for session in sessions(run):
        os.kill(session["pid"], signal.SIGKILL)


def sessions(run: Run) -> list[dict]:
    return [json.loads(line) for line in run("ps", "-o", "json").stdout.splitlines()]


def start(run: Run, *words: str) -> dict:
    """Start a session in the background, and return what is printed of it."""
    port = str(free_port())
    started = run("handoff", *OFFLINE, "--port", port, "--detach", "-o", "json", *words)
    assert (started.returncode, started.stderr) == (0, ""), started
    return json.loads(started.stdout)


def until(seen: Callable[[], bool], what: str, *, within: float = 10) -> None:
    deadline = time.monotonic() + within
    while not seen():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_one_call_is_driven_from_several_shells(pmw_run: Run, pmw):
    started = start(pmw_run)
    assert started["session"] == "handoff"
    assert Path(started["log"]).exists()
    first = pmw_run("say", "How", "much", "are", "the", "rocket", "boots?")
    assert (first.returncode, first.stderr) == (0, "")
    lines = first.stdout.splitlines()
    assert lines[0].startswith("greeter: ")
    assert lines[1] == "user: How much are the rocket boots?"
    assert lines[-1].startswith("support: ")
    assert "$299" in lines[-1]

    second = pmw_run("say", "-o", "json", "And the paint?")
    entries = [json.loads(line) for line in second.stdout.splitlines()]
    assert [entry["event"] for entry in entries] == ["user", "bot"]
    assert entries[-1]["worker"] == "support"
    assert "$49" in entries[-1]["text"]
    (session,) = sessions(pmw_run)
    (call,) = session["calls"]
    assert call["call"] == entries[-1]["call"]
    assert (call["worker"], call["turns"]) == ("support", 3)
    assert session["pid"] == started["pid"]

    stopped = pmw_run("stop")
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "stopped handoff\n", "")
    assert not is_alive(started["pid"])
    assert sessions(pmw_run) == []
    assert "Traceback" not in Path(started["log"]).read_text()


def test_a_goodbye_ends_the_call_and_the_next_turn_opens_another(pmw_run: Run):
    start(pmw_run)
    bye = pmw_run("say", "bye")
    assert bye.returncode == 0
    assert bye.stdout.splitlines()[-1] == "* end the caller said goodbye"
    again = pmw_run("say", "hello")
    assert again.stdout.splitlines()[0].startswith("greeter: ")
    assert again.returncode == 0


@pytest.fixture
def watched(pmw_env, tmp_path) -> Iterator[Terminal]:
    """A terminal with `pmw ps --watch`."""
    terminal = Terminal([*PMW, "ps", "--watch"], env=pmw_env, cwd=tmp_path)
    yield terminal
    terminal.close()


def test_two_sessions_side_by_side(pmw_run: Run, pmw, watched: Terminal):
    rounds = pmw("ps", "--watch")
    watched.wait_for(b"no session is running")
    one, other = start(pmw_run), start(pmw_run)
    watched.wait_for(b"handoff-2")
    assert [one["session"], other["session"]] == ["handoff", "handoff-2"]
    which = pmw_run("say", "hello")
    assert which.returncode == 2
    assert which.stderr.splitlines() == [
        "error: several sessions are running: handoff, handoff-2",
        "  try: choose one with -s NAME",
    ]
    assert pmw_run("say", "-s", "handoff-2", "hello").returncode == 0
    assert [len(session["calls"]) for session in sessions(pmw_run)] == [0, 1]
    columns = pmw_run("ps").stdout.splitlines()
    assert columns[0].split() == [
        "SESSION", "PID", "CALLS", "UPTIME", "VERSION", "RECIPE", "ADDRESS",
    ]  # fmt: skip
    assert columns[2].split()[:2] == ["handoff-2", str(other["pid"])]
    assert columns[4].split() == ["CALL", "SESSION", "WORKER", "TURNS", "AGE"]
    assert columns[5].split()[1:3] == ["handoff-2", "greeter"]

    wrong = pmw_run("stop", "handof")
    assert wrong.returncode == 2
    assert "did you mean 'handoff'?" in wrong.stderr
    both = pmw_run("stop", "--all")
    assert sorted(both.stdout.splitlines()) == ["stopped handoff", "stopped handoff-2"]
    assert not is_alive(one["pid"])
    assert not is_alive(other["pid"])

    watched.seen = b""
    watched.wait_for(b"no session is running")
    watched.type(b"q")
    assert watched.end() == 0
    nobody = ["  ".join(columns[0].split()), ""]
    rounds.wait_for(lambda: rounds.out[-2:] == nobody)
    assert rounds.out[:2] == nobody
    assert rounds.stop(signal.SIGINT)[0] == 130
    assert rounds.err == []


def test_a_killed_session_leaves_no_name_behind(pmw_run: Run):
    one = start(pmw_run)
    os.kill(one["pid"], signal.SIGKILL)
    until(lambda: not is_alive(one["pid"]), "it is gone")
    assert start(pmw_run)["session"] == "handoff"
    assert len(sessions(pmw_run)) == 1


def test_a_frozen_session_is_said_to_be_there_and_to_be_silent(pmw_run: Run):
    one = start(pmw_run)
    os.kill(one["pid"], signal.SIGSTOP)
    try:
        (session,) = sessions(pmw_run)
        assert (session["name"], session["answers"]) == ("handoff", False)
        said = pmw_run("say", "hello", "--timeout", "0.5")
        assert said.returncode == 1
        assert said.stderr.startswith("error: session 'handoff' does not answer\n  try: ")
        stopped = pmw_run("stop", "--timeout", "1")
        assert stopped.returncode == 1
        assert f"kill -9 {one['pid']}" in stopped.stderr
    finally:
        os.kill(one["pid"], signal.SIGCONT)
    until(lambda: not is_alive(one["pid"]), "it read what it was told, and ended")


def test_a_turn_without_an_answer_in_time_is_an_error_and_the_call_goes_on(pmw_run: Run, tmp_path):
    (tmp_path / "slow.toml").write_text(
        'name = "slow"\n[main]\n[[workers]]\nname = "snail"\n'
        'script = [{ match = "wait", say = "late", delay = 30 }, { say = "Here." }]\n'
    )
    started = pmw_run("run", "./slow.toml", *OFFLINE, "--port", "0", "--detach")
    assert started.returncode == 2  # no such port: what the child says of it comes through
    port = str(free_port())
    started = pmw_run("run", "./slow.toml", *OFFLINE, "--port", port, "--detach")
    assert started.returncode == 0, started.stderr
    assert started.stdout.splitlines()[0] == f"slow at http://localhost:{port}/"
    assert pmw_run("say", "now").returncode == 0
    late = pmw_run("say", "wait", "--timeout", "1")
    assert late.returncode == 1
    assert late.stdout == "user: wait\n"
    assert late.stderr == ("error: no answer within 1 s\n  try: wait longer with --timeout\n")
    here = pmw_run("say", "now")
    assert here.returncode == 0
    assert here.stdout.splitlines()[-1] == "snail: Here."
    assert len(sessions(pmw_run)[0]["calls"]) == 1


def test_the_page_token_reaches_the_background_where_nobody_reads_it(pmw_run: Run):
    token = "0123456789abcdef"
    started = start(pmw_run, "--page-token", token)
    assert started["address"].endswith("#token=…")
    process = psutil.Process(started["pid"])
    assert not any(token in word for word in process.cmdline())
    assert process.environ()["PMW_PAGE_TOKEN"] == token
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(started["address"].partition("#")[0] + "status", timeout=5)
    assert stat.S_IMODE(Path(started["log"]).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(started["log"]).parent.stat().st_mode) == 0o700


def test_what_keeps_a_session_from_starting_is_said_by_the_command(pmw_run: Run, free_port):
    with socket.create_server(("localhost", free_port)):
        answer = pmw_run("handoff", *OFFLINE, "--port", str(free_port), "--detach")
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.startswith(f"error: cannot listen on port {free_port}: ")
    assert len(answer.stderr.splitlines()) == 2
    wrong = pmw_run("handoff", *OFFLINE, "--detach", "--set", "main.nam=x")
    assert wrong.returncode == 2
    assert "main.nam" in wrong.stderr
    assert sessions(pmw_run) == []


@pytest.mark.parametrize("words", [("-t", "console"), ("--say", "hi"), ("--traffic", "table")])
def test_what_needs_a_terminal_cannot_be_detached(words, pmw_run: Run):
    answer = pmw_run("handoff", *OFFLINE, "--detach", *words)
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 2


def test_a_session_in_the_background_outlives_its_shell(pmw_run: Run, pmw_env, tmp_path, free_port):
    words = " ".join(
        [*PMW, "handoff", *OFFLINE, "--port", str(free_port), "--detach", "-o", "json"]
    )
    shell = subprocess.Popen(
        ["bash", "-c", f"{words}; sleep 60"], env=pmw_env, cwd=tmp_path,
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    started = json.loads(shell.stdout.readline())
    os.killpg(shell.pid, signal.SIGINT)  # as Ctrl-C does
    os.killpg(shell.pid, signal.SIGHUP)  # as a terminal that is closed does
    os.killpg(shell.pid, signal.SIGKILL)
    shell.communicate(timeout=10)
    assert pmw_run("say", "hello").returncode == 0
    assert is_alive(started["pid"])


@pytest.mark.speech
def test_a_turn_in_words_reaches_a_call_that_came_by_the_network(pmw_run: Run, serve):
    server = serve("handoff", *OFFLINE, "-o", "json")
    with connected(server.port) as caller:
        caller.send(eval_hello())
        server.wait_for(lambda: any('"bot"' in line for line in server.out))
        said = pmw_run("say", "How much is the paint?")
        assert said.returncode == 0, said.stderr
        assert "$49" in said.stdout
        (session,) = sessions(pmw_run)
        assert len(session["calls"]) == 1
        call = session["calls"][0]["call"]
        with connected(server.port) as other:
            other.send(eval_hello())
            until(lambda: len(sessions(pmw_run)[0]["calls"]) == 2, "there are two calls")
            which = pmw_run("say", "hello")
            assert which.returncode == 2
            assert call in which.stderr
            assert "--call" in which.stderr
            assert pmw_run("say", "--call", call, "hello").returncode == 0
            assert pmw_run("say", "--call", "zzz", "hello").returncode == 2


def test_a_call_at_the_console_is_a_session_and_a_script_is_none(pmw_run: Run, pmw_env, tmp_path):
    call = subprocess.Popen(
        [*PMW, "handoff", *OFFLINE, "-t", "console"], env=pmw_env, cwd=tmp_path,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert call.stdout.readline().startswith("greeter: ")
        (session,) = sessions(pmw_run)
        assert (session["name"], session["address"]) == ("handoff", None)
        assert "$49" in pmw_run("say", "the paint?").stdout
        assert pmw_run("stop", "handoff").returncode == 0
        assert call.wait(5) == 0
    finally:
        call.kill()
        call.communicate(timeout=5)
    script = pmw_run("handoff", *OFFLINE, "--say", "hello")
    assert script.returncode == 0
    runtime = Path(pmw_env["XDG_RUNTIME_DIR"]) / "pmw"
    assert list(runtime.iterdir()) == []


def test_twenty_watchers_half_of_them_frozen_are_not_felt_by_the_call(pmw_run: Run, pmw):
    start(pmw_run)
    pmw_run("say", "hello")
    watchers = [pmw("bus", "watch", "-o", "json") for _ in range(20)]
    frozen, awake = watchers[:10], watchers[10:]
    until(lambda: watching(pmw_run) == 20, "all are attached", within=60)
    for watcher in frozen:
        watcher.popen.send_signal(signal.SIGSTOP)
    for turn in ("the boots?", "the paint?", "the boots again?"):
        assert pmw_run("say", turn).returncode == 0
    for watcher in awake:
        watcher.wait_for(lambda out=watcher.out: len(events(out, "bot")) == 3)
        assert len(events(watcher.out, "user")) == 3
        assert len(events(watcher.out, "transfer")) == 1
        assert events(watcher.out, "message")
    stopped = pmw_run("stop")
    assert stopped.returncode == 0
    for watcher in awake:
        assert watcher.popen.wait(10) == 0
        watcher.wait_for_line("session 'handoff' has ended")
    for watcher in frozen:
        watcher.popen.send_signal(signal.SIGCONT)
        assert watcher.popen.wait(10) in (0, 1)


def events(lines: list[str], event: str) -> list[dict]:
    return [entry for entry in map(json.loads, list(lines)) if entry["event"] == event]


def watching(run: Run) -> int:
    """Count the connections that a session holds besides those that listen."""
    sockets = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith("/pmw/handoff.sock") and " 03 " in line for line in sockets)


@pytest.mark.long
def test_a_watch_ends_by_itself_when_it_was_told_to(pmw_run: Run, pmw):
    start(pmw_run)
    began = pmw_run("bus", "watch", "--for", "0.5s", "--until", "kind:bot")
    assert began.returncode == 1  # the time ran out
    three = pmw("bus", "watch", "-o", "json", "--filter", "kind:user,bot", "--count", "3")
    met = pmw("bus", "watch", "--until", 'kind:bot "$49"', "--for", "60s")
    until(lambda: watching(pmw_run) == 2, "both are attached")
    pmw_run("say", "the paint?")
    assert three.popen.wait(10) == 0
    assert met.popen.wait(10) == 0
    assert [json.loads(line)["event"] for line in three.out] == ["bot", "user", "bot"]
    for words in (("--for", "soon"), ("--filter", "wrker:x"), ("-o", "table", "--count", "1")):
        assert pmw_run("bus", "watch", *words).returncode == 2


@pytest.mark.long
def test_a_session_is_offered_where_one_is_named(pmw_run: Run, pmw_env, tmp_path):
    start(pmw_run)
    for line in ("pmw say -s ha", "pmw stop ha", "pmw bus watch -s ha"):
        answer = subprocess.run(
            [*PMW, line], cwd=tmp_path, capture_output=True, text=True, timeout=30,
            env={**pmw_env, "_PMW_COMPLETE": "bash"},
        )  # fmt: skip
        assert answer.stdout.split() == ["handoff"], answer


def test_without_a_session_the_command_that_starts_one_is_named(pmw_run: Run):
    for words in (("say", "hello"), ("stop",), ("say", "-s", "handoff", "hello")):
        answer = pmw_run(*words)
        assert (answer.returncode, answer.stdout) == (1, "")
        assert answer.stderr == (
            "error: no session is running\n  try: start one: pmw handoff --detach\n"
        )
    none = pmw_run("ps")
    assert none.returncode == 0
    assert len(none.stdout.splitlines()) == 1
    assert pmw_run("stop", "--all").returncode == 0


def test_a_session_is_recorded_from_another_shell_and_what_nobody_recorded_is_saved(
    pmw_run: Run, pmw, tmp_path: Path
):
    start(pmw_run)
    pmw_run("say", "What do you sell?")
    recording = pmw("bus", "record", "after.jsonl.gz", "--until", "kind:bot")
    recording.wait_for_line("recording session 'handoff'")
    while recording.popen.poll() is None:  # the first turn may come before it is attached
        pmw_run("say", "How much are the rocket boots?")
    assert recording.popen.returncode == 0
    saved = pmw_run("bus", "record", "before.jsonl", "--so-far")
    assert saved.returncode == 0, saved
    whole = pmw_run("bus", "show", "before.jsonl").stdout
    assert "user: What do you sell?" in whole
    assert "$299" in whole
    half = pmw_run("bus", "show", "after.jsonl.gz").stdout
    assert "What do you sell?" not in half
    assert "$299" in half
    chosen = pmw_run("bus", "record", "bots.jsonl", "--so-far", "--filter", "kind:bot")
    assert chosen.stderr.splitlines()[-1].endswith(" entries in bots.jsonl")
    lines = (tmp_path / "bots.jsonl").read_text().splitlines()[1:]
    assert {json.loads(line)["event"] for line in lines} == {"bot"}


def test_a_strangers_bot_is_watched_to_its_end_or_as_long_as_it_takes(pmw_run: Run):
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

    refused = pmw_run("bus", "watch", "-o", "table", "--", *PYTHON, bot)
    assert refused.returncode == 2
    assert pmw_run("bus", "show", "x.jsonl", "--", "y").returncode == 2
