"""A debate: three members are asked at once, and no trouble of one costs the others' answers."""

import asyncio
import os
import resource
from pathlib import Path

import pytest

from tests.call.conftest import WordsCall, open_words_call

MEMBERS = {"advocate", "critic", "analyst"}
HOME = "Should we work from home?"

PANEL = """
name = "panel"
[main]
name = "chair"
prompt = "You chair a panel."
script = [
  { on = "tool:ask", match = '"missing"', say = "Missing: {result.missing}. Told: {result}" },
  { on = "tool:ask", say = "All told: {result}" },
  { match = "bye", call = "end_conversation", args = { reason = "said bye" } },
  { match = "ping", say = "pong" },
  { call = "ask", args = { topic = "{text}" } },
]
[[main.jobs]]
tool = "ask"
takes = { topic = "in full" }
workers = ["ann", "bob", "eve"]
timeout = 5
filler = { say = "Let me ask.", after = 0.1 }
[[workers]]
name = "ann"
kind = "specialist"
prompt = "p"
script = [
  { match = "slow", say = "Ann after a while.", delay = 1 },
  { say = ["Ann first: {text}", "Ann second: {text}", "Ann third: {text}"] },
]
[[workers]]
name = "bob"
kind = "specialist"
prompt = "p"
script = [
  { match = "long", say = "Bob too late.", delay = 50 },
  { match = "slow", say = "Bob after a while.", delay = 1 },
  { match = "nothing", say = " " },
  { say = ["Bob first: {text}", "Bob second: {text}", "Bob third: {text}"] },
]
"""
EVE = """
[[workers]]
name = "eve"
kind = "specialist"
prompt = "p"
script = [{ say = ["Eve first: {text}", "Eve second: {text}", "Eve third: {text}"] }]
"""
MINE = """
[[workers]]
name = "eve"
kind = "panellists:Eve"
"""
PANELLISTS = """
from pipecat.bus import BusJobRequestMessage
from pipecat.workers.base_worker import BaseWorker

class Eve(BaseWorker):
    async def on_job_request(self, message: BusJobRequestMessage) -> None:
        raise LookupError("Eve has lost her papers")
"""


def jobs(entries) -> list[tuple[str, str]]:
    return [(entry.name, entry.state) for entry in entries if entry.event == "job"]


def bots(entries) -> list[str]:
    return [entry.text for entry in entries if entry.event == "bot"]


async def begin(call: WordsCall, text: str, *, until: set[str]) -> None:
    """Say a turn and go on as soon as these members have been asked."""
    call.call.log.expect_turn()
    await call.transport.send_turn(text)
    for name in until:
        await call.until("job", name=name, state="started")


async def leave(call: WordsCall, name: str) -> None:
    """Let a member leave the call for good."""
    gone = call.call.main.worker_runner.get_worker(name)
    await gone.cancel()
    await asyncio.wait_for(gone.wait(), 5)


@pytest.fixture
def panel(recipe_file) -> str:
    return recipe_file(PANEL + EVE)


async def test_each_side_is_named_in_the_answer():
    async with open_words_call("debate") as call:
        await call.opened()
        [welcome] = bots(call.entries)
        assert "Name a topic" in welcome
        happened = await call.say(HOME)
        answers = {e.name: e.text for e in happened if e.event == "job" and e.state == "completed"}
    assert answers.keys() == MEMBERS
    [answer] = bots(happened)
    assert "The advocate says" in answer
    assert "The critic says" in answer
    assert "The analyst adds" in answer
    assert all(text in answer for text in answers.values())


async def test_each_members_job_is_told_from_its_start_to_its_answer():
    async with open_words_call("debate") as call:
        await call.opened()
        first, second = await call.say(HOME), await call.say("Is a four day week good?")
    for happened in (first, second):
        assert [e.event for e in happened] == ["user", "tool", *["job"] * 6, "bot"]
        assert happened[1].name == "debate"
        told = [entry for entry in happened if entry.event == "job"]
        assert {entry.name for entry in told[:3]} == MEMBERS
        assert {entry.state for entry in told[:3]} == {"started"}
        assert {entry.name for entry in told[3:]} == MEMBERS
        assert {entry.state for entry in told[3:]} == {"completed"}
        assert all(entry.args == {"topic": happened[0].text} for entry in told[:3])
        assert len({entry.id for entry in told}) == 1  # the members of a group share one
    assert first[2].id != second[2].id


async def test_each_member_remembers_the_rounds_before(panel):
    async with open_words_call(panel) as call:
        for number, word in enumerate(("first", "second", "third")):
            [answer] = bots(await call.say(f"topic {number}"))
            for name in ("Ann", "Bob", "Eve"):
                assert f"{name} {word}: topic {number}" in answer
        experts = [call.call.main.worker_runner.get_worker(name) for name in ("ann", "bob", "eve")]
        for expert in experts:
            messages = expert._conversation.context.get_messages()
            asked = [m["content"] for m in messages if m["role"] == "user"]
            assert asked == ["topic 0", "topic 1", "topic 2"]
            assert len(messages) == 6  # its own words, and nobody else's


async def test_the_shipped_debate_goes_on_over_three_rounds_without_repeating_itself():
    async with open_words_call("debate") as call:
        await call.opened()
        answers = [bots(await call.say("Should cats vote in elections?")) for _ in range(3)]
    assert len({answer for [answer] in answers}) == 3


@pytest.mark.parametrize(
    ("topic", "sets"),
    [("nothing", ()), ("a long one", ("main.jobs.ask.timeout=0.3",))],
    ids=["has nothing to say", "is late"],
)
async def test_a_member_in_trouble_costs_only_itself(panel, topic, sets):
    async with open_words_call(panel, sets=sets) as call:
        happened = await call.say(topic)
        ended = {name: state for name, state in jobs(happened) if state != "started"}
        assert ended.pop("bob") in ("failed", "timeout")
        assert set(ended.values()) == {"completed"}
        answer = bots(happened)[-1]
        assert answer.startswith("Missing: bob.")
        assert f"Ann first: {topic}" in answer
        assert f"Eve first: {topic}" in answer
        again = await call.say("the next one")
        assert bots(again)[-1].startswith("All told:")
        assert "Bob first: the next one" in bots(again)[-1]


async def test_a_member_of_the_users_own_that_raises_costs_only_itself(recipe_file):
    path = recipe_file(PANEL + MINE)
    Path(path).with_name("panellists.py").write_text(PANELLISTS)
    async with open_words_call(path) as call:
        happened = await call.say("anything")
        [answer] = bots(happened)
        assert answer.startswith("Missing: eve.")
        assert "papers" not in str(happened)  # what an exception says may be a secret
        [failed] = [e for e in happened if e.event == "job" and e.state == "failed"]
        assert (failed.name, failed.text) == ("eve", "eve failed: LookupError")


async def test_a_member_that_has_left_the_call_costs_only_itself(panel):
    async with open_words_call(panel) as call:
        await leave(call, "eve")
        async with asyncio.timeout(2):
            happened = await call.say("anything")
    assert bots(happened)[-1].startswith("Missing: eve.")
    assert dict(jobs(happened)) == {"ann": "completed", "bob": "completed"}


async def test_a_member_that_leaves_in_mid_answer_costs_only_itself(panel):
    async with open_words_call(panel) as call:
        await begin(call, "a slow one", until={"ann", "bob", "eve"})
        await call.until("job", name="eve", state="completed")
        await leave(call, "bob")
        await asyncio.wait_for(call.call.settled(), 5)
        states = dict(jobs(call.entries))
    assert states == {"ann": "completed", "bob": "cancelled", "eve": "completed"}
    assert bots(call.entries)[-1].startswith("Missing: bob.")


async def test_the_moderator_says_who_is_missing_and_tells_what_there_is():
    async with open_words_call("debate") as call:
        await call.opened()
        await leave(call, "critic")
        answer = bots(await call.say(HOME))[-1]
        assert "Advocate: It gives people hours back" in answer
        assert "Analyst: Most studies find" in answer
        assert "Missing: critic." in answer
        for name in ("advocate", "analyst"):
            await leave(call, name)
        answer = bots(await call.say(HOME))[-1]
        assert "nobody has answered" in answer


async def test_an_interruption_cancels_the_group_and_everybody_is_fit_for_the_next(panel):
    async with open_words_call(panel, sets=("main.jobs.ask.filler.after=9",)) as call:
        await begin(call, "a slow one", until={"ann", "bob"})
        happened = await call.say("something else")
        told = jobs(call.entries)
        assert ("ann", "cancelled") in told
        assert ("bob", "cancelled") in told
        assert len(told) == len(set(told)) + 3 + told.count(("eve", "completed")) - 1
        assert "Ann first: something else" in bots(happened)[-1]
        assert not any("after a while" in text for text in bots(call.entries))
        expert = call.call.main.worker_runner.get_worker("ann")
        assert "a slow one" not in str(expert._conversation.context.get_messages())
        assert not expert.active_jobs


async def test_interruptions_at_any_moment_of_a_round_lose_no_turn(panel):
    async with open_words_call(panel) as call:
        for number in range(20):
            call.call.log.expect_turn()
            await call.transport.send_turn(f"{'slow' if number % 2 else 'quick'} {number}")
            await asyncio.sleep(number * 0.0014)
            [answer] = bots(await call.say(f"and {number}?"))[-1:]
            for name in ("Ann", "Bob", "Eve"):
                assert name in answer, call.entries
            assert f"and {number}?" in answer, call.entries
            call.entries.clear()
        assert not call.call.main.job_groups


async def test_the_timeout_of_the_group_can_be_set(panel):
    async with open_words_call(panel, sets=("main.jobs.ask.timeout=0.2",)) as call:
        happened = await call.say("a slow one")
    assert dict(jobs(happened)) == {"ann": "timeout", "bob": "timeout", "eve": "completed"}
    assert bots(happened)[-1].startswith("Missing: ann, bob.")


async def test_the_filler_is_said_once_a_job_and_only_if_it_takes_long(panel):
    async with open_words_call(panel) as call:
        slow = await call.say("a slow one")
        quick = await call.say("a quick one")
        again = await call.say("slow again")
    assert bots(slow)[0] == "Let me ask."
    assert [text for text in bots(slow) if text == "Let me ask."] == ["Let me ask."]
    assert "Let me ask." not in bots(quick)
    assert bots(again).count("Let me ask.") == 1
    filler = next(entry for entry in slow if entry.text == "Let me ask.")
    assert filler.worker == "chair"
    assert filler.turn is None  # it answers nothing


async def test_the_filler_is_not_said_to_whoever_has_interrupted(panel):
    async with open_words_call(panel) as call:
        await begin(call, "a slow one", until={"ann", "bob"})
        happened = await call.say("ping")
        assert bots(happened) == ["pong"]
        await call.say("ping")
        await asyncio.wait_for(until_no_task("filler"), 2)
        assert "Let me ask." not in bots(call.entries)


async def until_no_task(name: str) -> None:
    while any(task.get_name() == name for task in asyncio.all_tasks()):  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def test_goodbye_in_the_middle_of_a_round_is_said_once_and_ends_the_call(panel):
    before = asyncio.all_tasks()
    async with open_words_call(panel) as call:
        await begin(call, "a slow one", until={"ann", "bob"})
        call.call.log.expect_turn()
        await call.transport.send_turn("bye")
        await asyncio.wait_for(call.call.ended.wait(), 5)
        assert len([text for text in bots(call.entries) if "oodbye" in text]) == 1
        assert call.call.reason == "said bye"
        assert ("ann", "cancelled") in jobs(call.entries)
    assert asyncio.all_tasks() == before


async def test_a_caller_who_hangs_up_in_the_middle_of_a_round_leaves_nothing_behind(panel):
    before = asyncio.all_tasks()
    async with open_words_call(panel) as call:
        await begin(call, "a slow one", until={"ann", "bob"})
    assert asyncio.all_tasks() == before
    assert ("ann", "cancelled") in jobs(call.entries)
    assert call.entries[-1].event == "end"


async def test_a_call_in_which_nobody_says_anything_ends(panel):
    before = asyncio.all_tasks()
    async with open_words_call(panel, idle_timeout=0.5) as call:
        assert bots(await call.say("ping")) == ["pong"]
        await asyncio.wait_for(call.call.ended.wait(), 5)
    assert asyncio.all_tasks() == before


AGENTS = """
name = "desk"
[main]
opening = { message = "Begin." }
[[workers]]
name = "joe"
transfers = ["zoe"]
script = [
  { on = "opening", say = "Joe here." },
  { match = "over", call = "transfer_to_agent", args = { agent = "zoe", reason = "wants zoe" } },
  { on = "tool:ask_ann", say = "Joe was told: {result}" },
  { on = "transfer", say = "Joe again." },
  { match = "ping", say = "Joe pongs." },
  { call = "ask_ann", args = { question = "{text}" } },
]
jobs = [{ tool = "ask_ann", workers = ["ann"], filler = { say = "Joe asks.", after = 0.1 } }]
[[workers]]
name = "zoe"
transfers = ["joe"]
script = [
  { match = "over", call = "transfer_to_agent", args = { agent = "joe", reason = "wants joe" } },
  { on = "tool:ask_ann", say = "Zoe was told: {result}" },
  { on = "transfer", say = "Zoe here." },
  { call = "ask_ann", args = { question = "{text}" } },
]
jobs = [{ tool = "ask_ann", workers = ["ann"] }]
[[workers]]
name = "ann"
kind = "specialist"
prompt = "p"
script = [{ match = "slow", say = "Ann after a while.", delay = 1 }, { say = "Ann on {text}" }]
"""


async def test_agents_who_hand_the_call_over_ask_the_same_specialist(recipe_file):
    async with open_words_call(recipe_file(AGENTS)) as call:
        await call.opened()
        assert bots(await call.say("cats?")) == ["Joe was told: Ann on cats?"]
        assert bots(await call.say("over")) == ["Zoe here."]
        assert bots(await call.say("dogs?")) == ["Zoe was told: Ann on dogs?"]
        assert bots(await call.say("over")) == ["Joe again."]
        happened = await call.say("slow ones?")
    assert bots(happened) == ["Joe asks.", "Joe was told: Ann after a while."]
    assert {entry.worker for entry in happened if entry.event == "bot"} == {"joe"}
    assert jobs(happened) == [("ann", "started"), ("ann", "completed")]


async def test_an_agent_who_is_interrupted_gives_its_job_up(recipe_file):
    async with open_words_call(recipe_file(AGENTS)) as call:
        await call.opened()
        await begin(call, "slow ones?", until={"ann"})
        happened = await call.say("over")
        assert bots(happened)[-1] == "Zoe here."
        assert ("ann", "cancelled") in jobs(call.entries)
        assert bots(await call.say("dogs?")) == ["Zoe was told: Ann on dogs?"]
    assert "Joe asks." not in bots(call.entries)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@pytest.mark.slow
@pytest.mark.skipif(os.uname().sysname != "Linux", reason="reads /proc")
@pytest.mark.parametrize("rounds", [120, pytest.param(1_000, marks=pytest.mark.long)])
async def test_many_rounds_leave_memory_tasks_and_contexts_level(rounds, recipe_file, monkeypatch):
    panel = recipe_file((PANEL + EVE).replace("after = 0.1", "after = 5"))  # not here
    # What the session remembers of ten minutes would go on growing for longer than this.
    monkeypatch.setattr("pipecat_workers_cli.traffic.tap.KEPT_MOST", rounds)
    async with open_words_call(panel) as call:
        levels: list[tuple[float, int]] = []
        for number in range(rounds):
            [answer] = bots(await call.say(f"topic {number}"))
            assert f"topic {number}" in answer
            call.entries.clear()
            if (number + 1) % (rounds // 10) == 0:
                levels.append((resident_mib(), len(asyncio.all_tasks())))
        tasks = [count for _, count in levels]
        assert max(tasks) - min(tasks) < rounds / 20, levels  # one or two may be just ending
        assert levels[-1][0] - levels[2][0] < min(2, rounds / 120), levels  # after three tenths
        assert not call.call.main.job_groups
        assert len(call.context()) <= 402
        for name in ("ann", "bob", "eve"):
            expert = call.call.main.worker_runner.get_worker(name)
            assert len(expert._conversation.context.get_messages()) <= 62
