"""Jobs by way of others: specialists who ask specialists, agents behind the bridge."""

import asyncio

import pytest
from loguru import logger
from pipecat.bus import (
    BusEndMessage,
    BusJobRequestMessage,
    BusJobResponseMessage,
)
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.pipeline.job_context import JobParams
from pipecat.workers.base_worker import BaseWorker

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.recipe.model import Rule
from pipecat_workers_cli.services.providers import Persona
from pipecat_workers_cli.services.scripted import ScriptedLLMService
from pipecat_workers_cli.workers.agent import Agent
from pipecat_workers_cli.workers.job_tool import job_tool
from pipecat_workers_cli.workers.jobs import (
    Answering,
    JobFailed,
    JobsEnd,
)
from pipecat_workers_cli.workers.specialist import Specialist
from tests.workers.asking import (
    FAST,
    Member,
    asks,
    once,
    talk,
)
from tests.workers.conftest import RehearsedLLM, agent, bench, tool


class Asker(JobsEnd, BaseWorker):
    """Asks; has nothing to say itself."""


def expert(name: str, asking: str) -> Specialist:
    """Build a specialist that passes each question on to another worker."""
    rules = (
        Rule(on="tool:ask", say="I heard: {result}"),
        Rule(call="ask", args={"question": "{text}"}),
    )
    llm = ScriptedLLMService(persona=Persona(name, script=rules))
    return Specialist(name, llm=llm, tools=[job_tool(asks(asking), summaries={})])


async def ask_one(asker: BaseWorker, name: str, question: str, within: float = 5) -> str:
    params = JobParams(payload={"question": question}, timeout=within)
    async with asker.job(name, params=params) as one:
        pass
    return one.response["answer"]


async def test_a_specialist_may_ask_a_specialist():
    asker, bus = Asker("asker"), LocalBus()
    async with running([asker, expert("one", "two"), expert("two", "ann"), Member("ann")], bus):
        assert await ask_one(asker, "one", "why?") == "I heard: I heard: WHY?"


async def test_cancelling_the_first_of_a_chain_cancels_the_last():
    asker, ann, bus = Asker("asker"), Member("ann"), LocalBus()
    async with running([asker, expert("one", "two"), expert("two", "ann"), ann], bus):
        with pytest.raises(Exception, match="timeout"):
            await ask_one(asker, "one", "wait here", within=0.2)
        async with asyncio.timeout(2):
            while not ann.cancelled:  # noqa: ASYNC110  # a plain worker has no event for it
                await asyncio.sleep(0.001)
        assert await ask_one(asker, "one", "and now?") == "I heard: I heard: AND NOW?"


async def test_two_who_ask_the_same_worker_at_once_get_each_their_own_answer():
    asker, bus = Asker("asker"), LocalBus()
    async with running([asker, expert("one", "ann"), expert("two", "ann"), Member("ann")], bus):
        for number in range(20):
            answers = await asyncio.gather(
                ask_one(asker, "one", f"one {number}"), ask_one(asker, "two", f"two {number}")
            )
            assert answers == [f"I heard: ONE {number}", f"I heard: TWO {number}"]


async def test_an_agent_has_its_answer_and_its_filler_by_way_of_the_bridge():
    ann, ask = Member("ann"), asks("ann", filler=FAST)
    joe = Agent("joe", llm=once("wait"), transfers={}, tools=[job_tool(ask, summaries={})])
    async with bench(joe, ann, opener="joe") as call:
        await call.output.first(TTSSpeakFrame)
        ann.go.set()
        await call.until(lambda: "Here you are." in str(call.main.conversation.get_messages()))
        assert "WAIT" in str(call.main.conversation.get_messages())
        assert [frame.text for frame in call.output.of(TTSSpeakFrame)] == ["One moment."]


async def test_what_an_agent_asked_besides_handing_the_call_over_is_given_up():
    ann, ask = Member("ann"), asks("ann", filler=FAST)
    transfer = tool("transfer_to_agent", agent="bob", reason="asks for bob")
    llm = RehearsedLLM([[tool("ask", question="wait"), transfer]], ["Joe again."])
    joe = Agent("joe", llm=llm, transfers={"bob": ""}, tools=[job_tool(ask, summaries={})])
    async with bench(joe, agent("bob", Rule(say="Bob here.")), ann, opener="joe") as call:
        await call.until(lambda: "Bob here." in str(call.main.conversation.get_messages()))
        assert ann.cancelled == ann.asked
        assert not joe.job_groups
        messages = str(call.main.conversation.get_messages())
        assert "CANCELLED" in messages
        assert "IN_PROGRESS" not in messages
        assert "Joe again." not in messages
        assert not call.output.of(TTSSpeakFrame)


async def test_what_was_asked_besides_saying_goodbye_is_given_up_and_goodbye_is_said():
    ann = Member("ann")
    goodbye = tool("end_conversation", reason="all is said")
    llm = RehearsedLLM([[tool("ask", question="wait"), goodbye]], ["Goodbye!"])
    async with talk(ann, llm=llm, ask=asks("ann", filler=FAST)) as call:
        await call.say("Bye.")
        await call.until(lambda: call.sent(BusEndMessage))
        assert call.words() == "Goodbye!"
        assert ann.cancelled == ann.asked
        assert not call.main.job_groups


class Stubborn(Answering, BaseWorker):
    """Answers, or raises, although it is being cancelled."""

    def __init__(self, name: str, raises: Exception | None) -> None:
        super().__init__(name)
        self._raises = raises
        self.began = asyncio.Event()

    async def answer(self, job: BusJobRequestMessage) -> dict:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self._raises:
                raise self._raises from None
        return {"answer": "all the same"}


@pytest.mark.parametrize("raises", [None, ValueError("late"), JobFailed("late")])
async def test_who_answers_while_being_cancelled_answers_once(raises):
    stumbles: list[str] = []
    sink = logger.add(stumbles.append, level="ERROR", filter="pipecat.bus")
    asker, bus, stubborn = Asker("asker"), LocalBus(), Stubborn("stubborn", raises)
    async with running([asker, stubborn, Member("ann")], bus):
        asking = asyncio.create_task(ask_one(asker, "stubborn", "why?"))
        await asyncio.wait_for(stubborn.began.wait(), 2)
        asking.cancel()
        await asyncio.wait({asking}, timeout=2)
        assert asking.cancelled()
        await ask_one(asker, "ann", "next")  # its answer comes after all that was under way
        async with asyncio.timeout(2):
            while stubborn.active_jobs:  # noqa: ASYNC110  # a plain worker has no event for it
                await asyncio.sleep(0.001)
        sent = [m for _, m in bus.recent if isinstance(m, BusJobResponseMessage)]
        assert [m.source for m in sent].count("stubborn") == 1
    logger.remove(sink)
    assert not stumbles  # Pipecat answers a cancelled job too, and does not like to be the second
