"""A session in the background that several shells share: talked to, watched, recorded, ended."""

import json
import os
import signal
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import psutil
import pytest
from websockets.sync.client import connect

from pipecat_workers_cli.session.attached import find_session, statuses
from pipecat_workers_cli.session.messages import Watch
from tests.e2e.background import OFFLINE, Run, is_alive, until
from tests.e2e.conftest import own_folders
from tests.e2e.test_serving import eval_hello
from tests.ports import free_port
from tests.program import PMW

TOKEN = "0123456789abcdef"

pytestmark = pytest.mark.xdist_group("shared session")  # in one process, for it is started once


class Shared:
    """The session of the tests in this file; one that has ended is followed by another."""

    def __init__(self, folder: Path) -> None:
        self.env = own_folders(str(folder))
        self.folder = folder
        self.started: dict = {}

    def running(self, env: dict[str, str]) -> dict:
        """Return what was printed of it as it started."""
        if not self.started or not is_alive(self.started["pid"]):
            self.started = start_from_a_shell_that_dies(env, self.folder)
        return self.started


def start_from_a_shell_that_dies(env: dict[str, str], folder: Path) -> dict:
    port, log = str(free_port()), ("-o", "json", "--page-token", TOKEN)
    words = " ".join([*PMW, "handoff", *OFFLINE, "--port", port, "--detach", *log])
    shell = subprocess.Popen(
        ["bash", "-c", f"{words}; sleep 60"], env=env, cwd=folder,
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    started = json.loads(shell.stdout.readline())
    os.killpg(shell.pid, signal.SIGINT)  # as Ctrl-C does
    os.killpg(shell.pid, signal.SIGHUP)  # as a terminal that is closed does
    os.killpg(shell.pid, signal.SIGKILL)
    shell.communicate(timeout=10)
    return started


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Shared]:
    shared = Shared(tmp_path_factory.mktemp("shared"))
    yield shared
    if shared.started and is_alive(shared.started["pid"]):
        os.kill(shared.started["pid"], signal.SIGKILL)


@pytest.fixture
def pmw_env(pmw_env, shared: Shared, monkeypatch) -> dict[str, str]:
    for name, value in shared.env.items():
        monkeypatch.setenv(name, value)
    return {**pmw_env, **shared.env}


@pytest.fixture
def started(pmw_env, shared: Shared) -> dict:
    return shared.running(pmw_env)


@pytest.fixture
def without_calls(started: dict, pmw_here: Run) -> None:
    if statuses()[0].calls:
        assert pmw_here("say", "bye").returncode == 0


def test_a_session_in_the_background_outlives_its_shell(started: dict, pmw_here: Run):
    assert pmw_here("say", "hello").returncode == 0
    assert is_alive(started["pid"])


def test_the_page_token_reaches_the_background_where_nobody_reads_it(started: dict):
    assert started["address"].endswith("#token=…")
    process = psutil.Process(started["pid"])
    assert not any(TOKEN in word for word in process.cmdline())
    assert process.environ()["PMW_PAGE_TOKEN"] == TOKEN
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(started["address"].partition("#")[0] + "status", timeout=5)
    assert stat.S_IMODE(Path(started["log"]).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(started["log"]).parent.stat().st_mode) == 0o700


@pytest.mark.usefixtures("without_calls")
def test_one_call_is_driven_from_several_shells(started: dict, pmw_run: Run):
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
    (session,) = map(json.loads, pmw_run("ps", "-o", "json").stdout.splitlines())
    (call,) = session["calls"]
    assert call["call"] == entries[-1]["call"]
    assert (call["worker"], call["turns"]) == ("support", 3)
    assert (session["name"], session["pid"]) == (started["session"], started["pid"])


@pytest.mark.usefixtures("without_calls")
def test_a_goodbye_ends_the_call_and_the_next_turn_opens_another(pmw_here: Run):
    bye = pmw_here("say", "bye")
    assert bye.returncode == 0
    assert bye.stdout.splitlines()[-1] == "* end the caller said goodbye"
    again = pmw_here("say", "hello")
    assert again.stdout.splitlines()[0].startswith("greeter: ")
    assert again.returncode == 0


@contextmanager
def called(started: dict) -> Iterator[None]:
    address = started["address"].partition("#")[0].replace("http", "ws", 1)
    with connect(f"{address}ws?token={TOKEN}", max_queue=None) as client:
        client.send(eval_hello())
        yield


@pytest.mark.usefixtures("without_calls")
def test_a_turn_in_words_reaches_a_call_that_came_by_the_network(started: dict, pmw_here: Run):
    with called(started):
        until(lambda: [call.turns for call in statuses()[0].calls] == [1], "it was greeted")
        said = pmw_here("say", "How much is the paint?")
        assert said.returncode == 0, said.stderr
        assert "$49" in said.stdout
        (call,) = [call.call for call in statuses()[0].calls]
        with called(started):
            until(lambda: len(statuses()[0].calls) == 2, "there are two calls")
            which = pmw_here("say", "hello")
            assert which.returncode == 2
            assert call in which.stderr
            assert "--call" in which.stderr
            assert pmw_here("say", "--call", call, "hello").returncode == 0
            assert pmw_here("say", "--call", "zzz", "hello").returncode == 2
    until(lambda: not statuses()[0].calls, "both have hung up")


@pytest.mark.usefixtures("without_calls")
def test_a_session_is_recorded_from_another_shell_and_what_nobody_recorded_is_saved(
    pmw_here: Run, pmw, tmp_path: Path
):
    pmw_here("say", "What do you sell?")
    recording = pmw("bus", "record", "after.jsonl.gz", "--until", "kind:bot")
    recording.wait_for_line("recording session 'handoff'")
    while recording.popen.poll() is None:  # the first turn may come before it is attached
        pmw_here("say", "How much are the rocket boots?")
    assert recording.popen.returncode == 0
    saved = pmw_here("bus", "record", "before.jsonl", "--so-far")
    assert saved.returncode == 0, saved
    whole = pmw_here("bus", "show", "before.jsonl").stdout
    assert "user: What do you sell?" in whole
    assert "$299" in whole
    half = pmw_here("bus", "show", "after.jsonl.gz").stdout
    assert "What do you sell?" not in half
    assert "$299" in half
    chosen = pmw_here("bus", "record", "bots.jsonl", "--so-far", "--filter", "kind:bot")
    assert chosen.stderr.splitlines()[-1].endswith(" entries in bots.jsonl")
    lines = (tmp_path / "bots.jsonl").read_text().splitlines()[1:]
    assert {json.loads(line)["event"] for line in lines} == {"bot"}


@pytest.mark.long
@pytest.mark.usefixtures("without_calls")
def test_a_watch_ends_by_itself_when_it_was_told_to(shared: Shared, pmw_here: Run, pmw):
    began = pmw_here("bus", "watch", "--for", "0.5s", "--until", "kind:bot")
    assert began.returncode == 1  # the time ran out
    three = pmw("bus", "watch", "-o", "json", "--filter", "kind:user,bot", "--count", "3")
    met = pmw("bus", "watch", "--until", 'kind:bot "$49"', "--for", "60s")
    until(lambda: watching(shared) == 2, "both are attached")
    pmw_here("say", "the paint?")
    assert three.popen.wait(10) == 0
    assert met.popen.wait(10) == 0
    assert [json.loads(line)["event"] for line in three.out] == ["bot", "user", "bot"]
    for words in (("--for", "soon"), ("--filter", "wrker:x"), ("-o", "table", "--count", "1")):
        assert pmw_here("bus", "watch", *words).returncode == 2


@pytest.mark.long
@pytest.mark.usefixtures("started")
def test_a_session_is_offered_where_one_is_named(pmw_env, tmp_path):
    for line in ("pmw say -s ha", "pmw stop ha", "pmw bus watch -s ha"):
        answer = subprocess.run(
            [*PMW, line], cwd=tmp_path, capture_output=True, text=True, timeout=30,
            env={**pmw_env, "_PMW_COMPLETE": "bash"},
        )  # fmt: skip
        assert answer.stdout.split() == ["handoff"], answer


@pytest.fixture
def asleep() -> Iterator[Callable[[], None]]:
    """Attach watchers that take nothing of what they are told."""
    with ExitStack() as connections:

        def attach() -> None:
            connection = connections.enter_context(find_session("handoff").connect())
            connection.sendall(msgspec.json.encode(Watch()) + b"\n")

        yield attach


@pytest.mark.usefixtures("without_calls")
def test_twenty_watchers_most_of_them_asleep_are_not_felt_by_the_call_nor_by_its_end(
    shared: Shared, started: dict, pmw_here: Run, pmw_run: Run, pmw, asleep
):
    pmw_here("say", "hello")
    frozen, *awake = (pmw("bus", "watch", "-o", "json") for _ in range(3))
    for _ in range(17):
        asleep()
    until(lambda: watching(shared) == 20, "all are attached", within=60)
    frozen.popen.send_signal(signal.SIGSTOP)
    for turn in ("the boots?", "the paint?", "the boots again?"):
        assert pmw_here("say", turn).returncode == 0
    for watcher in awake:
        watcher.wait_for(lambda out=watcher.out: len(events(out, "bot")) == 3)
        assert len(events(watcher.out, "user")) == 3
        assert len(events(watcher.out, "transfer")) == 1
        assert events(watcher.out, "message")

    stopped = pmw_run("stop")
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "stopped handoff\n", "")
    assert not is_alive(started["pid"])
    assert statuses() == []
    assert "Traceback" not in Path(started["log"]).read_text()
    for watcher in awake:
        assert watcher.popen.wait(10) == 0
        watcher.wait_for_line("session 'handoff' has ended")
    frozen.popen.send_signal(signal.SIGCONT)
    assert frozen.popen.wait(10) in (0, 1)


def events(lines: list[str], event: str) -> list[dict]:
    return [entry for entry in map(json.loads, list(lines)) if entry["event"] == event]


def watching(shared: Shared) -> int:
    """Count the connections that a session holds besides those that listen."""
    own = f"{shared.folder}/pmw/handoff.sock"
    sockets = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith(own) and " 03 " in line for line in sockets)
