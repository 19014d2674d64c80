"""Code of the user's own that fails, as its author meets it: two lines, and a traceback by -v."""

import subprocess

import pytest

from tests.program import PMW

CODE = """
import asyncio
import os
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


@pytest.fixture
def run(tmp_path):
    def run_recipe(*words, kind="specialist", main=""):
        (tmp_path / "own.py").write_text(CODE)
        (tmp_path / "broken.py").write_text("import os\nKEY = os.environ['NOT_THERE']\n")
        (tmp_path / "mine.toml").write_text(RECIPE.format(kind=kind, main=main))
        command = [*PMW, "run", "./mine.toml"]
        return subprocess.run(
            [*command, "--services", "offline", "--say", "Where is it?", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run_recipe


def test_a_class_that_can_not_be_imported_is_a_fault_of_the_recipe(run):
    done = run(kind="broken:Worker")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "error: mine.toml:8: workers.one.kind = 'broken:Worker': "
        "broken can't be imported: KeyError: 'NOT_THERE' (broken.py:2)",
        "  try: mend the code; see it all with -v",
    ]
    done = run("-v", kind="broken:Worker")
    assert "KEY = os.environ['NOT_THERE']" in done.stderr
    assert done.stderr.splitlines()[-1] == "  try: mend the code; see it all with -v"


def test_a_class_that_raises_when_it_is_built_ends_the_call_before_it_began(run):
    done = run(kind="own:Raises")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "error: worker 'one' of kind 'own:Raises' can't be built: "
        "OSError: no shelf for *** (own.py:8)",
        "  try: mend its class; see it all with -v",
    ]


def test_a_tool_that_raises_ends_a_scripted_call_with_what_it_raised(run):
    done = run(main='tools = ["own:find_order"]')
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: no answer: main: Error executing function call [find_order]: no order for ***",
        "  try: mend its code; see where it failed with -v",
    ]


def test_a_worker_that_does_not_let_itself_be_cancelled_is_left_behind(run):
    done = run(
        kind="own:Stubborn",
        main='jobs = [{ tool = "ask", workers = ["one"], timeout = 1 }]',
    )
    assert "one had no answer within 1 second" in done.stdout
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        "error: a worker did not end within 12 seconds of the call",
        "  try: let CancelledError through in the code of your workers",
    ]
