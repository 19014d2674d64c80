"""A stranger's bot under the tap, its code untouched."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

import tests.peers.bot
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.session.stranger import run_tapped
from pipecat_workers_cli.traffic.entry import Entry

BOT = (sys.executable, tests.peers.bot.__file__)


async def test_a_strangers_bot_tells_what_its_workers_say_beside_its_own_setup(
    monkeypatch, tmp_path: Path, capfd
):
    own = tmp_path / "own_setup.py"
    own.write_text("async def setup_worker_runner(runner):\n    print('own setup')\n")
    monkeypatch.setenv("PIPECAT_SETUP_FILES", str(own))
    entries: list[Entry] = []
    code = await asyncio.wait_for(run_tapped(BOT, entries.append), 60)
    assert code == 7
    printed = capfd.readouterr()
    assert printed.out == ""  # which is for what its workers say
    assert "own setup\n" in printed.err
    assert "done\n" in printed.err
    assert entries[0].event == "call"
    assert len({entry.call for entry in entries}) == 1
    jobs = [e for e in entries if (e.kind or "").startswith("job.")]
    assert [e.kind for e in jobs] == ["job.request", "job.update", "job.response"]
    request, _, response = jobs
    assert (request.worker, request.target) == ("talker", "doubler")
    assert request.payload["payload"]["n"] == 21
    assert response.payload["response"] == {"doubled": 42}
    assert "rosebud" not in repr(entries)
    audio = [e for e in entries if e.kind == "frame.audio"]
    assert sum(e.count for e in audio) == 50
    assert sum(e.size for e in audio) == 32_000
    assert [e.text for e in entries if e.event == "bot"] == ["42."]
    times = [e.at_ms for e in entries]
    assert times == sorted(times)


async def test_a_listener_that_fails_costs_the_bot_nothing(monkeypatch, tmp_path):
    # Nor does a listener of long ago, who is gone: ours takes its place.
    monkeypatch.setenv("PMW_TAP", str(tmp_path / "nobody"))

    def fail(_entry: Entry) -> None:
        raise RuntimeError("the listener failed")

    assert await asyncio.wait_for(run_tapped(BOT, fail), 60) == 7


async def test_a_program_that_is_not_there_is_refused():
    with pytest.raises(ConfigurationError, match="no such file"):
        await run_tapped(["/no/such/bot"], lambda _: None)


async def test_sigterm_is_passed_on_and_its_code_returned(tmp_path: Path):
    script = tmp_path / "waits.py"
    up = tmp_path / "up"
    wait = "import pathlib, sys, time\npathlib.Path(sys.argv[1]).touch()\ntime.sleep(60)\n"
    script.write_text(wait)
    command = [sys.executable, str(script), str(up)]
    running = asyncio.create_task(run_tapped(command, lambda _: None))
    async with asyncio.timeout(10):
        while not up.exists():  # noqa: ASYNC110  # another process has no event of ours
            await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, 10) == 128 + signal.SIGTERM
