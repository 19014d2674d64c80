"""The known troubles of handing a call from one agent to another must not be here."""

import asyncio
import time

import pytest

from pipecat_workers_cli.workers.agent import HANDOVERS
from tests.call.conftest import open_words_call

TALKATIVE = """
name = "talkative"
[main]
opening = { message = "Begin." }
[[workers]]
name = "first"
summary = "begins"
transfers = ["second"]
script = [
  { on = "opening", say = "First here." },
  { match = "slowly", say = "one two three four five six seven eight nine ten", delay = 0.2 },
  { match = "over", call = "transfer_to_agent", args = { agent = "second", reason = "wants over" }},
  { match = "nobody", call = "transfer_to_agent", args = { agent = "{match}", reason = "who?" } },
  { on = "transfer", say = "Taken up: {text}" },
  { say = "First heard: {text}" },
]
[[workers]]
name = "second"
summary = "goes on"
transfers = ["first"]
script = [
  { on = "transfer", say = "Taken up: {text}", delay = 0.05 },
  { match = "over", call = "transfer_to_agent", args = { agent = "first", reason = "back" } },
  { say = "Second heard: {text}" },
]
"""


RING = """
name = "ring"
[main]
opening = { worker = "ann", message = "Begin." }
""" + "".join(
    f"""
[[workers]]
name = "{name}"
transfers = ["{follower}"]
script = [{{ match = "next", call = "transfer_to_agent", args = {{ agent = "{follower}", reason = "next" }} }}]
"""  # noqa: E501
    for name, follower in (
        ("ann", "bob"),
        ("bob", "cat"),
        ("cat", "dan"),
        ("dan", "eve"),
        ("eve", "ann"),
    )
)


def bots(entries):
    return [(entry.worker, entry.text) for entry in entries if entry.event == "bot"]


async def test_the_opener_greets_and_a_product_question_reaches_support():
    async with open_words_call("handoff") as call:
        await call.opened()
        assert call.entries[0].worker == "greeter"
        happened = await call.say("How much are the rocket boots?")
    assert [entry.event for entry in happened] == ["user", "tool", "transfer", "bot"]
    assert happened[1].name == "transfer_to_agent"
    assert (happened[2].worker, happened[2].target) == ("greeter", "support")
    assert happened[2].reason
    assert happened[3].worker == "support"
    assert "$299" in happened[3].text


async def test_the_agent_that_takes_over_knows_reason_and_conversation(recipe_file):
    async with open_words_call(recipe_file(TALKATIVE)) as call:
        await call.opened()
        await call.say("over, please")
        texts = [str(message.get("content")) for message in call.context()]
    cue = next(i for i, text in enumerate(texts) if "wants over" in text)
    assert "First here." in texts[: cue + 1]
    assert "over, please" in texts[: cue + 1]
    assert texts[-1].startswith("Taken up: ")


@pytest.mark.parametrize("handoffs", [40, pytest.param(200, marks=pytest.mark.long)])
async def test_many_handoffs_are_each_answered_once(handoffs, recipe_file):
    async with open_words_call(recipe_file(TALKATIVE)) as call:
        await call.opened()
        for number in range(handoffs):
            happened = await call.say(f"over {number}")
            answered = "second" if number % 2 == 0 else "first"
            assert [entry.event for entry in happened] == ["user", "tool", "transfer", "bot"]
            assert [worker for worker, _ in bots(happened)] == [answered]
        happened = await call.say("ping")  # a second answer would come before this one's
        assert bots(happened) == [("first", "First heard: ping")]
        assert len(bots(call.entries)) == handoffs + 2


async def test_agents_that_all_hand_the_call_on_answer_the_caller_in_the_end(recipe_file):
    async with open_words_call(recipe_file(RING)) as call:
        await call.opened()
        for _ in range(2):  # the caller's next words may be handed on anew
            happened = await call.say("next")
            assert sum(entry.event == "transfer" for entry in happened) == HANDOVERS
            assert len(bots(happened)) == 1


async def test_words_said_while_the_transfer_comes_are_answered_once(recipe_file):
    async with open_words_call(recipe_file(TALKATIVE)) as call:
        await call.opened()
        for number in range(20):
            call.call.log.expect_turn()
            await call.transport.send_turn(f"over {number}")
            await call.until("transfer", worker="second" if number % 2 else "first")
            happened = await call.say(f"and what about {number}?")
            heard = [text for _, text in bots(happened) if f"about {number}?" in text]
            assert len(heard) == 1, bots(happened)
            call.entries.clear()


async def test_words_said_at_any_moment_of_a_transfer_are_never_lost(recipe_file):
    async with open_words_call(recipe_file(TALKATIVE)) as call:
        await call.opened()
        for number in range(40):
            call.call.log.expect_turn()
            await call.transport.send_turn(f"over {number}")
            await asyncio.sleep(number * 0.0015)
            await call.say(f"tell me about {number}!")
            said = [str(m.get("content")) for m in call.context() if m["role"] == "user"]
            assert f"tell me about {number}!" in said
            answers = [text for _, text in bots(call.entries) if f"about {number}!" in text]
            assert len(answers) == 1, (number, call.entries)
            call.entries.clear()


async def test_a_transfer_to_nobody_keeps_the_caller_with_the_old_agent(recipe_file):
    async with open_words_call(recipe_file(TALKATIVE)) as call:
        await call.opened()
        happened = await call.say("nobody, please")
        assert "transfer" not in [entry.event for entry in happened]
        again = await call.say("still there?")
    assert bots(again) == [("first", "First heard: still there?")]


async def test_a_transfer_to_an_agent_that_is_gone_keeps_the_caller_and_says_so(recipe_file):
    async with open_words_call(recipe_file(TALKATIVE)) as call:
        await call.opened()
        gone = call.call.main.worker_runner.get_worker("second")
        await gone.cancel()
        await asyncio.wait_for(gone.wait(), 5)
        began = time.monotonic()
        happened = await call.say("over, please")
        assert time.monotonic() - began < 2
        assert "transfer" not in [entry.event for entry in happened]
        [(worker, told)] = bots(happened)
        assert worker == "first"
        assert "second is not there now" in told
        again = await call.say("still there?")
    assert bots(again) == [("first", "First heard: still there?")]


async def test_the_caller_interrupts_a_long_answer_and_is_heard(recipe_file):
    async with open_words_call(recipe_file(TALKATIVE)) as call:
        await call.opened()
        call.call.log.expect_turn()
        await call.transport.send_turn("slowly")
        await call.until("user", text="slowly")
        happened = await call.say("stop that")
    assert bots(happened)[-1] == ("first", "First heard: stop that")
    assert not any("ten" in text for _, text in bots(happened))


async def test_goodbye_is_said_before_the_call_ends():
    async with open_words_call("handoff") as call:
        await call.opened()
        await call.say("goodbye")
        await asyncio.wait_for(call.call.ended.wait(), 5)
        assert "oodbye" in bots(call.entries)[-1][1]
        assert call.call.reason == "the caller said goodbye"
    assert call.entries[-1].event == "end"


async def test_nothing_of_a_call_runs_on_after_it():
    before = asyncio.all_tasks()
    async with open_words_call("handoff") as call:
        await call.opened()
        await call.say("what do you sell?")
    assert asyncio.all_tasks() == before


async def test_an_agent_is_told_its_tools_before_its_first_answer():
    async with open_words_call("handoff") as call:
        await call.opened()
        tools = {schema.name for schema in call.call.main.conversation.tools.standard_tools}
    assert tools == {"transfer_to_agent", "end_conversation"}
