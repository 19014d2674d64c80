"""A tool that other workers answer: what the LLM is told, whatever becomes of the jobs."""

import asyncio
import math
from typing import Any

import pytest
from pipecat.bus import (
    BusJobCancelMessage,
)
from pipecat.frames.frames import InterruptionFrame
from pipecat.pipeline.job_context import JobStatus

from pipecat_workers_cli.recipe.model import Filler
from pipecat_workers_cli.workers.jobs import (
    with_ending_jobs,
)
from tests.workers.asking import (
    FAST,
    Member,
    Stranger,
    asks,
    fails,
    once,
    refuses,
    talk,
    told,
)
from tests.workers.conftest import RehearsedLLM, tool


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
