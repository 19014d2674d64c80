"""An engine in a process of its own, and what is left of it: nothing."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from pipecat_workers_cli.buses.presence import look
from pipecat_workers_cli.buses.urls import SharedBus, open_network
from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.fleet import engine, up
from pipecat_workers_cli.fleet.child import Listener
from pipecat_workers_cli.fleet.lifeline import LIFELINE
from tests.ports import free_port

ENGINES = sorted(engine.ENGINES)


@contextmanager
def started(*words: str, lifeline: int | None = None):
    """A program that has written its first line, and that line."""
    env = dict(os.environ) if lifeline is None else {**os.environ, LIFELINE: str(lifeline)}
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[] if lifeline is None else [lifeline],
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(5)
        process.stdout.close()


def run_engine(name: str, folder, lifeline: int | None = None):
    words = ("pipecat_workers_cli.fleet.engine", name, str(folder), str(free_port()))
    return started(*words, lifeline=lifeline)


def servers_of(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.fixture
def folder(tmp_path_factory):
    """Not in pytest's folder, which is closed to the user that Postgres runs as."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="pmw-engine-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.mark.parametrize("name", ENGINES)
async def test_an_engine_serves_until_sigterm_and_leaves_nothing(name, folder):
    with run_engine(name, folder) as (process, url):
        async with open_network(SharedBus(url, "engine")) as network:
            await look(network)
        process.terminate()
        assert process.wait(10) == 0
        assert not folder.exists()
        with pytest.raises(PmwError):
            async with open_network(SharedBus(url, "engine")):
                pass


def test_an_engine_ends_with_its_lifeline(folder):
    end, held = os.pipe()
    with run_engine("redis", folder, lifeline=end) as (process, _):
        (valkey,) = servers_of(process)
        os.close(end)
        os.close(held)  # as the kernel does when its holder was killed
        assert process.wait(10) == 0
        assert not valkey.is_running()
        assert not folder.exists()


def test_an_engine_whose_server_died_says_so_by_its_end(folder, monkeypatch):
    with run_engine("redis", folder) as (process, _):
        (valkey,) = servers_of(process)
        valkey.kill()
        assert process.wait(10) == 1
        assert folder.exists()  # another goes on in it


def test_a_process_ends_with_its_lifeline_as_by_sigterm():
    end, held = os.pipe()
    with started("tests.fleet.programs", "follow", lifeline=end) as (process, line):
        assert line == "waiting"
        os.close(end)
        began = time.monotonic()
        os.close(held)
        assert process.wait(5) == -signal.SIGTERM
        assert time.monotonic() - began < 1


def test_a_server_that_is_not_installed_is_two_lines(monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda _name: None)
    with pytest.raises(PmwError) as failure:
        engine.require_engine("pgmq")
    assert failure.value.exit_code == 1
    assert failure.value.what == "pmw up runs a Postgres of its own, which isn't installed"
    assert failure.value.mend.endswith("pip install 'pipecat-workers-cli[up]'")


async def test_what_an_engine_says_is_not_taken_for_its_url(monkeypatch):
    monkeypatch.setattr(up, "ENGINE", "tests.fleet.programs")
    lines = []
    system = up.System(
        engine="redis",
        main="main",
        main_words=("tests.fleet.programs", "end", "3"),
        main_env={},
        hosts={},
        serves=False,
        foreground=False,
        ready="NOBODY_READS_IT",
    )
    listener = Listener(lambda _, line: lines.append(line), lambda _: None)
    assert await up.run_up(system, listener, up.Progress(print, print)) == 3
    assert lines[0].startswith("redis: could not open")
