"""A specialist answers by its LLM, remembers, and is fit for the next question whatever happens."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.bus import BusJobUpdateMessage
from pipecat.pipeline.job_context import JobError, JobParams
from pipecat.workers.base_worker import BaseWorker

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.recipe.model import Rule
from pipecat_workers_cli.services.providers import Persona
from pipecat_workers_cli.services.scripted import ScriptedLLMService
from pipecat_workers_cli.workers.jobs import JobsEnd
from pipecat_workers_cli.workers.specialist import Specialist
from pipecat_workers_cli.workers.tools import Tool


class Asker(JobsEnd, BaseWorker):
    """Asks; has nothing to say itself."""


RULES = (
    Rule(match="slow", say="one two three four five", delay=0.3),
    Rule(match="look (?P<what>\\w+)", call="look_up", args={"what": "{what}"}),
    Rule(on="tool:look_up", say="It is {result.found}."),
    Rule(match="silent", say=" "),
    Rule(say=["First: {text}", "Then: {text}"]),
)


async def look_up(params) -> None:
    what = params.arguments["what"]
    if what == "wrong":
        raise LookupError(what)
    if what == "forever":
        await asyncio.Event().wait()
    await params.result_callback({"found": what.upper()})


LOOK_UP = Tool(
    FunctionSchema("look_up", "Looks up.", {"what": {"type": "string"}}, ["what"]), look_up
)


@asynccontextmanager
async def specialist():
    llm = ScriptedLLMService(persona=Persona("expert", script=RULES))
    bus, asker = LocalBus(), Asker("asker")
    async with running([asker, Specialist("expert", llm=llm, tools=[LOOK_UP])], bus):
        yield asker, bus


async def ask(asker: BaseWorker, question: str, within: float = 5) -> str:
    params = JobParams(payload={"question": question}, timeout=within)
    async with asker.job("expert", params=params) as one:
        pass
    return one.response["answer"]


async def test_the_completed_turn_is_the_answer_and_the_context_stays():
    async with specialist() as (asker, _):
        assert await ask(asker, "a?") == "First: a?"
        assert await ask(asker, "b?") == "Then: b?"


async def test_ten_questions_at_once_are_each_answered_to_their_asker():
    async with specialist() as (asker, _):
        await ask(asker, "warm up")
        questions = [f"question {number}" for number in range(10)]
        answers = await asyncio.gather(*(ask(asker, question) for question in questions))
    assert answers == [f"Then: {question}" for question in questions]


async def test_a_tool_is_waited_for_and_told_of():
    async with specialist() as (asker, bus):
        assert await ask(asker, "look here") == "It is HERE."
        updates = [m.update for _, m in bus.recent if isinstance(m, BusJobUpdateMessage)]
    called, done = updates
    assert {**called, "tool_call_id": ""} == {
        "type": "tool_call",
        "name": "look_up",
        "args": {"what": "here"},
        "tool_call_id": "",
    }
    assert done == {**called, "result": {"found": "HERE"}}


async def test_a_tool_that_raises_is_something_the_llm_can_speak_of():
    async with specialist() as (asker, _):
        assert await ask(asker, "look wrong")
        assert await ask(asker, "and now?") == "First: and now?"


@pytest.mark.parametrize("question", ["slow", "look forever"])
async def test_a_question_given_up_leaves_no_trace_in_the_next_answer(question):
    async with specialist() as (asker, _):
        for number in range(5):
            with pytest.raises(JobError, match="timeout"):
                await ask(asker, question, within=0.05)
            expected = "First" if number == 0 else "Then"
            assert await ask(asker, f"next {number}") == f"{expected}: next {number}"


async def test_having_nothing_to_say_is_an_error():
    async with specialist() as (asker, _):
        params = JobParams(payload={"question": "silent"}, timeout=5)
        failing = asker.job("expert", params=params)
        with pytest.raises(JobError):
            async with failing:
                pass
        assert failing.response == {"error": "it had nothing to say"}
        assert await ask(asker, "well?") == "First: well?"


async def test_a_long_conversation_is_cut_where_somebody_asks():
    async with specialist() as (asker, _):
        for number in range(200):
            await ask(asker, f"look n{number}" if number % 3 else f"tell {number}")
        worker = asker.worker_runner.get_worker("expert")
        messages = worker._conversation.context.get_messages()
    assert len(messages) <= 64
    assert messages[0]["role"] == "user"
