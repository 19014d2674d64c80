"""The code worker on a bus: whoever asks it by a job, and what arrives there."""

import asyncio
import time
from contextlib import asynccontextmanager

import psutil
import pytest
from pipecat.pipeline.job_context import JobError, JobGroupEvent, JobParams
from pipecat.workers.base_worker import BaseWorker
from pydantic import ValidationError

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import EngineName, Profile, Trust
from pipecat_workers_cli.workers.coder import Coder
from pipecat_workers_cli.workers.jobs import JobsEnd
from tests.fakes.acme import ToolCall
from tests.fakes.anthropic import FakeAnthropic, last_text, tool_results
from tests.fakes.provider import Behaviour
from tests.waiting import until


class Asker(JobsEnd, BaseWorker):
    """Asks; has nothing to say itself."""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "app.py").write_text(
        'def tally():\n    """Count."""\n\n\ndef run():\n    tally()\n'
    )
    return tmp_path


@pytest.fixture
async def fake(monkeypatch):
    def script(messages, _tools):
        if tool_results(messages):
            return "It counts."
        text = last_text(messages)
        if "read" in text:
            return ToolCall("Read", {"file_path": "app.py"})
        return f"You asked: {text}"

    async with FakeAnthropic(script) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake


@asynccontextmanager
async def together(coder):
    """Run the coder and somebody who asks; no process of the coder's stays behind."""
    before = children()
    asker = Asker("asker")
    async with running([asker, coder], LocalBus()):
        yield asker
    assert children() <= before


def children():
    found = psutil.Process().children(recursive=True)
    return {child.pid for child in found if child.status() != psutil.STATUS_ZOMBIE}


def claude():
    [found] = [child for child in psutil.Process().children() if child.name().startswith("claude")]
    return found


async def ask(asker, question, updates=None):
    params = JobParams(payload={"question": question}, timeout=30)
    async with asker.job("coder", params=params) as job:
        async for event in job:
            if updates is not None and event.type == JobGroupEvent.UPDATE:
                updates.append(event.data)
    return job.response


async def ask_in_vain(asker, question):
    """Ask what can't be answered, and return why."""
    job = asker.job("coder", params=JobParams(payload={"question": question}, timeout=30))
    with pytest.raises(JobError):
        async with job:
            pass
    return job.response["error"]


async def test_a_search_answers_and_tells_its_steps_in_words_and_as_tool_calls(root):
    updates = []
    async with together(Coder("coder", path=str(root))) as asker:
        response = await ask(asker, "Where is tally defined?", updates)
        again = await ask(asker, "And who calls it?")
    assert response == {
        "answer": "tally is a function in app.py lines 1 to 2. It says: Count.",
        "engine": "search",
    }
    assert "by run in app.py line 6" in again["answer"]
    progress, call, result = updates
    assert progress == {"type": "progress", "text": "looking for tally"}
    assert (call["type"], call["name"], call["args"]) == (
        "tool_call",
        "find_definition",
        {"name": "tally"},
    )
    assert result == {**call, "result": {"status": "done"}}


async def test_claude_answers_with_its_cost_and_tells_what_it_reads(root, fake):
    updates = []
    async with together(Coder("coder", path=str(root))) as asker:
        response = await ask(asker, "Please read the app", updates)
    assert (response["answer"], response["engine"]) == ("It counts.", "claude")
    assert response["cost_usd"] > 0
    assert updates[0] == {"type": "progress", "text": "reading app.py"}
    assert (updates[1]["name"], updates[1]["args"]) == ("Read", {"file_path": "app.py"})


async def test_a_cancelled_question_is_stopped_and_the_next_gets_its_own_answer(root, fake):
    async with together(Coder("coder", path=str(root))) as asker:
        await ask(asker, "First")
        fake.behaviour = Behaviour.STALL
        task = asyncio.create_task(ask(asker, "Stale"))
        await fake.until(lambda: len(fake.asked) == 2)
        process = claude()
        task.cancel()
        await asyncio.wait([task], timeout=5)
        fake.behaviour = Behaviour.NORMAL
        response = await ask(asker, "Next")
        assert response["answer"] == "You asked: Next"
        assert claude() == process


async def test_a_killed_process_is_an_error_in_words_and_the_next_question_is_answered(root, fake):
    async with together(Coder("coder", path=str(root))) as asker:
        fake.behaviour = Behaviour.STALL
        task = asyncio.create_task(ask_in_vain(asker, "Doomed"))
        await fake.until(lambda: bool(fake.asked))
        claude().kill()
        assert "Claude's process ended" in await asyncio.wait_for(task, 10)
        fake.behaviour = Behaviour.NORMAL
        assert (await ask(asker, "Next"))["answer"] == "You asked: Next"


async def test_questions_at_once_are_answered_each_to_its_asker(root, fake):
    async with together(Coder("coder", path=str(root))) as asker:
        questions = [f"Question {number}" for number in range(4)]
        responses = await asyncio.gather(*(ask(asker, question) for question in questions))
    assert [response["answer"] for response in responses] == [
        f"You asked: {question}" for question in questions
    ]


async def test_a_job_without_a_question_fails_in_words(root):
    async with together(Coder("coder", path=str(root))) as asker:
        assert await ask_in_vain(asker, "  ") == "there was no question"


@pytest.mark.parametrize("granted", [False, True])
async def test_a_shell_is_granted_by_the_command_line_alone(root, fake, granted):
    coder = Coder("coder", path=str(root), trust=Trust(bash=granted))
    async with together(coder) as asker:
        await ask(asker, "Hello")
    tools = {tool["name"] for tool in fake.asked[0].body["tools"]}
    assert ("Bash" in tools) is granted
    with pytest.raises(ValidationError):
        Coder.Options.model_validate({"allow_bash": True})


def test_it_is_built_by_key_and_profile(root, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "")
    Coder("coder", path=str(root))
    with pytest.raises(PmwError, match="ANTHROPIC_API_KEY is not set"):
        Coder("coder", path=str(root), engine=EngineName.CLAUDE)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    Coder("coder", path=str(root), engine=EngineName.CLAUDE, profile=Profile.OFFLINE)


def test_a_path_that_is_no_folder_is_refused_before_anything_starts(root):
    with pytest.raises(ConfigurationError, match="is no folder"):
        Coder("coder", path=str(root / "app.py"))


@pytest.mark.parametrize(
    "options",
    [
        {"path": ""},
        {"engine": "gpt"},
        {"model": "a b"},
        {"model": "--dangerously-skip-permissions x"},
        {"max_turns": 0},
        {"max_turns": "ten"},
        {"bash": True},
        {"env": {}},
    ],
)
def test_options_of_a_wrong_shape_are_refused(options):
    with pytest.raises(ValidationError):
        Coder.Options.model_validate(options)


def test_options_left_out_have_their_defaults():
    options = Coder.Options.model_validate({"engine": "search"})
    assert (options.path, options.model, options.max_turns) == (".", "sonnet", 10)
    assert options.engine is EngineName.SEARCH


@pytest.mark.parametrize("asked", ["an answer under way", "a session that is starting"])
async def test_a_call_that_ends_in_mid_answer_leaves_no_process(root, fake, asked):
    fake.behaviour = Behaviour.STALL
    before = children()
    began = time.monotonic()
    async with together(Coder("coder", path=str(root))) as asker:
        task = asyncio.create_task(ask(asker, "Stale"))
        if asked == "an answer under way":
            await fake.until(lambda: bool(fake.asked), within=10)
        else:
            await until(lambda: children() > before)
        began = time.monotonic()
    assert time.monotonic() - began < 4
    task.cancel()
    await asyncio.wait([task], timeout=5)
