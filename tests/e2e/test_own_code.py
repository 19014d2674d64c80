"""Code of the user's own that fails, as its author meets it: two lines, and a traceback by -v."""

import subprocess
import sys

import pytest

from tests.program import run_here

CODE = """
import asyncio
import datetime
import os
import sys
from pipecat.workers.base_worker import BaseWorker

class Raises(BaseWorker):
    def __init__(self, name):
        raise OSError("no shelf for sk-live-0123456789")

class Stubborn(BaseWorker):
    async def on_job_request(self, message):
        while True:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                pass

async def find_order(params, question: str):
    '''Find an order.'''
    raise LookupError("no order for sk-live-0123456789")

async def leave(params, question: str):
    '''Leave.'''
    sys.exit(7)

async def when(params, question: str):
    '''Say when.'''
    await params.result_callback(datetime.datetime(2026, 1, 1))
"""
RECIPE = """
name = "mine"
[main]
prompt = "Talk."
{main}
[[workers]]
name = "one"
kind = "{kind}"
"""


WORDS = ("run", "./mine.toml", "--services", "offline", "--say", "Where is it?")
# Waited for in full below, so it is less than the twelve seconds that users are given.
SOON = """
import sys
from pipecat_workers_cli.cli import one_call
from pipecat_workers_cli.cli.app import main
one_call.PATIENCE = 3.0
main(sys.argv[1:])
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a recipe and the code that it names into the working directory."""
    monkeypatch.chdir(tmp_path)

    def write_files(*, kind="specialist", main=""):
        (tmp_path / "own.py").write_text(CODE)
        (tmp_path / "broken.py").write_text("import os\nKEY = os.environ['NOT_THERE']\n")
        (tmp_path / "mine.toml").write_text(RECIPE.format(kind=kind, main=main))

    return write_files


@pytest.fixture
def run(write, capsys):
    """Run `pmw` in this process; returns its exit code, stdout and stderr."""

    def run_recipe(*options, **recipe):
        write(**recipe)
        code = run_here(*options, *WORDS)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_recipe


def test_a_class_that_can_not_be_imported_is_a_fault_of_the_recipe(run):
    code, out, err = run(kind="broken:Worker")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "error: mine.toml:8: workers.one.kind = 'broken:Worker': "
        "broken can't be imported: KeyError: 'NOT_THERE' (broken.py:2)",
        "  try: mend the code; see it all with -v",
    ]
    _, _, err = run("-v", kind="broken:Worker")
    assert "KEY = os.environ['NOT_THERE']" in err
    assert err.splitlines()[-1] == "  try: mend the code; see it all with -v"


def test_a_class_that_raises_when_it_is_built_ends_the_call_before_it_began(run):
    code, out, err = run(kind="own:Raises")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "error: worker 'one' of kind 'own:Raises' can't be built: "
        "OSError: no shelf for *** (own.py:10)",
        "  try: mend its class; see it all with -v",
    ]


def test_a_tool_that_raises_ends_a_scripted_call_with_what_it_raised(run):
    code, _, err = run(main='tools = ["own:find_order"]')
    assert code == 1
    assert err.splitlines() == [
        "error: no answer: main: Error executing function call [find_order]: no order for ***",
        "  try: mend its code; see where it failed with -v",
    ]


@pytest.mark.parametrize(
    ("tool", "what"),
    [
        ("leave", "it called sys.exit(7)"),
        ("when", "Object of type datetime is not JSON serializable"),
    ],
)
def test_a_tool_that_ends_the_process_or_answers_no_json_has_raised(run, tool, what):
    code, _, err = run(main=f'tools = ["own:{tool}"]')
    assert code == 1
    assert err.splitlines() == [
        f"error: no answer: main: Error executing function call [{tool}]: {what}",
        "  try: mend its code; see where it failed with -v",
    ]


def test_a_worker_that_does_not_let_itself_be_cancelled_is_left_behind(write):
    write(
        kind="own:Stubborn",
        main='jobs = [{ tool = "ask", workers = ["one"], timeout = 1 }]',
    )
    command = [sys.executable, "-c", SOON, *WORDS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "one had no answer within 1 second" in done.stdout
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        "error: a worker did not end within 3 seconds of the call",
        "  try: let CancelledError through in the code of your workers",
    ]
