"""Calls beside each other in one process, with workers of the same names, and one after another."""

import asyncio

import pytest

from tests.call.conftest import WordsCall, open_words_call

CALLS_AT_ONCE = 20
CALLS_IN_A_ROW = 10

ECHO = """
name = "echo"
[main]
opening = { message = "Begin." }
[[workers]]
name = "first"
summary = "begins"
transfers = ["second"]
script = [
  { match = "over", call = "transfer_to_agent", args = { agent = "second", reason = "{text}" } },
  { match = "bye", call = "end_conversation", args = { reason = "{text}" } },
  { say = "First heard: {text}" },
]
[[workers]]
name = "second"
summary = "goes on"
transfers = ["first"]
script = [
  { match = "over", call = "transfer_to_agent", args = { agent = "first", reason = "{text}" } },
  { say = "Second heard: {text}" },
]
"""


def everything(call: WordsCall) -> str:
    """Return all that a call knows: its entries and its conversation."""
    return f"{call.entries} {call.context()}"


async def test_a_goodbye_in_one_call_is_not_heard_in_the_other():
    async with open_words_call("handoff") as one, open_words_call("handoff") as other:
        await asyncio.gather(one.opened(), other.opened())
        await other.say("How much is the paint?")
        before = len(other.entries)
        await one.say("Goodbye!")
        await asyncio.wait_for(one.call.ended.wait(), 5)
        assert len(other.entries) == before
        assert not other.call.ended.is_set()
        assert other.call.main.agent == "support"
        happened = await other.say("And the rocket boots?")
        assert [entry.event for entry in happened] == ["user", "bot"]
        assert "$299" in happened[1].text
        assert "oodbye" not in everything(other)


@pytest.mark.parametrize("way", ["hang up", "leave"])
async def test_a_caller_who_goes_takes_nobody_along(way):
    async with open_words_call("handoff") as other:
        await other.opened()
        async with open_words_call("handoff") as one:
            await one.opened()
            if way == "hang up":
                await one.transport.hang_up()
                await asyncio.wait_for(one.call.ended.wait(), 5)
        happened = await other.say("What do you sell?")
        assert [entry.event for entry in happened] == ["user", "bot"]
        assert not other.call.ended.is_set()


async def test_no_word_of_twenty_calls_reaches_another(recipe_file):
    recipe = recipe_file(ECHO)
    words = [f"secret{number:02d}word" for number in range(CALLS_AT_ONCE)]
    everybody = asyncio.Barrier(CALLS_AT_ONCE)

    async def hold(word: str) -> WordsCall:
        async with open_words_call(recipe) as call:
            await call.opened()
            await everybody.wait()
            for number in range(4):
                await call.say(f"{word} over" if number % 2 else f"{word} {number}")
            await call.say(f"{word} and the rest")
            await everybody.wait()
        return call

    async with asyncio.timeout(60):
        calls = await asyncio.gather(*map(hold, words))
    for call, own in zip(calls, words, strict=True):
        known = everything(call)
        assert known.count(own) >= 10
        assert [word for word in words if word in known] == [own]
        assert {entry.call for entry in call.entries} == {call.call.id}
        assert [entry.worker for entry in call.entries if entry.event == "bot"][-1] == "first"
    assert len({call.call.id for call in calls}) == CALLS_AT_ONCE


async def test_ten_calls_one_after_another_leave_no_task(recipe_file):
    recipe = recipe_file(ECHO)
    before = asyncio.all_tasks()
    for number in range(CALLS_IN_A_ROW):
        async with open_words_call(recipe) as call:
            await call.opened()
            await call.say(f"over {number}")
        assert asyncio.all_tasks() == before
