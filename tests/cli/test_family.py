"""`pipecat workers …`: all of `pmw` under Pipecat's own program, and its setup files."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAMS = Path(sys.executable).parent

SETUP = """
import sys
from pipecat.observers.base_observer import BaseObserver

class Onlooker(BaseObserver):
    seen = False

    async def on_push_frame(self, data):
        if not Onlooker.seen:
            Onlooker.seen = True
            print("saw a frame", file=sys.stderr)

async def setup_worker_runner(runner):
    print("set up a runner", file=sys.stderr)

async def setup_pipeline_worker(worker):
    worker.add_observer(Onlooker())
    print(f"set up {worker.name}", file=sys.stderr)
"""


def pipecat(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAMS / "pipecat"), *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_pipecats_program_holds_a_call_and_its_setup_files_attach(tmp_path: Path) -> None:
    setup = tmp_path / "setup.py"
    setup.write_text(SETUP, encoding="utf-8")
    words = ("handoff", "--services", "offline", "--say", "hello", "--say", "bye")
    answer = pipecat("workers", *words, PIPECAT_SETUP_FILES=str(setup))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "* end the caller said goodbye"
    told = answer.stderr.splitlines()
    assert told[0] == "set up a runner"
    assert {"set up acme", "set up greeter", "set up support", "saw a frame"} <= set(told)


def test_errors_name_the_program_that_was_typed_and_keep_their_exit_code() -> None:
    answer = pipecat("workers", "handoff", "--transpot", "console")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == (
        "error: no option '--transpot'\n"
        "  try: did you mean '--transport'? see pipecat workers handoff --help\n"
    )


def test_pipecats_program_knows_it_by_an_import_of_next_to_nothing() -> None:
    program = (
        "import sys, time, typer\n"
        "before, began = set(sys.modules), time.perf_counter()\n"
        "import pipecat_workers_cli.cli.family\n"
        "print(time.perf_counter() - began, *set(sys.modules) - before)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    seconds, *loaded = answer.stdout.split()
    assert float(seconds) < 0.2
    ours = {name for name in loaded if name.partition(".")[0] in ("pipecat", "pipecat_workers_cli")}
    rooms = ("", ".cli", ".cli.family")
    assert ours == {f"pipecat_workers_cli{room}" for room in rooms}


HOST = """
import typer
from pipecat_workers_cli.cli.family import app
host = typer.Typer()
host.add_typer(app, name="workers")
host.command("init")(lambda: None)
host(prog_name="host")
"""


def host(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HOST, *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_program_that_mounts_it_has_its_help_and_completes_its_commands() -> None:
    answer = host("workers", "handoff", "--help")
    assert answer.returncode == 0
    assert "Usage: host workers handoff [OPTIONS]" in answer.stdout
    line = {"COMP_WORDS": "host workers ha", "COMP_CWORD": "2", "_HOST_COMPLETE": "complete_bash"}
    assert host(**line).stdout.split() == ["handoff"]


def test_what_follows_two_dashes_comes_through() -> None:
    answer = host("workers", "ps", "--", "--proxy")
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: pmw ps takes nothing after '--', such as '--proxy'")
