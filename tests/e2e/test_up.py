"""`pmw up`: a distributed call on one machine, and nothing of it left behind."""

import os
import re
import signal
import time

import psutil
import pytest

from tests.e2e.conftest import Process, connected
from tests.e2e.test_serving import eval_hello

OFFLINE = ("--services", "offline")

ALONE = """
name = "alone"
[main]
name = "desk"
opening = { worker = "clerk", message = "Welcome the caller." }
[[workers]]
name = "clerk"
script = [
  { on = "opening", say = "Hello." },
  { match = "kit", say = "The tornado kit is $199." },
  { say = "At last.", delay = 60 },
]
"""

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def up(pmw, tmp_path):
    """Start `pmw up`; whatever it starts is gone in the end."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    began: list[Process] = []

    (tmp_path / "alone.toml").write_text(ALONE)

    def start(*words: str, recipe: str = "./alone.toml") -> Process:
        began.append(pmw("up", recipe, *OFFLINE, *words, env={"TMPDIR": str(folder)}))
        return began[-1]

    yield start
    for process in began:
        process.popen.kill()
    until(lambda: not left_of(folder))


def left_of(folder) -> list[str]:
    """What runs or lies there on behalf of an `up` whose temporary folder it is."""
    found = [str(path) for path in folder.iterdir() if path.name.startswith("pmw-up-")]
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(folder):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def until(true, *, within: float = 15) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def hosts_of(process: Process) -> dict[str, psutil.Process]:
    children = psutil.Process(process.popen.pid).children()
    return {words[-1]: child for child in children if "worker" in (words := child.cmdline())}


def test_a_scripted_call_is_the_main_workers_output_and_its_exit_code(up, tmp_path):
    """Which is 1 here, for no answer takes less than a millisecond."""
    process = up("--say", "How much is the tornado kit?", "-o", "json", "--max-turn-ms", "1")
    assert process.popen.wait(60) == 1
    process.stop()
    events = [line for line in process.out if '"event"' in line]
    assert events == process.out
    assert "$199" in events[-2]
    assert re.fullmatch(r"starting .*clerk… desk… ready in \d+\.\d s", process.err[0])
    assert re.match(r"desk +\| error: ", process.err[2])
    assert left_of(tmp_path / "tmp") == []


def test_a_host_that_dies_is_started_again_and_sigterm_ends_all_in_order(up, free_port, tmp_path):
    process = up("--port", str(free_port), "-o", "json", recipe="handoff")
    process.wait_for_line("ready in ")
    hosts = hosts_of(process)
    assert sorted(hosts) == ["greeter", "support"]
    with connected(free_port) as caller:
        caller.send(eval_hello())
        process.wait_for(lambda: any("Acme" in line for line in process.out))
        hosts["support"].kill()
        process.wait_for_line("support was killed by SIGKILL; it is started again in 0.5 s")
        until(lambda: hosts_of(process).get("support") not in (None, hosts["support"]))
        code, took = process.stop(signal.SIGTERM)
    assert code == 0
    assert took < 5
    assert left_of(tmp_path / "tmp") == []


def test_nothing_outlives_one_that_is_killed_in_a_call(up, tmp_path):
    process = up("--say", "Is anybody there?")
    process.wait_for_line("clerk: Hello.")
    os.kill(process.popen.pid, signal.SIGKILL)
    process.popen.wait(5)
    until(lambda: not left_of(tmp_path / "tmp"), within=10)
