"""A tool that other workers answer: what the LLM is told, whatever becomes of the jobs."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from loguru import logger
from pipecat.bus import (
    BusEndMessage,
    BusJobCancelMessage,
    BusJobRequestMessage,
    BusJobResponseMessage,
)
from pipecat.frames.frames import InterruptionFrame, LLMMessagesAppendFrame, TTSSpeakFrame
from pipecat.pipeline.job_context import JobParams, JobStatus
from pipecat.pipeline.job_decorator import job as job_handler
from pipecat.workers.base_worker import BaseWorker

from pipecat_workers_cli.buses.local import LocalBus
from pipecat_workers_cli.call.run import running
from pipecat_workers_cli.recipe.model import Filler, JobTool, Rule
from pipecat_workers_cli.services.providers import Persona
from pipecat_workers_cli.services.scripted import ScriptedLLMService
from pipecat_workers_cli.transports.console import ConsoleTransport
from pipecat_workers_cli.workers.agent import Agent
from pipecat_workers_cli.workers.job_tool import job_tool
from pipecat_workers_cli.workers.jobs import (
    Answering,
    JobFailed,
    JobsEnd,
    question_of,
    with_ending_jobs,
)
from pipecat_workers_cli.workers.main import Line
from pipecat_workers_cli.workers.specialist import Specialist
from pipecat_workers_cli.workers.talking import TalkingMain
from tests.workers.conftest import Bench, Frames, RehearsedLLM, agent, bench, tool

FAST = Filler(say="One moment.", after=0.02)


class Member(Answering, BaseWorker):
    """Answers by what it was made for; notes what it was asked and what was cancelled."""

    def __init__(self, name: str, answers: Callable[[str], Any] = str.upper) -> None:
        super().__init__(name)
        self._answers = answers
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.go = asyncio.Event()

    async def answer(self, job: BusJobRequestMessage) -> dict:
        question = question_of(job)
        self.asked.append(question)
        try:
            if "wait" in question:
                await self.go.wait()
            return {"answer": self._answers(question)}
        except asyncio.CancelledError:
            self.cancelled.append(question)
            raise


class Stranger(BaseWorker):
    """Answers whatever it was made for, as it likes."""

    def __init__(self, name: str, response: Any, status: JobStatus = JobStatus.COMPLETED) -> None:
        super().__init__(name)
        self._response = response
        self._status = status

    @job_handler(name="odd")
    async def on_odd(self, message: BusJobRequestMessage) -> None:
        await self.send_job_response(message.job_id, self._response, status=self._status)


def fails(_question: str) -> str:
    raise ValueError("the password is hunter2")


def refuses(_question: str) -> str:
    raise JobFailed("that is not known")


class Talk(Bench):
    """A talking main worker whose LLM has one job tool, `ask`."""

    async def say(self, text: str) -> None:
        message = {"role": "user", "content": text}
        await self.main.queue_frame(LLMMessagesAppendFrame([message], run_llm=True))

    async def interrupt(self) -> None:
        await self.main.queue_frame(InterruptionFrame())

    def results(self) -> list[Any]:
        """What the LLM was told by its tool, oldest first."""
        told = [m["content"] for m in self.main.conversation.get_messages() if m["role"] == "tool"]
        return [json.loads(text) for text in told if text.startswith(("{", "[", '"'))]

    def fillers(self) -> list[str]:
        return [frame.text for frame in self.output.of(TTSSpeakFrame)]

    def words(self) -> str:
        """What the main worker's LLM has said so far."""
        messages = self.main.conversation.get_messages()
        texts = [m.get("content") for m in messages if m["role"] == "assistant"]
        return " ".join(text for text in texts if isinstance(text, str))


@asynccontextmanager
async def talk(
    *members: BaseWorker, llm: RehearsedLLM, ask: JobTool, opening: str | None = None
) -> AsyncIterator[Talk]:
    bus, transport = LocalBus(), ConsoleTransport()
    tools = [job_tool(ask, summaries={})]
    main = TalkingMain("main", Line(transport=transport), llm=llm, opening=opening, tools=tools)
    output = Frames(transport.output())
    async with running([main, *members], bus):
        yield Talk(main, bus, output)


def asks(*workers: str, **more: Any) -> JobTool:
    return JobTool(tool="ask", workers=workers, **{"timeout": 5.0, **more})


def once(question: Any = "why?") -> RehearsedLLM:
    return RehearsedLLM([tool("ask", question=question)], ["Here you are."])


async def told(members: list[BaseWorker], ask: JobTool, question: Any = "why?") -> Any:
    """Return what the LLM is told by one call of the tool; it must go on to speak of it."""
    async with talk(*members, llm=once(question), ask=ask) as call:
        await call.say("Ask them.")
        await call.until(lambda: "Here you are." in call.words())
        [result] = call.results()
    return result


async def test_the_answer_of_one_worker_is_its_words():
    assert await told([Member("ann")], asks("ann")) == "WHY?"


async def test_the_answers_of_several_workers_stand_under_their_names():
    answers = await told([Member("ann"), Member("bob")], asks("ann", "bob"))
    assert answers == {"ann": "WHY?", "bob": "WHY?"}


TROUBLES = {
    "it raises": (lambda: Member("bob", fails), "bob failed: ValueError"),
    "it refuses": (lambda: Member("bob", refuses), "that is not known"),
    "it is late": (lambda: Member("bob"), "bob had no answer within 0.3 seconds"),
    "it has no words": (lambda: Member("bob", lambda _: ""), "bob had no answer"),
    "it isn't there": (lambda: Member("eve"), "no worker is called bob"),
}


def question_for(trouble: str) -> str:
    return "wait, why?" if trouble == "it is late" else "why?"


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_member_in_trouble_costs_only_itself_and_is_named(trouble):
    bob, ann, zoe = TROUBLES[trouble][0](), Member("ann"), Member("zoe")
    for quick in (ann, zoe):
        quick.go.set()
    question = question_for(trouble)
    answers = await told([bob, ann, zoe], asks("ann", "bob", "zoe", timeout=0.3), question)
    assert answers == {"ann": question.upper(), "zoe": question.upper(), "missing": ["bob"]}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_the_llm_is_told_why_the_only_worker_gave_no_answer(trouble):
    make, reason = TROUBLES[trouble]
    answer = await told([make()], asks("bob", timeout=0.3), question_for(trouble))
    assert answer == {"error": reason}


async def test_all_may_be_missing():
    assert await told([Member("ann", fails)], asks("ann", "bob")) == {"missing": ["ann", "bob"]}


@pytest.mark.parametrize("several", [True, False], ids=["of a group", "alone"])
async def test_a_member_that_dies_in_mid_answer_costs_only_itself(several):
    ann, bob = Member("ann"), Member("bob")
    ann.go.set()
    names = ("ann", "bob") if several else ("bob",)
    async with talk(ann, bob, llm=once("wait"), ask=asks(*names)) as call:
        await call.say("Ask them.")
        await call.until(lambda: bob.asked)
        await bob.stop()
        await call.until(lambda: "Here you are." in call.words())
        [result] = call.results()
    missing = {"ann": "WAIT", "missing": ["bob"]}
    assert result == (missing if several else {"error": "bob had no answer"})


async def test_a_worker_that_has_left_is_missed_within_a_second():
    gone = Member("bob")
    llm = RehearsedLLM([tool("ask", question="why?")], ["Here you are."])
    async with talk(Member("ann"), gone, llm=llm, ask=asks("ann", "bob", timeout=30)) as call:
        await gone.stop()
        async with asyncio.timeout(2):
            await call.say("Ask them.")
            await call.until(lambda: "Here you are." in call.words())
        assert call.results() == [{"ann": "WHY?", "missing": ["bob"]}]


LOOP: list[Any] = []
LOOP.append(LOOP)
ODD = [
    ({"answer": 0}, {"answer": 0}),
    ({"answer": False}, {"answer": False}),
    ({"answer": []}, {"answer": []}),
    ({"answer": {"celsius": 21.5}}, {"celsius": 21.5}),
    ({"celsius": 21.5, "error": None}, {"celsius": 21.5, "error": None}),
    ({"answer": {1: {2}, (3,): 4}}, {"1": "{2}"}),
    ({"answer": LOOP}, {"error": "it can't be put in words"}),
    ("bare words", "bare words"),
    ([1, 2], [1, 2]),
    (None, {"error": "odd had no answer"}),
    ({}, {"error": "odd had no answer"}),
]


@pytest.mark.parametrize(("response", "expected"), ODD, ids=range(len(ODD)))
async def test_a_strangers_answer_may_be_of_any_type(response, expected):
    odd = with_ending_jobs(Stranger)("odd", response)
    assert await told([odd], asks("odd", job="odd")) == expected


async def test_an_answer_that_is_no_number_is_told_all_the_same():
    odd = with_ending_jobs(Stranger)("odd", {"answer": {"mean": math.nan}})
    assert math.isnan((await told([odd], asks("odd", job="odd")))["mean"])


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.ERROR])
@pytest.mark.parametrize("response", [None, {"answer": "half of it"}, "words"])
async def test_a_strangers_failure_is_one_even_if_it_gives_no_reason(status, response):
    odd = with_ending_jobs(Stranger)("odd", response, status)
    answers = await told([odd, Member("ann")], asks("ann", "odd", job="odd"))
    assert answers == {"ann": "WHY?", "missing": ["odd"]}


@pytest.mark.parametrize(
    ("argument", "asked"),
    [(None, ""), (7, "7"), (["a", {"b": 1}], '["a", {"b": 1}]'), ("x" * 20_000, "x" * 16_384)],
    ids=["nothing", "a number", "a list", "very long"],
)
async def test_an_argument_of_any_type_is_asked_as_words(argument, asked):
    ann = Member("ann", lambda _: "yes")
    await told([ann], asks("ann"), argument)
    assert ann.asked == [asked]


async def test_two_calls_in_one_response_are_answered_each_and_the_llm_speaks_once():
    llm = RehearsedLLM(
        [[tool("ask", question="a wait"), tool("ask", question="b wait")]], ["Both."], ["Again."]
    )
    members = [Member("ann"), Member("bob")]
    async with talk(*members, llm=llm, ask=asks("ann", "bob", filler=FAST)) as call:
        await call.say("Ask twice.")
        await call.until(call.fillers)
        for member in members:
            member.go.set()
        await call.until(lambda: "Both." in call.words())
        results = call.results()
        assert results == [{"ann": f"{q} WAIT", "bob": f"{q} WAIT"} for q in "AB"]
        await call.say("ping")
        await call.until(lambda: "Again." in call.words())
        assert call.words() == "Both. Again."
        assert call.fillers() == ["One moment."]


async def test_an_interruption_cancels_the_group_and_its_members_are_fit_for_the_next_round():
    members = [Member("ann"), Member("bob")]
    llm = RehearsedLLM([tool("ask", question="wait")], [tool("ask", question="next")], ["Done."])
    async with talk(*members, llm=llm, ask=asks("ann", "bob", filler=FAST)) as call:
        await call.say("Ask.")
        await call.until(lambda: all(member.asked for member in members))
        await call.interrupt()
        await call.until(lambda: all(member.cancelled for member in members))
        cancelled = {message.target for message in call.sent(BusJobCancelMessage)}
        assert cancelled == {"ann", "bob"}
        await call.say("Ask again.")
        await call.until(lambda: "Done." in call.words())
        assert call.results()[-1] == {"ann": "NEXT", "bob": "NEXT"}
        assert not call.main.job_groups


async def test_interruptions_at_any_moment_leave_nobody_stuck():
    members = [Member("ann"), Member("bob")]
    rounds = 60
    responses: list[list[Any]] = []
    for number in range(rounds):
        responses += [[tool("ask", question=f"wait {number}")], [tool("ask", question="next")]]
        responses.append([f"Round {number}."])
    llm = RehearsedLLM(*responses)
    async with talk(*members, llm=llm, ask=asks("ann", "bob", filler=FAST)) as call:
        for number in range(rounds):
            await call.say("Ask.")
            for _ in range(number):  # one step of the event loop later each time
                await asyncio.sleep(0)
            if not members[0].asked or members[0].asked[-1] != f"wait {number}":
                await call.until(lambda n=number: f"wait {n}" in members[0].asked)
            await call.interrupt()
            await call.say("Ask again.")
            await call.until(lambda n=number: f"Round {n}." in call.words())
            assert call.results()[-1] == {"ann": "NEXT", "bob": "NEXT"}
        assert not call.main.job_groups
        assert not any(member.active_jobs for member in members)


async def test_a_filler_is_said_once_and_before_the_answer():
    ann = Member("ann")
    async with talk(ann, llm=once("wait"), ask=asks("ann", filler=FAST)) as call:
        await call.say("Ask.")
        await call.until(call.fillers)
        assert call.words() == ""
        ann.go.set()
        await call.until(lambda: "Here you are." in call.words())
        assert call.fillers() == ["One moment."]
        assert "One moment." not in str(call.main.conversation.get_messages())


async def test_a_quick_answer_needs_no_filler():
    llm = RehearsedLLM(*[[tool("ask", question="why?")], ["Quick."]] * 20)
    ask = asks("ann", filler=Filler(say="One moment.", after=1.0))
    async with talk(Member("ann"), llm=llm, ask=ask) as call:
        for number in range(20):
            await call.say("Ask.")
            await call.until(lambda n=number: call.words().count("Quick.") == n + 1)
        assert not call.fillers()
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "filler"]


async def test_no_filler_is_said_after_an_interruption():
    ann = Member("ann")
    llm = RehearsedLLM(*[[tool("ask", question="wait")]] * 40, ["The end."])
    ask = asks("ann", filler=Filler(say="One moment.", after=0.005))
    async with talk(ann, llm=llm, ask=ask) as call:
        for number in range(40):
            await call.say("Ask.")
            await call.until(lambda n=number: len(ann.asked) == n + 1)
            await asyncio.sleep(number * 0.00025)  # up to twice the filler's wait
            await call.interrupt()
            await call.output.until(
                lambda n=number: len(call.output.of(InterruptionFrame)) == n + 1
            )
            said = len(call.fillers())
            await call.until(lambda n=number: len(ann.cancelled) == n + 1)
            assert len(call.fillers()) == said
        await call.say("Finish.")
        await call.until(lambda: "The end." in call.words())
        assert len(call.fillers()) <= 40


async def test_a_main_worker_that_ends_cancels_what_it_asked_for():
    before, members = asyncio.all_tasks(), [Member("ann"), Member("bob")]
    ask = asks("ann", "bob", filler=FAST)
    async with talk(*members, llm=once("wait"), ask=ask) as call:
        await call.say("Ask.")
        await call.until(lambda: all(member.asked for member in members))
    assert [member.cancelled for member in members] == [["wait"], ["wait"]]
    assert asyncio.all_tasks() == before


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
