"""The engine `claude`: the real SDK and the CLI that it bundles, with a fake Anthropic."""

import asyncio
import json
import os
import socket
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from pipecat_workers_cli.errors import PmwError
from pipecat_workers_cli.workers.code.claude import ClaudeEngine
from pipecat_workers_cli.workers.code.fence import Fence
from tests.fakes.acme import ToolCall
from tests.fakes.anthropic import FakeAnthropic, last_text, tool_results
from tests.fakes.provider import Behaviour

FOREIGN = {
    "OPENAI_API_KEY": "OPENAI-SECRET",
    "DATABASE_URL": "postgresql://u:DATABASE-SECRET@localhost/x",
    "MY_OWN_TOKEN": "TOKEN-SECRET",
}


def obey(messages, _tools):
    """Make the tool call that the question spells out, and tell what came of it."""
    if results := tool_results(messages):
        told = [part["content"] for part in results]
        texts = [text if isinstance(text, str) else text[0]["text"] for text in told]
        return f"It says: {' '.join(texts)}"
    question = last_text(messages)
    if question.startswith("{"):
        return ToolCall(**json.loads(question))
    return f"You asked: {question}"


def call(name, **arguments):
    return json.dumps({"name": name, "arguments": arguments})


@pytest.fixture
async def fake(monkeypatch):
    async with FakeAnthropic(obey) as fake:
        for name, value in (fake.environment | FOREIGN).items():
            monkeypatch.setenv(name, value)
        yield fake


@pytest.fixture
async def engine(fake, hostile, monkeypatch, tmp_path):
    """An engine whose process and files are gone when it is left."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = children()
    async with ClaudeEngine(Fence(hostile)) as engine:
        yield engine
    assert children() <= before
    assert not list(scratch.iterdir())


def children():
    return {child.pid for child in psutil.Process().children(recursive=True) if is_alive(child)}


def is_alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def session():
    """The process of the one session there is."""
    [found] = [
        child
        for child in psutil.Process().children()
        if is_alive(child) and child.name().startswith("claude")
    ]
    return found


@asynccontextmanager
async def asking(engine, question, steps):
    """Have a question under way."""
    task = asyncio.create_task(engine.ask(question, steps))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=10)


async def test_two_questions_a_cancelled_one_and_a_fourth_with_its_own_answer(
    engine, fake, steps, hostile
):
    first = await engine.ask(call("Read", file_path=f"{hostile}/src/app.py"), steps)
    assert "Count how often each name comes" in first.text
    second = await engine.ask(call("Grep", pattern="tally", output_mode="content"), steps)
    assert "src/app.py:8:def tally(names):" in second.text
    assert steps.texts == ["reading src/app.py", "searching for tally"]
    assert [step.tool for step in steps.seen] == ["Read", "Grep"]
    # Each cost is of its own answer, though the SDK tells sums: two requests each.
    assert first.cost_usd == second.cost_usd > 0

    fake.behaviour = Behaviour.STALL
    async with asking(engine, "What is the STALE answer?", steps) as third:
        await fake.until(lambda: len(fake.asked) == 5)
        third.cancel()
        began = asyncio.get_running_loop().time()
        with pytest.raises(asyncio.CancelledError):
            await third
        assert asyncio.get_running_loop().time() - began < 2
    fake.behaviour = Behaviour.NORMAL

    process = session()
    fourth = await engine.ask("And who calls it?", steps)
    assert fourth.text == "You asked: And who calls it?"
    assert session() == process  # it was interrupted, not replaced
    history = json.dumps(fake.asked[-1].body["messages"])
    assert "def tally(names)" in history  # one conversation: the earlier answers are known


async def test_a_long_answer_that_is_streaming_can_be_cancelled(engine, fake, steps):
    fake.script = lambda messages, tools: (
        "word " * 20_000 if "long" in last_text(messages) else obey(messages, tools)
    )
    async with asking(engine, "Something long", steps) as task:
        await fake.until(lambda: bool(fake.asked))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await engine.ask("Short?", steps)).text == "You asked: Short?"


async def test_questions_at_once_are_answered_in_turn_after_one_cancelled_at_the_start(
    engine, fake, steps
):
    async with asking(engine, "Too early", steps) as task:
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    questions = [f"Question {number}?" for number in range(4)]
    answers = await asyncio.gather(*(engine.ask(question, steps) for question in questions))
    assert [answer.text for answer in answers] == [f"You asked: {text}" for text in questions]
    assert "Too early" not in fake.everything


ABUSES = {
    "a file outside": call("Read", file_path="/etc/passwd"),
    "a climb": call("Read", file_path="../outside/secret.txt"),
    "a link to a folder": call("Read", file_path="leak/secret.txt"),
    "a link to a file": call("Read", file_path="leak.txt"),
    "home": call("Read", file_path="~/.bashrc"),
    "a process": call("Read", file_path="/proc/self/environ"),
    "a search outside": call("Grep", pattern="tally", path="..", output_mode="content"),
    "a search through a link": call("Grep", pattern="tally", path="leak", output_mode="content"),
    "a search of a link": call("Grep", pattern="tally", path="leak.txt", output_mode="content"),
    "a search of secrets": call("Grep", pattern="PASSWORD", path=".env", output_mode="content"),
    "a list outside": call("Glob", pattern="../outside/*"),
    "an absolute list": call("Glob", pattern="/etc/*"),
    "a list through a link": call("Glob", pattern="leak/*"),
    "a list from elsewhere": call("Glob", pattern="*", path="/etc"),
    "a secret": call("Read", file_path=".env"),
    "a private key": call("Read", file_path="src/id_rsa"),
    "git's own files": call("Read", file_path=".git/config"),
}


PASSWD = Path("/etc/passwd").read_text().splitlines()[0]


async def test_every_way_out_or_to_change_something_is_refused_in_one_session(
    engine, fake, steps, hostile, outside
):
    changes = {
        "a shell": call("Bash", command=f"touch {outside}/SHELL"),
        "a write": call("Write", file_path=f"{hostile}/new.txt", content="x"),
        "an edit": call(
            "Edit", file_path=f"{hostile}/src/app.py", old_string="LIMIT", new_string="X"
        ),
        "a page": call("WebFetch", url=fake.url, prompt="x"),
        "a helper": call("Task", description="x", prompt="x", subagent_type="general-purpose"),
    }
    before = (hostile / "src" / "app.py").read_text()
    for name, question in (ABUSES | changes).items():
        await engine.ask(question, steps)
        [result] = tool_results(fake.asked[-1].body["messages"])
        assert result.get("is_error"), name
    assert steps.seen == []  # what is refused was not done
    sent = fake.everything
    for secret in ("OUTSIDE", "INSIDE-SECRET", "PRIVATE-KEY", "fsmonitor", PASSWD):
        assert secret not in sent
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]
    assert not (hostile / "new.txt").exists()
    assert (hostile / "src" / "app.py").read_text() == before
    tools = {tool["name"] for tool in fake.asked[0].body["tools"]}
    assert tools >= {"Read", "Glob", "Grep"}
    assert not {"Bash", "Write", "Edit"} & tools


async def test_the_session_knows_no_foreign_key_nor_what_the_project_hides_runs_or_demands(
    engine, fake, steps, outside, hostile
):
    await engine.ask(call("Read", file_path=f"{hostile}/src/app.py"), steps)
    await engine.ask("Thank you", steps)
    found = await engine.ask(call("Grep", pattern="tally|PASSWORD", output_mode="content"), steps)
    assert "def tally" in found.text
    listed = await engine.ask(call("Glob", pattern="**/*"), steps)
    assert "src/app.py" in listed.text
    for secret in ("OUTSIDE", "INSIDE-SECRET", "PRIVATE-KEY", "secret.txt"):
        assert secret not in fake.everything.replace("settings.local", "")

    assert [path.name for path in outside.iterdir()] == ["secret.txt"]
    assert "MEMORY" not in fake.everything
    assert not [tool for tool in fake.asked[0].body["tools"] if "theirs" in tool["name"]]

    seen = session().environ()
    assert seen["ANTHROPIC_API_KEY"] == fake.key
    for name in FOREIGN:
        assert not seen.get(name)
    assert "SECRET" not in json.dumps(seen)


async def test_marks_in_a_question_are_words_and_nothing_is_asked_beside_it(
    engine, fake, steps, outside
):
    marks = ("What is in @{}?", "/init", "/{}", "!cat {}", "#x @{}")
    for number, question in enumerate(marks, start=1):
        asked = question.format(outside / "secret.txt")
        answer = await engine.ask(asked, steps)
        assert answer.text == f"You asked: {asked}"
        assert len(fake.requests) == number  # no title, no probe
    assert "OUTSIDE" not in fake.everything
    assert {seen.path for seen in fake.requests} == {"/v1/messages"}
    assert all("sonnet" in seen.body["model"] for seen in fake.requests)


async def test_a_shell_that_was_allowed_runs_without_the_other_keys(fake, hostile, outside, steps):
    async with ClaudeEngine(Fence(hostile), allow_bash=True) as engine:
        answer = await engine.ask(call("Bash", command="echo shell; env"), steps)
        assert "shell" in answer.text
        assert steps.texts == ["running echo shell; env"]
        await engine.ask(call("Read", file_path="/etc/passwd"), steps)
        [result] = tool_results(fake.asked[-1].body["messages"])
        assert result["is_error"]  # the fence stays for what is not the shell
    for secret in FOREIGN.values():
        assert secret not in fake.everything


async def test_a_process_that_died_is_replaced_and_told_of_only_in_the_middle_of_an_answer(
    engine, fake, steps
):
    await engine.ask("Hello", steps)
    process = session()
    process.kill()
    process.wait(5)
    assert (await engine.ask("Alive?", steps)).text == "You asked: Alive?"

    fake.behaviour = Behaviour.STALL
    before = len(fake.asked)
    async with asking(engine, "Doomed", steps) as task:
        await fake.until(lambda: len(fake.asked) > before)
        session().kill()
        with pytest.raises(PmwError, match="process ended"):
            await asyncio.wait_for(task, 5)
    fake.behaviour = Behaviour.NORMAL
    assert (await engine.ask("Again?", steps)).text == "You asked: Again?"


async def test_a_frozen_process_is_given_up_within_two_seconds_of_a_cancel(fake, hostile, steps):
    async with ClaudeEngine(Fence(hostile)) as engine:
        fake.behaviour = Behaviour.STALL
        async with asking(engine, "Frozen", steps) as task:
            await fake.until(lambda: bool(fake.asked))
            frozen = session()
            frozen.suspend()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 2)
        fake.behaviour = Behaviour.NORMAL
        answer = await engine.ask("Alive?", steps)
        assert answer.text == "You asked: Alive?"
        frozen.kill()  # else leaving waits for the SDK's own deadlines


async def test_a_wrong_key_is_two_lines_without_the_key(engine, fake, steps, monkeypatch):
    wrong = "sk-ant-wrong-that-must-not-show"
    monkeypatch.setenv("ANTHROPIC_API_KEY", wrong)
    with pytest.raises(PmwError) as refused:
        await asyncio.wait_for(engine.ask("Hello", steps), 20)
    assert refused.value.what == "Anthropic refused the key (401)"
    assert "--engine search" in refused.value.mend
    assert wrong not in f"{refused.value!r} {refused.value.mend}"


async def test_a_limit_is_told_of_and_the_next_question_is_answered(engine, fake, steps):
    fake.behaviour = Behaviour.LIMIT
    with pytest.raises(PmwError, match="can't answer now"):
        await asyncio.wait_for(engine.ask("Hello", steps), 30)
    fake.behaviour = Behaviour.NORMAL
    assert (await engine.ask("Again?", steps)).text == "You asked: Again?"


async def test_a_server_that_is_not_there_is_no_fault_of_the_question(
    engine, fake, steps, monkeypatch
):
    with socket.socket() as held:  # bound and not listening: refused at once
        held.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(PmwError, match="Anthropic can't be reached"):
            await asyncio.wait_for(engine.ask("Hello", steps), 30)


async def test_a_model_that_is_not_there_is_named(fake, hostile, steps):
    async with ClaudeEngine(Fence(hostile), model="no-such-model") as engine:
        with pytest.raises(PmwError, match="no model 'no-such-model'"):
            await engine.ask("Hello", steps)


async def test_steps_without_end_stop_at_the_bound(fake, hostile, steps):
    fake.script = lambda _messages, _tools: ToolCall("Glob", {"pattern": "*.py"})
    async with ClaudeEngine(Fence(hostile), max_turns=3) as engine:
        with pytest.raises(PmwError, match="no answer after 3 steps"):
            await engine.ask("For ever", steps)
        assert steps.texts == ["listing *.py"] * 3
        fake.script = obey
        assert (await engine.ask("Again?", steps)).text == "You asked: Again?"


async def test_an_answer_that_takes_too_long_is_stopped(fake, hostile, steps):
    async with ClaudeEngine(Fence(hostile), answer_within=5.0) as engine:
        await engine.ask("Hello", steps)
        fake.behaviour = Behaviour.STALL
        with pytest.raises(PmwError, match="no answer within 5 seconds"):
            await engine.ask("Slow", steps)
        fake.behaviour = Behaviour.NORMAL
        assert (await engine.ask("Fast?", steps)).text == "You asked: Fast?"


async def test_without_a_key_nothing_starts(hostile, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    before = children()
    with pytest.raises(PmwError, match="ANTHROPIC_API_KEY is not set"):
        async with ClaudeEngine(Fence(hostile)):
            pass
    assert children() == before
    assert os.environ.get("ANTHROPIC_API_KEY") is None
